"""Counting a finished loop: noise, repeats, waste; and the intervals of an ablation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.experiments.a35.ablation import ARMS, figures_of
from harness.experiments.a35.params import ARM_FIGURES
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.summary import (
    Noise,
    beyond_noise,
    read_finished,
    repeated,
    tally,
)
from harness.workloads.autoresearch.trajectory import EvalFailure
from harness.workloads.data.split import TokenSource, sampled_stream, zipf
from tests.unit.autoresearch.fakes import FakeEvaluator, Scripted, change, run, session


def test_the_noise_rule_asks_for_students_quantile_of_a_difference() -> None:
    wanted = stats.t.ppf(1 - 0.05 / 50, 8) * math.sqrt(2) * 0.02
    assert Noise(std=0.02, count=9).gain(trials=50, level=0.05) == pytest.approx(wanted, rel=1e-9)


def test_only_gains_beyond_the_noise_are_kept_by_the_noise_rule(tmp_path: Path) -> None:
    answers = [change("lr", lr) for lr in (5e-3, 9e-2)]
    decided = replace(session(iterations=2), noise=(4.9, 5.0, 5.1))
    run(tmp_path, decided, Scripted(answers), FakeEvaluator())
    loop = read_finished(tmp_path)
    assert [each.iteration for each in beyond_noise(loop, 0.05)] == [2]
    assert tally(loop, 0.05).accepted == 2


def test_a_candidate_tried_before_is_a_repeat_also_where_it_failed(tmp_path: Path) -> None:
    broken = EvalFailure(ok=False, oom=False, error="over", timed_out=True)
    answers = [change("d_model", 128), change("d_model", 128), change("lr", 1e-3), "prose"]
    evaluator = FakeEvaluator(lambda cfg: broken if cfg.d_model == 128 else None)
    run(tmp_path, session(iterations=4), Scripted(answers), evaluator)
    loop = read_finished(tmp_path)
    assert [each.iteration for each in repeated(loop.trajectory.iterations)] == [2]
    found = tally(loop, 0.05)
    assert found.repeats == 1
    walls = [each.iter_wall_s for each in loop.trajectory.iterations]
    assert found.wasted_s == pytest.approx(walls[0] + walls[1] + walls[3])
    assert found.wall_s == pytest.approx(sum(walls))


def test_the_arms_differ_in_what_is_shown_and_have_every_figure(tmp_path: Path) -> None:
    run(tmp_path, session(iterations=2), Scripted([change("lr", 5e-3)]), FakeEvaluator())
    assert set(figures_of(tally(read_finished(tmp_path), 0.05))) == set(ARM_FIGURES)
    assert dict(ARMS) == {
        "with_lineage": ProposerContext.LINEAGE,
        "without_lineage": ProposerContext.NONE,
    }


# --- what candidates read -------------------------------------------------------------------------


def test_a_source_follows_its_shares_and_its_bits_are_their_entropy() -> None:
    followers = np.array([[1, 2], [2, 0], [0, 1]], dtype=np.int32)
    source = TokenSource(followers=followers, shares=zipf(2), frequencies=zipf(3))
    ids = source.draw(200_000, np.random.default_rng(0))
    after_one = ids[1:][ids[:-1] == 1]
    wanted = 0.9 * np.array([1 / 3, 0, 2 / 3]) + 0.1 * zipf(3)
    found = np.bincount(after_one, minlength=3) / len(after_one)
    assert found == pytest.approx(wanted, abs=0.01)
    entropies = [stats.entropy(0.9 * row + 0.1 * zipf(3), base=2) for row in transitions(followers)]
    shares = np.bincount(ids, minlength=3) / len(ids)
    assert source.bits(ids) == pytest.approx(float(shares @ np.array(entropies)), abs=0.01)


def transitions(followers: np.ndarray) -> np.ndarray:
    matrix = np.zeros((3, 3))
    for token, row in enumerate(followers):
        matrix[token, row] += zipf(2)
    return matrix


def test_a_corpus_is_the_same_for_the_same_seed_and_its_parts_do_not_overlap() -> None:
    one, other = (sampled_stream(128, 5000, 1000, seed=4) for _ in range(2))
    assert (one.ids == other.ids).all()
    assert (len(one.ids), one.split) == (6000, 5000)
    assert one.ids.min() >= 0
    assert one.ids.max() < 128
    assert one.entropy_floor_bits is not None
    assert 2.0 < one.entropy_floor_bits < math.log2(128)
    # the floor is of the held-out ids: the same source, made again, says so
    followers = np.random.default_rng(4).integers(0, 128, (128, 8), dtype=np.int32)
    source = TokenSource(followers=followers, shares=zipf(8), frequencies=zipf(128))
    assert one.entropy_floor_bits == source.bits(one.ids[one.split :])
    assert one.entropy_floor_bits != source.bits(one.ids[: one.split])
