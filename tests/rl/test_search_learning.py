"""A policy that searches: the one that is kept, its gains both ways, and a whole small run."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.experiments.a36 import run as a2tgpo
from harness.experiments.a36.params import A2TGPO, A2tgpoParams
from harness.records import Event, Profile, RunSpec
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter, read_events
from harness.workloads.api.steps import Steps
from harness.workloads.envs.base import StopReason
from harness.workloads.envs.search.bm25 import Bm25
from harness.workloads.envs.search.environment import SearchEnvironment, SearchEpisode
from harness.workloads.envs.search.protocol import SearchPromptStyle, before_answer
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import ChatTemplate, load_chat_template
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.transformers_engine import TransformersEngine
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.models.lora_settings import Compute, LoraSettings
from harness.workloads.rl.algorithms.a2tgpo import ContextEnd, GainOf
from harness.workloads.rl.algorithms.information_gain import (
    Probing,
    by_engine,
    by_trainer,
    gold_answer,
)
from harness.workloads.rl.rollout import Rollout
from harness.workloads.rl.runner import EnginePolicy, Runner
from harness.workloads.tiny_models.checkpoint import read_card, tiny_model

_WORLD = World(42, 40)
_QUESTIONS = _WORLD.questions(42, 12, (1, 2, 3))


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return load_chat_template(tiny_model("search"))


@pytest.fixture(scope="module")
def probing(template: ChatTemplate) -> Probing:
    before = before_answer(SearchPromptStyle.BRIEF)
    return Probing(
        gold={each.task_id: gold_answer(before, each.answer, template) for each in _QUESTIONS},
        chat_template=template,
        end=ContextEnd.RESULT,
        gain_of=GainOf.PROBABILITY,
    )


@pytest.fixture(scope="module")
def engine(template: ChatTemplate) -> TransformersEngine:
    serving = Serving(
        model_dir=tiny_model("search"),
        name="policy",
        dtype=VllmDtype.FLOAT32,
        max_model_len=1024,
        max_num_seqs=1,
        seed=0,
        place=OnCpu(kv_cache_gib=1),
    )
    return TransformersEngine(serving, template.end)


@pytest.fixture(scope="module")
def played(
    engine: TransformersEngine, template: ChatTemplate
) -> tuple[Rollout[SearchEpisode], ...]:
    policy = EnginePolicy(
        name="policy",
        engine=engine,
        chat_template=template,
        sampling=SamplingParams(temperature=1.0, max_new_tokens=48, seed=1),
        seed_has_draw=False,
    )
    runner = Runner(
        environment=partial(SearchEnvironment, Bm25(_WORLD.passages)), max_concurrency=1
    )
    return runner.run(policy, _QUESTIONS, num_samples=2)


def test_the_kept_policy_can_do_the_work_but_gives_up() -> None:
    """What its card says: before it learnt to give up it was nearly always right."""
    results = read_card(tiny_model("search")).eval_results
    assert results["skilled"]["0"]["exact_match"] > 0.95
    assert 0.2 < results["base"]["1"]["exact_match"] < 0.6
    assert results["base"]["1"]["no_answer"] < 0.05


def test_its_replies_are_understood(played: tuple[Rollout[SearchEpisode], ...]) -> None:
    assert sum(each.stop_reason is StopReason.ANSWERED for each in played) > 20
    assert any(each.reward == 1.0 for each in played)
    assert any(each.reward == 0.0 for each in played)


def test_gains_are_the_same_by_server_and_trainer(
    played: tuple[Rollout[SearchEpisode], ...], engine: TransformersEngine, probing: Probing
) -> None:
    policy = LoraPolicy.open(tiny_model("search"), LoraSettings(), Compute(device="cpu"))
    ways = [probing.gains(played, score) for score in (by_engine(engine, 1), by_trainer(policy))]
    assert ways[0].keys() == ways[1].keys()
    for key, gains in ways[0].items():
        assert ways[1][key] == pytest.approx(gains, abs=1e-4)


def test_finding_the_last_fact_is_what_makes_the_answer_likely(
    played: tuple[Rollout[SearchEpisode], ...], engine: TransformersEngine, probing: Probing
) -> None:
    """The signal that all of it rests on: the search that finds the answer gains most."""
    questions = {each.task_id: each for each in _QUESTIONS}
    gained = probing.gains(played, by_engine(engine, 1))
    found: list[float] = []
    others: list[float] = []
    for each in played:
        last = questions[each.task_id].hops[-1]
        for call, gain in zip(each.episode.calls, gained[each.key], strict=False):
            (found if call.query == last.phrase else others).append(gain)
    assert sum(found) / len(found) > 0.5
    assert abs(sum(others) / len(others)) < 0.2


def test_what_is_scored_is_never_scored_twice(
    played: tuple[Rollout[SearchEpisode], ...], probing: Probing
) -> None:
    examples = probing.examples(played)
    asked = probing.probes(played).values()
    assert len(set(examples)) == len(examples) < sum(map(len, asked))


def whole_run(out: Path, store: Path, **changes: Any) -> tuple[Event, ...]:
    """Return the events of a run of a few rollouts a step."""
    given: dict[str, Any] = {
        "engine": "transformers",
        "train_questions": 3,
        "num_eval_examples": 3,
        "prompts_per_step": 3,
        "num_generations": 4,
        "num_minibatches": 2,
        "max_steps": 1,
        "eval_steps": 1,
        "max_concurrency": 2,
        "learning_rate": 1e-4,
        **changes,
    }
    params = A2tgpoParams(**given)
    spec = RunSpec(
        scenario="a36", profile=Profile.CPU, workload=A2TGPO.name, params=asdict(params), seed=3
    )
    out.mkdir()
    with EventWriter(out / "events.jsonl", A2TGPO.metrics) as emit:
        steps = Steps(spec, emit, store)
        a2tgpo.run(Context(spec=spec, params=params, out=out, emit=emit, steps=steps))
    return read_events(out / "events.jsonl")


@pytest.fixture(scope="module", params=["grpo", "full", "released"])
def events(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Event, ...]:
    """A whole run: one step of a few rollouts."""
    folder = tmp_path_factory.mktemp("run")
    return whole_run(folder / "out", folder / "steps", variant=request.param)


def test_a_training_goes_on_behind_its_last_step_with_the_same_figures(tmp_path: Path) -> None:
    """The optimizer's moments are carried from step to step here, and gains too."""
    sizes = {"variant": "full", "num_generations": 3, "num_eval_examples": 2}
    whole = whole_run(tmp_path / "whole", tmp_path / "one", max_steps=2, eval_steps=2, **sizes)
    whole_run(tmp_path / "begun", tmp_path / "two", max_steps=1, eval_steps=2, **sizes)
    rest = whole_run(tmp_path / "rest", tmp_path / "two", max_steps=2, eval_steps=2, **sizes)
    made = {
        each.payload["name"]: each.payload["made_now"] for each in rest if each.kind == "stored"
    }
    assert (made["full-1"], made["full-2"]) == (False, True)
    timing = {metric.name for metric in A2TGPO.metrics if metric.timing}
    one, other = (
        [
            {**each.payload}
            for each in found
            if each.kind == "measured" and each.payload["metric"] not in timing
        ]
        for found in (whole, rest)
    )
    assert one == other


def _values(events: tuple[Event, ...], metric: str) -> list[float]:
    shown = [each.payload for each in events if each.kind == "measured"]
    return [each["value"] for each in shown if each["metric"] == metric]


def test_a_run_measures_before_and_after_and_every_step(events: tuple[Event, ...]) -> None:
    assert len(_values(events, "search.exact_match")) == 2 * 4  # all, and by three numbers of facts
    assert len(_values(events, "train.reward")) == 1
    assert _values(events, "search.rollout_errors") == [0]
    assert _values(events, "search.questions_trained") == [0]


def test_ratios_are_to_the_weights_that_drew(events: tuple[Event, ...]) -> None:
    """The first of two updates is at the weights that drew, so the mean stays near 1."""
    assert _values(events, "train.importance_ratio_mean") == pytest.approx([1.0], abs=0.05)


def test_server_and_trainer_are_one_policy(events: tuple[Event, ...]) -> None:
    assert _values(events, "train.logprob_abs_diff_p95")[0] < 1e-5
    assert _values(events, "train.ratio_outside_clip") == [0.0]
    assert _values(events, "train.sampling_bias") == pytest.approx([0.0], abs=1e-6)


def test_gains_are_taken_where_they_are_used(events: tuple[Event, ...]) -> None:
    counts = _values(events, "gain.count")
    if not counts:  # grpo
        assert not _values(events, "gain.logprob_abs_diff_max")
        return
    assert counts[0] > 0
    assert _values(events, "gain.logprob_abs_diff_max")[0] < 1e-3
    (low,), (high,) = (_values(events, f"clip.scale_{end}") for end in ("min", "max"))
    assert 0.7 < low <= high < 1.3
