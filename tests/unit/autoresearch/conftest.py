"""A small trajectory made by hand: lines of every kind, written as the loop writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.workloads.autoresearch.trajectory import Trajectory, read_trajectory

BASELINE = 10.0
CFG: dict[str, Any] = {
    "n_layer": 24,
    "n_head": 16,
    "d_model": 1024,
    "d_ff": 4096,
    "lr": 3e-4,
    "lr_warmup": 5,
    "grad_clip": 1.0,
    "weight_decay": 0.0,
    "beta1": 0.9,
    "beta2": 0.95,
    "batch_size": 16,
    "seq_len": 1024,
    "precision": "fp8",
    "vocab_size": 50257,
    "steps": 60,
    "val_chunk_tokens": 16384,
    "seed": 0,
}
METRICS: dict[str, Any] = {
    "ok": True,
    "params_m": 354.6,
    "train_steps": 60,
    "train_loss_first": 11.0,
    "train_loss_last": 7.4,
    "val_bpb": BASELINE,
    "val_n_batches": 1,
    "mean_step_ms": 1000.0,
    "train_wall_s": 60.0,
    "val_wall_s": 0.5,
    "peak_gpu_mem_gib": 24.0,
}
SAMPLES_HEADER = "timestamp,gpu_util_pct,mem_used_mib,power_w,temp_c"


@dataclass(frozen=True)
class Lines:
    """Makes the lines of a trajectory file."""

    folder: Path

    def header(self, baseline: float = BASELINE) -> str:
        return json.dumps(
            {
                "_meta": "by hand",
                "baseline_val_bpb": baseline,
                "baseline_cfg": CFG,
                "accept_delta_frac": 0.005,
            }
        )

    def evaluated(self, iteration: int, change: str, val_bpb: float, **given: Any) -> str:
        """One evaluated iteration, a minute after the last; `change` is knob=value."""
        knob, _, text = change.partition("=")
        value = json.loads(text)
        improvement = (BASELINE - val_bpb) / BASELINE
        return json.dumps(
            {
                "iter": iteration,
                "ts": f"2026-04-25 18:{iteration:02}:00",
                "stage": "evaluated",
                "verdict_ok": True,
                "proposal": {"knob": knob, "new_value": value, "reason": "why not"},
                "diff": "",
                "candidate_cfg": {**CFG, knob: value},
                "eval_metrics": {**METRICS, "val_bpb": val_bpb},
                "val_bpb": val_bpb,
                "baseline_val_bpb": BASELINE,
                "improvement_frac": round(improvement, 4),
                "decision": "keep" if improvement >= 0.005 else "revert",
                "is_new_best": False,
                "nim_latency_s": 1.0,
                "iter_wall_s": 60.0,
                **given,
            }
        )

    def blocked(self, iteration: int, proposal: object) -> str:
        return json.dumps(
            {
                "iter": iteration,
                "ts": "2026-04-25 18:30:00",
                "stage": "blocked",
                "verdict_ok": False,
                "rail": "R1_schema",
                "reason": "not the three keys",
                "proposal": proposal,
                "raw": "{}",
                "nim_latency_s": 1.0,
                "iter_wall_s": 1.1,
            }
        )

    def eval_failed(self, iteration: int) -> str:
        failed = json.loads(self.evaluated(iteration, "d_model=2048", 1.0))
        for name in ("val_bpb", "baseline_val_bpb", "improvement_frac", "is_new_best"):
            del failed[name]
        failed |= {"stage": "eval_failed", "decision": "revert (eval crash)"}
        failed["eval_metrics"] = {"ok": False, "oom": True, "error": "out of memory"}
        return json.dumps(failed)

    def nim_error(self, iteration: int) -> str:
        return json.dumps(
            {
                "iter": iteration,
                "ts": "2026-04-25 18:30:00",
                "stage": "nim_error",
                "nim_error": "timed out",
                "iter_wall_s": 60.0,
            }
        )

    def paused(self, iteration: int) -> str:
        return json.dumps(
            {
                "iter": iteration,
                "ts": "2026-04-25 18:30:00",
                "stage": "paused",
                "reason": "flag",
                "completed_iters": iteration - 1,
                "requested_iters": 9,
            }
        )

    def loop_complete(self, accepted: int, reverted: int, best: float) -> str:
        return json.dumps(
            {
                "stage": "loop_complete",
                "iters_requested": accepted + reverted,
                "accept_count": accepted,
                "revert_count": reverted,
                "block_count": 0,
                "eval_fail_count": 0,
                "loop_wall_s": 600.0,
                "loop_wall_min": 10.0,
                "baseline_val_bpb": BASELINE,
                "best_val_bpb": best,
                "best_proposal": None,
                "best_improvement_frac": 0.0,
            }
        )

    def write(self, *lines: str, torn: str = "", name: str = "trajectory.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines) + torn, encoding="utf-8")
        return path

    def read(self, *lines: str) -> Trajectory:
        return read_trajectory(self.write(self.header(), *lines))


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path)


@pytest.fixture
def trials(lines: Lines) -> Callable[..., Trajectory]:
    """Make a trajectory of evaluated trials, each given as (knob=value, val_bpb)."""

    def make(*given: tuple[str, float]) -> Trajectory:
        numbered = enumerate(given, 1)
        return lines.read(*(lines.evaluated(i, change, value) for i, (change, value) in numbered))

    return make
