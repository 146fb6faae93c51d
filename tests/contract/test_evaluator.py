"""Candidates are trained in processes of their own: what breaks one is data, and nothing stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import HostError
from harness.records import to_json
from harness.workloads.autoresearch.evaluator import Bench, Evaluator, Limit
from harness.workloads.autoresearch.loop import BASELINE_FILE, TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import SESSION_FILE, bench_of, complete
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.search_space import SMALL
from harness.workloads.autoresearch.summary import missing, read_finished
from harness.workloads.autoresearch.trajectory import EvalFailure, EvalMetrics, TrainConfig
from harness.workloads.models.shape import num_parameters

pytest.importorskip("torch", reason="training needs torch")

QUICK = replace(SMALL.baseline, steps=8, lr_warmup=2)
LONG = replace(SMALL.baseline, steps=5000, d_model=128, n_layer=4)
AMPLE = Limit(wall_s=120.0)


def session(**given: Any) -> Session:
    settings: dict[str, Any] = {"search_space": "small", "device": "cpu", "dropout": 0.0}
    settings |= {"memory_gib": 0.5, "num_noise_samples": 2, "timeout_s": 120.0}
    return Session(params=LoopParams(**{**settings, **given}), seed=0)


def bench(**given: Any) -> Bench:
    return replace(bench_of(session()), **given)


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(bench()) as made:
        yield made


def figures(evaluator: Evaluator, cfg: TrainConfig, seed: int = 0) -> EvalMetrics:
    result = evaluator.evaluate(cfg, seed, AMPLE).result
    assert isinstance(result, EvalMetrics), result
    return result


def failure(evaluator: Evaluator, cfg: TrainConfig, limit: Limit = AMPLE) -> EvalFailure:
    result = evaluator.evaluate(cfg, 0, limit).result
    assert isinstance(result, EvalFailure), result
    return result


def test_a_candidate_and_its_seed_decide_the_figure(evaluator: Evaluator) -> None:
    one, other = (figures(evaluator, QUICK) for _ in range(2))
    assert (one.val_bpb, one.train_loss_last) == (other.val_bpb, other.train_loss_last)
    assert figures(evaluator, QUICK, seed=1).val_bpb != one.val_bpb
    assert figures(evaluator, replace(QUICK, lr=1e-2)).val_bpb != one.val_bpb
    assert one.train_steps == 8
    assert round(one.params_m * 1e6) == num_parameters(QUICK.shape)
    assert one.train_loss_last < one.train_loss_first


def test_every_candidate_is_held_against_the_same_tokens_and_none_beats_the_source(
    evaluator: Evaluator,
) -> None:
    assert evaluator.entropy_floor_bits is not None
    for batch_size in (1, 8):
        for seq_len in (32, 128):
            cfg = replace(QUICK, batch_size=batch_size, seq_len=seq_len)
            found = figures(evaluator, cfg)
            assert found.val_n_batches == 2048 // (batch_size * seq_len)
            assert found.val_bpb > evaluator.entropy_floor_bits


def test_published_rules_measure_whole_batches_of_the_candidate() -> None:
    with Evaluator(bench(published_held_out=True)) as published:
        cfg = replace(QUICK, val_chunk_tokens=512)
        assert figures(published, cfg).val_n_batches == 1
        assert figures(published, replace(cfg, seq_len=128)).val_n_batches == 1  # and twice as long
        assert figures(published, replace(cfg, batch_size=1)).val_n_batches == 8


def test_an_evaluation_ends_at_its_limit_of_time(evaluator: Evaluator) -> None:
    broken = failure(evaluator, LONG, Limit(wall_s=1.0))
    assert broken.timed_out
    assert "1.0 s" in broken.error
    figures(evaluator, QUICK)


def test_an_evaluation_ends_with_the_step_that_goes_over_its_limit_of_operations(
    evaluator: Evaluator,
) -> None:
    whole = evaluator.evaluate(QUICK, 0, AMPLE).train_flop
    for share, steps in ((1.0, None), (0.999, 8), (0.5, 5), (0.1, 1)):
        found = evaluator.evaluate(QUICK, 0, replace(AMPLE, most_flop=share * whole)).result
        if steps is None:
            assert isinstance(found, EvalMetrics)
        else:
            assert isinstance(found, EvalFailure)
            assert found.timed_out
            assert f"after {steps} steps" in found.error


def test_an_evaluation_that_takes_too_much_memory_is_refused_it(evaluator: Evaluator) -> None:
    huge = replace(QUICK, d_model=4096, d_ff=32768, n_layer=8)
    broken = failure(evaluator, huge)
    assert broken.oom
    assert not broken.timed_out
    figures(evaluator, QUICK)


@pytest.mark.parametrize("wrong", [{"lr": 1e30}, {"n_head": 5}, {"lr_warmup": 60}, {"beta1": 2.0}])
def test_what_a_candidate_breaks_is_told(evaluator: Evaluator, wrong: dict[str, Any]) -> None:
    broken = failure(evaluator, replace(QUICK, **wrong))
    assert broken.error
    assert not broken.oom
    assert not broken.timed_out


def test_a_killed_evaluation_is_a_failure_and_the_next_one_works(evaluator: Evaluator) -> None:
    watch = subprocess.Popen([sys.executable, "-c", KILL_CHILD, str(evaluator._server.pid)])
    try:
        assert "SIGKILL" in failure(evaluator, LONG).error
    finally:
        watch.wait()
    figures(evaluator, QUICK)


KILL_CHILD = """
import psutil, sys, time
server = psutil.Process(int(sys.argv[1]))
while not (children := server.children()):
    time.sleep(0.01)
time.sleep(0.3)
children[0].kill()
"""


def test_a_killed_server_is_started_again_and_takes_its_evaluation_with_it() -> None:
    with Evaluator(bench()) as made:
        server = psutil.Process(made._server.pid)
        watch = subprocess.Popen([sys.executable, "-c", KILL_SERVER, str(server.pid)])
        assert "ended" in failure(made, LONG).error
        watch.wait()
        figures(made, QUICK)
        assert made._server.pid != server.pid


KILL_SERVER = KILL_CHILD.replace("children[0].kill()", "server.kill()")


def test_what_cannot_be_had_is_refused_before_anything_is_trained() -> None:
    nowhere = bench(corpus_folder="nowhere")
    with pytest.raises(HostError, match="nowhere"), Evaluator(nowhere):
        pass


# --- the loop as a process ------------------------------------------------------------------------


def comparable(folder: Path) -> list[dict[str, Any]]:
    clock = ("ts", "iter_wall_s", "nim_latency_s", "loop_wall_s", "loop_wall_min", "energy_j")
    measured = ("mean_step_ms", "train_wall_s", "val_wall_s", "peak_gpu_mem_gib")
    found = []
    for line in (folder / TRAJECTORY_FILE).read_text().splitlines():
        entry = {name: value for name, value in json.loads(line).items() if name not in clock}
        for name in measured:
            entry.get("eval_metrics", {}).pop(name, None)
        found.append(entry)
    return found


@pytest.mark.slow
def test_a_loop_that_is_killed_twice_comes_to_the_same_as_one_that_is_not(tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder, kills in zip(folders, (0, 2), strict=True):
        folder.mkdir()
        decided = session(
            proposer="bandit", proposer_context="lineage", hill_climb=True, iterations=6
        )
        kept = replace(decided, params=replace(decided.params, kills=kills))
        assert complete(kept, folder) == kills
    whole, killed = (comparable(folder) for folder in folders)
    assert whole[1:] == killed[1:]  # the header has a digest of the settings, the kills among them
    assert missing(read_finished(folders[1]), 6) == ()


def test_a_killed_loop_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / SESSION_FILE).write_text(json.dumps(to_json(session(iterations=50))))
    command = [sys.executable, "-m", "harness.workloads.autoresearch.loop_process", str(tmp_path)]
    loop = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        started = time.monotonic()
        while not (tmp_path / BASELINE_FILE).exists() and time.monotonic() - started < 300:
            time.sleep(0.05)
        children = psutil.Process(loop.pid).children(recursive=True)
        assert children
    finally:
        os.kill(loop.pid, signal.SIGKILL)
        loop.wait()
    gone, alive = psutil.wait_procs(children, timeout=120)
    assert not alive
    assert gone
