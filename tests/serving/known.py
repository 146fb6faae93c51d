"""A tiny model, made in a process of its own, and what transformers says that it must answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.records import from_json, record
from harness.workloads.inference.engine import Reply, SamplingParams
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype

NAME = "tiny"
END_TOKEN = 0
CONTEXT_TOKENS = 512
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=8, seed=0)
# All sum the same float32 products (6e-8 relative, up to 200 at a time, in two layers, of
# magnitudes up to 10) in another order.
BOUND = 1e-4


@record
class Known:
    """Greedy tokens, the log-probability of each, and its lead on the second likeliest."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    leads: tuple[float, ...]


@record
class Expected:
    """What transformers computes, without a cache and with adapters merged into the weights."""

    prompt: tuple[int, ...]
    replies: Mapping[str, Known]


@record
class Tiny:
    """The model's folder, its adapters' beside it, and what must come out."""

    folder: Path
    expected: Expected

    def serving(self) -> Serving:
        return Serving(
            model_dir=self.folder / "model",
            name=NAME,
            dtype=VllmDtype.FLOAT32,
            max_model_len=CONTEXT_TOKENS,
            max_num_seqs=16,
            seed=0,
            place=OnCpu(kv_cache_gib=1),
            max_lora_rank=8,  # vLLM's smallest
        )


def make_tiny(folder: Path) -> Tiny:
    script = Path(__file__).with_name("tiny.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=120)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return Tiny(folder=folder, expected=from_json(Expected, expected))


def check_close(reply: Reply, known: Known) -> None:
    """Hold a greedy reply against what transformers computed."""
    assert min(known.leads) > 2 * BOUND  # so rounding cannot swap two tokens
    assert reply.tokens == known.tokens
    assert reply.logprobs == pytest.approx(known.logprobs, rel=0, abs=BOUND)
