"""Transformers as an engine: what it computes, with which weights, and how it draws."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

NEEDS = "needs the environment `rl`: nox -s rl"
pytest.importorskip("transformers", reason=NEEDS)
pytest.importorskip("peft", reason=NEEDS)

from harness.errors import HostError  # noqa: E402
from harness.workloads.inference import choice  # noqa: E402
from harness.workloads.inference.choice import EngineKind, Serve, chosen, serving_engine  # noqa: E402
from harness.workloads.inference.engine import (  # noqa: E402
    EngineError,
    Finish,
    PromptTooLongError,
    SamplingParams,
)
from harness.workloads.inference.transformers_engine import TransformersEngine, draw  # noqa: E402
from harness.workloads.inference.truncation import drawn_logprobs, truncated  # noqa: E402
from harness.workloads.inference.vllm import VllmDtype  # noqa: E402
from tests.serving.known import (  # noqa: E402
    BOUND,
    CONTEXT_TOKENS,
    END_TOKEN,
    GREEDY,
    Tiny,
    check_close,
    make_tiny,
)

DRAWN = SamplingParams(temperature=1.0, max_new_tokens=8, seed=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(tiny: Tiny) -> TransformersEngine:
    return TransformersEngine(tiny.serving(), END_TOKEN)


def test_a_cache_changes_nothing(engine: TransformersEngine, tiny: Tiny) -> None:
    reply = engine.reply(tiny.expected.prompt, GREEDY)
    check_close(reply, tiny.expected.replies["base"])
    assert reply.finish is Finish.LENGTH
    assert reply.alternatives == ()
    assert engine.identity.startswith("transformers 5.")


def test_a_refresh_changes_the_weights_and_no_weights_bring_the_base_back(
    engine: TransformersEngine, tiny: Tiny
) -> None:
    expected = tiny.expected
    before = engine.score(expected.prompt)
    for version in ("first", "second", "first"):
        engine.refresh(tiny.folder / version)
        assert engine.served == version
        check_close(engine.reply(expected.prompt, GREEDY), expected.replies[version])
    engine.refresh(None)
    assert engine.served == "base"
    assert engine.score(expected.prompt) == before


def test_an_adapter_is_served_whole_or_not_at_all(
    engine: TransformersEngine, tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="no adapter is in"):
        engine.refresh(tmp_path)
    half = tmp_path / "half"
    shutil.copytree(tiny.folder / "first", half)
    weights = load_file(half / "adapter_model.safetensors")
    kept = {name: value for name, value in weights.items() if ".layers.0." in name}
    save_file(kept, half / "adapter_model.safetensors")
    with (
        pytest.warns(UserWarning, match="missing adapter keys"),
        pytest.raises(EngineError, match="was asked for, and the model has other weights"),
    ):
        engine.refresh(half)


def test_a_seeded_reply_comes_again_whoever_asks(engine: TransformersEngine, tiny: Tiny) -> None:
    def ask(seed: int) -> tuple[int, ...]:
        return engine.reply(tiny.expected.prompt, replace(DRAWN, seed=seed)).tokens

    alone = [ask(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(8))) == alone
    assert len(set(alone)) > 1


def test_logprobs_are_the_models_whatever_it_is_drawn_with(
    engine: TransformersEngine, tiny: Tiny
) -> None:
    prompt = tiny.expected.prompt
    reply = engine.reply(
        prompt, replace(DRAWN, temperature=2.0, top_k=9, top_p=0.9, alternatives=5)
    )
    scored = engine.score((*prompt, *reply.tokens))
    assert len(scored) == len(prompt) + len(reply.tokens) - 1
    assert scored[len(prompt) - 1 :] == pytest.approx(reply.logprobs, rel=0, abs=BOUND)
    assert engine.score((*prompt, *reply.tokens), len(prompt)) == scored[len(prompt) - 1 :]
    for logprob, likeliest in zip(reply.logprobs, reply.alternatives, strict=True):
        assert len(likeliest) == 5
        assert list(likeliest) == sorted(likeliest, reverse=True)
        assert logprob in likeliest or logprob < likeliest[-1]


def test_the_end_token_ends_a_reply_and_belongs_to_it(tiny: Tiny) -> None:
    known = tiny.expected.replies["base"]
    engine = TransformersEngine(tiny.serving(), end_token=known.tokens[2])
    reply = engine.reply(tiny.expected.prompt, GREEDY)
    assert reply.finish is Finish.STOP
    assert reply.tokens == known.tokens[: known.tokens.index(known.tokens[2]) + 1]
    assert len(reply.logprobs) == len(reply.tokens)


def test_a_reply_ends_with_the_context(engine: TransformersEngine, tiny: Tiny) -> None:
    prompt = (tiny.expected.prompt * 4)[: CONTEXT_TOKENS - 3]
    reply = engine.reply(prompt, GREEDY)
    assert len(reply.tokens) == 3
    assert reply.finish is Finish.LENGTH
    whole = (*prompt, *reply.tokens)
    assert len(engine.score(whole)) == CONTEXT_TOKENS - 1
    with pytest.raises(PromptTooLongError, match=f"more than {CONTEXT_TOKENS}"):
        engine.reply(whole, GREEDY)
    with pytest.raises(PromptTooLongError):
        engine.score((*whole, 1))
    assert engine.score([]) == engine.score([5]) == ()


def test_a_model_that_is_not_there_is_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"the model in {tmp_path} cannot be served"):
        TransformersEngine(replace(tiny.serving(), model_dir=tmp_path), END_TOKEN)


# --- drawing --------------------------------------------------------------------------------------

SHARES = torch.tensor([0.15, 0.5, 0.05, 0.3])


@pytest.mark.parametrize(
    ("top_k", "top_p", "left"),
    [
        (0, 1.0, [0, 1, 2, 3]),
        (1, 1.0, [1]),
        (3, 1.0, [0, 1, 3]),
        (9, 1.0, [0, 1, 2, 3]),
        (0, 0.45, [1]),  # 0.5 alone is enough
        (0, 0.79, [1, 3]),
        (0, 0.81, [0, 1, 3]),  # 0.8 is not, and one more is
        (0, 1e-9, [1]),  # one is always left
        (2, 0.6, [1]),  # of the two, 0.5 / 0.8 is more than 0.6
        (2, 0.63, [1, 3]),
    ],
)
def test_the_smallest_set_that_makes_up_the_share_is_left(
    top_k: int, top_p: float, left: list[int]
) -> None:
    logits = SHARES.log()
    kept = truncated(logits, top_k, top_p)
    assert kept.isfinite().nonzero().flatten().tolist() == left
    assert torch.equal(kept[left], logits[left])
    assert torch.equal(logits, SHARES.log())  # as it was


def test_rows_are_truncated_each_for_itself() -> None:
    rows = torch.stack([SHARES.log(), SHARES.flip(0).log()])
    kept = truncated(rows, 3, 0.79)
    for row, alone in zip(kept, rows, strict=True):
        assert torch.equal(row, truncated(alone, 3, 0.79))


@pytest.mark.parametrize(
    "drawn", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.79, "temperature": 2.0}]
)
def test_a_token_is_as_likely_as_it_is_drawn(drawn: dict[str, Any]) -> None:
    sampling = replace(DRAWN, **drawn)
    generator, count = torch.Generator().manual_seed(0), 4000
    found = Counter(draw(SHARES.log(), sampling, generator) for _ in range(count))
    tokens = torch.arange(len(SHARES))
    shares = drawn_logprobs(SHARES.log().repeat(len(SHARES), 1), tokens, sampling).exp()
    assert float(shares.sum()) == pytest.approx(1)
    for token, share in enumerate(shares.tolist()):
        deviation = math.sqrt(share * (1 - share) / count)
        assert found[token] / count == pytest.approx(share, abs=4 * deviation)


def test_tokens_come_as_often_as_they_should() -> None:
    """At temperature 2 the shares go with their square roots."""
    generator = torch.Generator().manual_seed(0)
    count = 4000
    sampling = replace(DRAWN, temperature=2.0)
    found = Counter(draw(SHARES.log(), sampling, generator) for _ in range(count))
    wanted = SHARES.sqrt() / SHARES.sqrt().sum()
    for token, share in enumerate(wanted.tolist()):
        deviation = math.sqrt(share * (1 - share) / count)
        assert found[token] / count == pytest.approx(share, abs=4 * deviation)


def test_temperature_0_takes_the_likeliest() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert draw(SHARES.log(), GREEDY, generator) == 1
    assert torch.equal(generator.get_state(), state)


# --- the choice -----------------------------------------------------------------------------------


def test_vllm_serves_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "installed", lambda: "vllm 1.0")
    assert chosen(EngineKind.AUTO) is chosen(EngineKind.VLLM) is EngineKind.VLLM
    assert chosen(EngineKind.TRANSFORMERS) is EngineKind.TRANSFORMERS
    monkeypatch.setattr(choice, "installed", lambda: "")
    assert chosen(EngineKind.AUTO) is EngineKind.TRANSFORMERS
    with pytest.raises(HostError, match="vLLM is to serve"):
        chosen(EngineKind.VLLM)


def test_the_chosen_engine_serves(tiny: Tiny, tmp_path: Path) -> None:
    wanted = Serve(
        kind=EngineKind.TRANSFORMERS,
        model_dir=tiny.folder / "model",
        name="tiny",
        dtype=VllmDtype.FLOAT32,
        max_model_len=CONTEXT_TOKENS,
        max_concurrency=4,
        seed=0,
        kv_cache_bytes=2**30,
    )
    with serving_engine(wanted, END_TOKEN, tmp_path / "server.log") as engine:
        assert engine.identity.startswith("transformers ")
        check_close(engine.reply(tiny.expected.prompt, GREEDY), tiny.expected.replies["base"])
