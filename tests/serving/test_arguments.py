"""The command line of a server over two nodes, which no test can run, beside vLLM's own parser."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.workloads.inference.vllm import OnGpu, Serving, VllmDtype, vllm_service

pytestmark = pytest.mark.serving


def test_vllm_takes_the_command_line_of_two_nodes() -> None:
    cli_args = pytest.importorskip("vllm.entrypoints.launchers.cli_args")
    utils = pytest.importorskip("vllm.utils.argparse_utils")

    service = vllm_service(
        Serving(
            model_dir=Path("model"),
            name="policy",
            dtype=VllmDtype.BFLOAT16,
            max_model_len=4096,
            max_num_seqs=8,
            seed=0,
            place=OnGpu(kv_cache_bytes=2**30, num_nodes=2),
        )
    )
    asked = service.argv[service.argv.index("--model") :]
    words = [word.replace("{port}", "8000") for word in asked]
    parsed = cli_args.make_arg_parser(utils.FlexibleArgumentParser()).parse_args(words)
    assert parsed.tensor_parallel_size == 2
    assert parsed.distributed_executor_backend == "ray"
    assert parsed.kv_cache_memory_bytes == 2**30
