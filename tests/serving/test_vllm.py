"""vLLM as a service, on its CPU build: what it computes, and which adapter it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostError
from harness.workloads.common.served import (
    Adapter,
    ServedModels,
    Server,
    load_adapter,
    require_adapter,
    served_models,
    unload_adapter,
)

from .conftest import NAME, Reply, Tiny, complete, post

pytestmark = pytest.mark.serving

# Both sum the same float32 products (6e-8 relative, up to 200 at a time, in two layers, of
# magnitudes up to 10) in another order.
LOGPROB_BOUND = 1e-4


def assert_equal(reply: Reply, expected: Reply) -> None:
    assert min(expected.leads) > 2 * LOGPROB_BOUND  # so rounding cannot swap two tokens
    assert reply.tokens == expected.tokens
    assert reply.logprobs == pytest.approx(expected.logprobs, rel=0, abs=LOGPROB_BOUND)


def test_it_computes_what_transformers_does(server: Server, tiny: Tiny) -> None:
    expected = tiny.expected
    reply = complete(server, NAME, expected.prompt)
    assert_equal(reply, expected.replies["base"])


def test_a_greedy_reply_comes_again(server: Server, tiny: Tiny) -> None:
    first, second = (complete(server, NAME, tiny.expected.prompt) for _ in range(2))
    assert second == first


def test_a_seeded_reply_comes_again_and_another_seed_gives_another(
    server: Server, tiny: Tiny
) -> None:
    """The model's own generation_config.json would make every reply greedy: it is not read."""
    replies = [
        complete(server, NAME, tiny.expected.prompt, temperature=1.0, seed=seed).tokens
        for seed in (1, 1, 2)
    ]
    assert replies[0] == replies[1] != replies[2]


def test_text_becomes_the_bytes_it_is(server: Server) -> None:
    asked = {"model": NAME, "prompt": "größer"}
    assert post(server, "/tokenize", asked)["count"] == len("größer".encode())


def test_an_adapter_is_loaded_replaced_and_unloaded(server: Server, tiny: Tiny) -> None:
    expected = tiny.expected
    for version in ("first", "second", "first"):
        adapter = tiny.adapter(version)
        load_adapter(server, adapter)
        assert served_models(server) == ServedModels(base=NAME, adapters=(adapter,))
        reply = complete(server, adapter.name, expected.prompt)
        assert_equal(reply, expected.replies[version])
        assert_equal(complete(server, NAME, expected.prompt), expected.replies["base"])
    unload_adapter(server, "policy")
    assert served_models(server) == ServedModels(base=NAME, adapters=())


def test_another_version_than_asked_for_is_noticed(server: Server, tiny: Tiny) -> None:
    load_adapter(server, tiny.adapter("first"))
    with pytest.raises(HostError, match=r"serves it from .*first"):
        require_adapter(server, tiny.adapter("second"))
    with pytest.raises(HostError, match="already served from"):
        load_adapter(server, tiny.adapter("first"))
    unload_adapter(server, "policy")
    with pytest.raises(HostError, match="serves no adapter"):
        require_adapter(server, tiny.adapter("first"))


def test_an_adapter_that_is_not_there_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"refuses /v1/load_lora_adapter with 404"):
        load_adapter(server, Adapter(name="policy", folder=str(tmp_path / "nothing")))
    assert served_models(server).adapters == ()
    with pytest.raises(HostError, match=r"refuses /v1/unload_lora_adapter with 404"):
        unload_adapter(server, "policy")
