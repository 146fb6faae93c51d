"""A server that several nodes share: what it takes of each, and what keeps it from being shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import HostError
from harness.plan.spread import memory_of_each_node
from harness.records import Limits, Profile, RunSpec

ON_TWO = RunSpec(
    scenario="a33-clawgym-on-spark-grpo",
    profile=Profile.SPARK,
    workload="agent.grpo",
    params={
        "model": "meta-llama/Llama-3.1-8B@0e9e39f249a16976918f6564b8830bc894c89659",
        "dtype": "bfloat16",
        "kv_cache_gib": 0.0,
        "max_model_len": 8192,
        "max_concurrency": 16,
    },
    limits=Limits(gpus=1, nodes=2, memory_gib=80.0),
)


def with_params(**params: Any) -> RunSpec:
    return replace(ON_TWO, params={**ON_TWO.params, **params})


def test_each_node_holds_its_share_of_weights_and_cache() -> None:
    # 8.03e9 parameters of 2 bytes; 32 layers x 2 x 1024 numbers of 2 bytes a token
    weights, cache = 8.03e9 * 2 / 2 / 2**30, 16 * 8192 * 32 * 2 * 1024 * 2 / 2 / 2**30
    assert memory_of_each_node(ON_TWO) == (
        f"{weights + cache:.1f} GiB on each of 2 nodes ({weights:.1f} of weights, {cache:.1f} for "
        "16 sequences of 8192 tokens); limits.memory_gib: 80.0 GiB; "
        "the memory of a DGX Spark: 121.7 GiB"
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(
            with_params(max_concurrency=256),
            "limits.memory_gib is 80.0 GiB",
            id="cache",
        ),
        pytest.param(
            replace(with_params(kv_cache_gib=300.0), limits=Limits(gpus=1, nodes=2)),
            "150.0 of cache, by kv_cache_gib), and the memory of a DGX Spark is 121.7 GiB",
            id="machine",
        ),
        pytest.param(
            replace(ON_TWO, limits=Limits(gpus=1, nodes=3)),
            "num_attention_heads 32 do not divide over 3 nodes",
            id="heads",
        ),
        pytest.param(
            with_params(model="small"), "the memory of small on 2 nodes is not known", id="model"
        ),
        pytest.param(
            replace(ON_TWO, workload="pretrain.envelope"),
            "pretrain.envelope serves no model that 2 nodes could share (limits.nodes)",
            id="no server",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_with_the_reason(spec: RunSpec, said: str) -> None:
    with pytest.raises(HostError) as refused:
        memory_of_each_node(spec)
    assert said in str(refused.value)
    assert str(refused.value).count("\n  next: ") == 1
