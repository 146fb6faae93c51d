"""Who proposes what, and what a proposer is shown."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import ArtefactStore
from harness.errors import HostError
from harness.experiments.a22.params import LOOP
from harness.records import Profile, RunSpec
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EVENTS_FILE, EventWriter
from harness.workloads.api.steps import Steps
from harness.workloads.autoresearch import llm_proposer as llm
from harness.workloads.autoresearch.as_trials import LAYOUT, ProposerContext, shown
from harness.workloads.autoresearch.bandit import BanditProposer, Told, told, worth
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.llm_proposer import ChatProposer, served, structured_outputs
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.prompt import ProposerError, ProposerPrompt
from harness.workloads.autoresearch.proposers import PUBLISHED, ReplayProposer, UniformProposer
from harness.workloads.autoresearch.search_space import ARTICLE, SMALL
from harness.workloads.autoresearch.trajectory import read_trajectory
from harness.workloads.inference.chat import Endpoint
from harness.workloads.trials.history import History
from harness.workloads.trials.trial import Label, Trial
from tests.unit.autoresearch.fakes import FakeEvaluator, Scripted, change, run, session


def brief(iteration: int, block: str = "") -> ProposerPrompt:
    return ProposerPrompt(
        iteration=iteration, cfg=SMALL.baseline, system="rules", user="state", record=block
    )


def proposed(answer: str) -> tuple[str, Any]:
    given = json.loads(answer)
    return given["knob"], given["new_value"]


def briefs(folder: Path, **given: Any) -> list[ProposerPrompt]:
    """Return the briefs of a loop that keeps its second change and is refused its third."""
    answers = [change("lr", 1e-3), change("lr", 6e-3, "It helps."), "prose", change("d_ff", 384)]
    answers += [change("d_ff", 512)] * 4
    script = Scripted(answers)
    run(folder, session(iterations=8, **given), script, FakeEvaluator())
    return script.briefs


# --- what is shown --------------------------------------------------------------------------------


def test_the_prompt_has_the_published_parts_in_their_order(tmp_path: Path) -> None:
    first, *_, last = briefs(tmp_path, proposer_context="window", history_window=5)
    heads = [line for line in first.user.splitlines() if line.startswith("## ")]
    assert heads == [
        *("## Allowed knobs", "## Configuration to change", "## Recent iterations", "## Task")
    ]
    assert "(none yet)" in first.user
    assert [line[:3] for line in last.user.splitlines() if "decision=" in line] == [
        *("  4", "  5", "  6", "  7")
    ]
    assert "(parse failed)" in last.user
    assert all(knob in first.user for knob in SMALL.knobs)
    assert '"seed": 0' in first.user


def test_a_fixed_loop_always_shows_the_baseline_and_a_climb_what_it_changes(
    tmp_path: Path,
) -> None:
    fixed = briefs(tmp_path / "fixed")
    assert {each.cfg for each in fixed} == {SMALL.baseline}
    climbing = briefs(tmp_path / "climb", hill_climb=True, min_improvement=0.0)
    assert climbing[1].cfg == SMALL.baseline
    assert climbing[2].cfg.lr == 6e-3


def test_the_published_heading_is_kept_under_published_rules(tmp_path: Path) -> None:
    assert "since the last accepted change" in briefs(tmp_path, guardrails="published")[3].user


def test_the_record_is_shown_withheld_or_left_out(tmp_path: Path) -> None:
    blocks = {
        memory: briefs(tmp_path / memory, proposer_context=memory, guardrails="closed")[-1].record
        for memory in ProposerContext
    }
    assert "Recent Activity" in blocks[ProposerContext.LINEAGE]
    assert "lr=0.006" in blocks[ProposerContext.LINEAGE]
    assert blocks[ProposerContext.NONE] == blocks[ProposerContext.WINDOW]
    assert blocks[ProposerContext.NONE].startswith("Current best: exp_002 (val_bpb=")
    assert blocks[ProposerContext.NONE].count("\n") == 1


def test_a_reason_reaches_later_proposers_under_published_rules_only(tmp_path: Path) -> None:
    for rules in Guardrails:
        last = briefs(tmp_path / rules, proposer_context="lineage", guardrails=rules)[-1]
        assert ("It helps." in last.user) == (rules is Guardrails.PUBLISHED)


# --- who proposes ---------------------------------------------------------------------------------


def test_a_draw_depends_on_seed_and_iteration_alone_and_is_uniform_over_knobs() -> None:
    uniform = UniformProposer(space=SMALL, seed=3)
    drawn = [proposed(uniform.propose(brief(n))) for n in range(1, 1301)]
    assert drawn == [proposed(uniform.propose(brief(n))) for n in range(1, 1301)]
    counts = Counter(knob for knob, _ in drawn)
    assert set(counts) == set(SMALL.knobs)
    assert all(60 < count < 140 for count in counts.values())
    assert all(value != getattr(SMALL.baseline, knob) for knob, value in drawn)
    other = UniformProposer(space=SMALL, seed=4)
    assert proposed(other.propose(brief(1))) != drawn[0]


def test_the_replay_is_what_the_article_recorded(evidence_dir: Path) -> None:
    recorded = read_trajectory(evidence_dir / "a22/trajectory.jsonl").evaluated
    assert [(e.proposal.knob, e.proposal.new_value) for e in recorded] == list(PUBLISHED)


def test_the_replay_proposes_what_that_means_here_and_ends() -> None:
    assert proposed(ReplayProposer(space=ARTICLE).propose(brief(4))) == ("d_model", 768)
    assert proposed(ReplayProposer(space=SMALL).propose(brief(4))) == ("d_model", 48)
    with pytest.raises(ProposerError, match="50 iterations"):
        ReplayProposer(space=ARTICLE).propose(brief(51))


def history(*rows: tuple[str, Label]) -> History:
    trials = [Trial(exp_id="000", status=Label.BASELINE, val_bpb=5.0)]
    for number, (pair, label) in enumerate(rows, 1):
        score = 5.0 - 0.01 * number if label in (Label.KEEP, Label.DISCARD) else None
        delta = None if score is None else -0.01
        trials.append(
            Trial(
                exp_id=f"{number:03}",
                parent_exp="000",
                specialist="bandit",
                status=label,
                val_bpb=score,
                delta_vs_best=delta,
                hypothesis=pair,
            )
        )
    return History(LAYOUT, trials)


def block(*rows: tuple[str, Label]) -> str:
    return shown(history(*rows), ProposerContext.LINEAGE, "bandit")


def test_the_bandit_reads_what_the_block_says() -> None:
    rows = [
        ("lr=0.01", Label.KEEP),
        ("d_model=128: wider | keep | lr=0.1", Label.TRAIN_BUDGET_OVERRUN),
        ("precision=bf16", Label.DISCARD),
        ("", Label.PREFLIGHT_CRASH),
    ]
    assert sorted(told(block(*rows)), key=lambda each: each.pair) == [
        Told(pair="d_model=128", label=Label.TRAIN_BUDGET_OVERRUN),
        Told(pair="lr=0.01", label=Label.KEEP),
        Told(pair="precision=bf16", label=Label.DISCARD),
    ]


def test_the_bandit_remembers_a_keep_that_only_the_leaderboard_shows() -> None:
    rows = [("lr=0.01", Label.KEEP)] + [("d_ff=384", Label.DISCARD)] * 40
    assert Told(pair="lr=0.01", label=Label.KEEP) in told(block(*rows))


def test_the_bandit_does_not_repeat_what_it_is_shown_and_tries_each_knob_once() -> None:
    bandit = BanditProposer(space=SMALL, seed=0)
    rows: list[tuple[str, Label]] = []
    for iteration in range(1, 28):
        knob, value = proposed(bandit.propose(brief(iteration, block(*rows))))
        assert f"{knob}={value}" not in {pair for pair, _ in rows}
        assert value != getattr(SMALL.baseline, knob)
        rows.append((f"{knob}={value}", Label.DISCARD))
        assert len({pair.partition("=")[0] for pair, _ in rows}) == min(iteration, 13)


def test_the_bandit_comes_back_to_a_knob_that_was_kept() -> None:
    once = [(f"{name}={knob.levels()[0]}", Label.DISCARD) for name, knob in SMALL.knobs.items()]
    rows = [(pair, Label.KEEP if pair.startswith("lr=") else label) for pair, label in once]
    drawn = [
        proposed(BanditProposer(space=SMALL, seed=s).propose(brief(14, block(*rows))))[0]
        for s in range(5)
    ]
    assert drawn == ["lr"] * 5
    past = told(block(*rows))
    assert worth("lr", past) > worth("d_ff", past)


def test_a_lost_trial_is_worth_less_than_one_without_effect() -> None:
    past = [Told(pair="a=1", label=Label.DISCARD), Told(pair="b=1", label=Label.CRASH)]
    assert worth("c", past) > worth("a", past) > worth("b", past)


def test_the_bandit_without_a_block_draws_uniformly() -> None:
    drawn = Counter(
        proposed(BanditProposer(space=SMALL, seed=0).propose(brief(n)))[0] for n in range(1, 1301)
    )
    assert all(60 < count < 140 for count in drawn.values())


def test_a_model_is_asked_as_published_with_a_seed_of_each_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def chat(_: Endpoint, messages: Any, sampling: Any) -> str:
        asked.append((messages, sampling))
        return "an answer"

    monkeypatch.setattr(llm, "chat", chat)
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="meta/llama", attempts=1)
    proposer = ChatProposer(endpoint=endpoint, temperature=0.5, max_new_tokens=200, seed=7)
    proposer.require()
    assert proposer.propose(brief(3)) == "an answer"
    assert proposer.identity == "meta/llama"
    messages, sampling = asked[1]
    assert [(m.role, m.content) for m in messages] == [("system", "rules"), ("user", "state")]
    assert (sampling.temperature, sampling.max_new_tokens, sampling.seed) == (0.5, 200, 9)


def test_a_small_model_gets_the_end_of_the_prompt_and_a_form_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def chat(_: Endpoint, messages: Any, sampling: Any) -> str:
        asked.append((messages, sampling))
        return "{}"

    monkeypatch.setattr(llm, "chat", chat)
    proposer = ChatProposer(
        endpoint=Endpoint(base_url="http://127.0.0.1:1/v1", model="policy"),
        temperature=1.0,
        max_new_tokens=50,
        seed=0,
        form=structured_outputs(SMALL),
        most_characters=3,
    )
    proposer.propose(brief(1))
    ((messages, sampling),) = asked
    assert messages[1].content == "ate"
    assert sampling.extra == {"structured_outputs": structured_outputs(SMALL)}


def test_nothing_is_served_for_other_proposers_and_vllm_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def context(**given: Any) -> Context:
        spec = RunSpec(scenario="a22", profile=Profile.CPU, workload=LOOP.name, params={})
        emit = EventWriter(tmp_path / EVENTS_FILE, LOOP.metrics)
        steps = Steps(spec, emit, ArtefactStore(tmp_path / "artefacts").root)
        params = LoopParams(**given)
        return Context(spec=spec, params=params, out=tmp_path, emit=emit, steps=steps)

    other = context(proposer="random")
    with served(other, other.params) as params:
        assert params is other.params
    there = context(proposer="llm")
    with served(there, there.params) as params:
        assert params == there.params
    absent = context(proposer="llm", proposer_base_url="", proposer_model="an/8b@0")
    with pytest.raises(HostError, match="model an/8b@0 is not in"), served(absent, absent.params):
        pass
    monkeypatch.setattr("harness.workloads.autoresearch.llm_proposer.installed", lambda: "")
    ours = context(proposer="served")
    with pytest.raises(HostError, match="vLLM"), served(ours, ours.params):
        pass


def test_a_server_that_is_down_is_told_before_the_loop_and_counted_in_it() -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m", timeout_s=0.5, attempts=1)
    proposer = ChatProposer(endpoint=endpoint, temperature=0.5, max_new_tokens=200, seed=0)
    with pytest.raises(HostError, match="does not answer"):
        proposer.require()
    with pytest.raises(ProposerError, match="does not answer"):
        proposer.propose(brief(1))
