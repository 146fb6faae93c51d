"""Parts of a loop that need no training: figures by formula, answers from a list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.probes.reading import NotSupported
from harness.workloads.autoresearch.evaluator import CandidateEvaluation, Limit
from harness.workloads.autoresearch.loop import Loop, Parts, Session
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.prompt import ProposerError, ProposerPrompt
from harness.workloads.autoresearch.trajectory import EvalFailure, EvalMetrics, TrainConfig
from harness.workloads.models.shape import num_parameters

BASE_BPB = 5.0


def figure(cfg: TrainConfig, seed: int) -> float:
    """A figure that falls with the learning rate, and a little with nothing but the seed."""
    text = json.dumps([seed, cfg.lr, cfg.d_model, cfg.n_head])
    luck = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 0xFFFFFF
    return BASE_BPB - 20 * (cfg.lr - 3e-3) + 0.01 * luck


@dataclass
class FakeEvaluator:
    """Knows each candidate's figure, and breaks where it is told to."""

    breaks: Callable[[TrainConfig], EvalFailure | None] = lambda _: None
    entropy_floor_bits: float | None = 3.0
    asked: list[tuple[TrainConfig, int, Limit]] = field(default_factory=list)

    def evaluate(self, cfg: TrainConfig, seed: int, limit: Limit) -> CandidateEvaluation:
        self.asked.append((cfg, seed, limit))
        if failure := self.breaks(cfg):
            return CandidateEvaluation(result=failure)
        metrics = EvalMetrics(
            ok=True,
            params_m=num_parameters(cfg.shape) / 1e6,
            train_steps=cfg.steps,
            train_loss_first=4.8,
            train_loss_last=3.5,
            val_bpb=figure(cfg, seed),
            val_n_batches=4,
            mean_step_ms=1.0,
            train_wall_s=0.06,
            val_wall_s=0.01,
            peak_gpu_mem_gib=0.2,
        )
        return CandidateEvaluation(result=metrics, device="a fake", train_flop=100.0)


@dataclass
class Scripted:
    """Gives answers from a list; None stands for no answer."""

    answers: Sequence[str | None]
    identity: str = "script"
    briefs: list[ProposerPrompt] = field(default_factory=list)

    def propose(self, brief: ProposerPrompt) -> str:
        self.briefs.append(brief)
        answer = self.answers[(brief.iteration - 1) % len(self.answers)]
        if answer is None:
            message = "the server is down"
            raise ProposerError(message)
        return answer


def change(knob: str, value: Any, reason: str = "A step.") -> str:
    return json.dumps({"knob": knob, "new_value": value, "reason": reason})


def session(**given: Any) -> Session:
    defaults: dict[str, Any] = {
        "proposer": "random",
        "search_space": "small",
        "device": "cpu",
        "iterations": 12,
        "num_noise_samples": 3,
    }
    seed = given.pop("seed", 0)
    return Session(params=LoopParams(**{**defaults, **given}), seed=seed)


def run(folder: Path, decided: Session, proposer: Any, evaluator: FakeEvaluator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = Parts(
        proposer=proposer,
        evaluator=evaluator,
        energy_j=lambda: NotSupported(reason="none here"),
    )
    Loop(decided, folder, parts).run()
