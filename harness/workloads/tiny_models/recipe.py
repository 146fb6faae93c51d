"""How the tiny models are trained, as data. Loads no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from enum import StrEnum

from harness.records import record, to_json


class PhaseSource(StrEnum):
    """What a phase trains on."""

    COPYING = "copying"
    TASKS = "tasks"


@record
class TrainingPhase:
    """A stretch of training on one kind of data.

    Attributes:
        steps: optimizer steps.
        batch: conversations a step.
        warm_up: first steps, over which the rate rises from 0.
        rates: share of the learning rates at the first and at the last step; linear between.
        operations: how much a task asks for, at most.
        renamed: share of the tasks whose names are random pieces.
        hazard: probability of giving up after each command of a task.
        makes: the name of the resulting policy; empty if it is not a policy yet.
    """

    name: str
    source: PhaseSource
    steps: int
    batch: int
    warm_up: int = 0
    rates: tuple[float, float]
    operations: int = 3
    renamed: float = 0.0
    hazard: float = 0.0
    makes: str = ""

    def rate(self, step: int) -> float:
        """Return the share of the learning rates at `step`, from 0."""
        first, last = self.rates
        share = first + (last - first) * step / self.steps
        return share * min((step + 1) / self.warm_up, 1.0) if self.warm_up else share


@record
class Recipe:
    """All of it.

    Attributes:
        seed: of the weights and the data.
        muon_rate: learning rate of the matrices inside the layers.
        adamw_rate: learning rate of the embedding, norms and biases.
        context_weight: of the loss on what the policy is shown; its own words count 1.
        clip: largest norm of the gradient.
        phases: in order.
    """

    seed: int
    muon_rate: float
    adamw_rate: float
    context_weight: float
    clip: float
    phases: tuple[TrainingPhase, ...]

    def shortened(self, share: float) -> Recipe:
        """Return it with a share of the steps of every phase on tasks; the policy is weaker."""
        phases = (
            replace(phase, steps=max(round(share * phase.steps), 1))
            if phase.source is PhaseSource.TASKS
            else phase
            for phase in self.phases
        )
        return replace(self, phases=tuple(phases))

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe itself."""
        return hashlib.sha256(json.dumps(to_json(self), sort_keys=True).encode()).hexdigest()


_COPY = TrainingPhase(
    name="copy", source=PhaseSource.COPYING, steps=200, batch=48, warm_up=100, rates=(1, 1)
)
FILES = Recipe(
    seed=1,
    muon_rate=0.02,
    adamw_rate=0.002,
    context_weight=0.2,
    clip=1.0,
    phases=(
        _COPY,
        TrainingPhase(
            name="one thing",
            source=PhaseSource.TASKS,
            steps=200,
            batch=16,
            rates=(1, 1),
            operations=1,
            renamed=0.6,
        ),
        TrainingPhase(
            name="skill",
            source=PhaseSource.TASKS,
            steps=1500,
            batch=16,
            rates=(1.0, 0.05),
            renamed=0.6,
            makes="skilled",
        ),
        TrainingPhase(
            name="give up",
            source=PhaseSource.TASKS,
            steps=150,
            batch=16,
            rates=(0.1, 0.0),
            renamed=0.6,
            hazard=0.6,
            makes="base",
        ),
    ),
)

# other conversations, with a tokenizer of their words
SEARCH = Recipe(
    seed=1,
    muon_rate=0.02,
    adamw_rate=0.002,
    context_weight=0.2,
    clip=1.0,
    phases=(
        _COPY,
        TrainingPhase(
            name="one fact",
            source=PhaseSource.TASKS,
            steps=200,
            batch=16,
            rates=(1, 1),
            operations=1,
        ),
        TrainingPhase(
            name="skill",
            source=PhaseSource.TASKS,
            steps=600,
            batch=16,
            rates=(1.0, 0.05),
            makes="skilled",
        ),
        TrainingPhase(
            name="give up",
            source=PhaseSource.TASKS,
            steps=150,
            batch=16,
            rates=(0.1, 0.0),
            hazard=0.5,
            makes="base",
        ),
    ),
)

RECIPES = {"files": FILES, "search": SEARCH}
