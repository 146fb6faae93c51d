"""Proposers without a model: a uniform draw, the article's own proposals, and hostile answers."""

from __future__ import annotations

import json
from random import Random

from harness.records import Scalar, record
from harness.workloads.autoresearch.guardrail_cases import cases
from harness.workloads.autoresearch.prompt import ProposerError, ProposerPrompt
from harness.workloads.autoresearch.search_space import ARTICLE, Space, translated

# article 22, evidence/trajectory.jsonl: what its model proposed, in order
_PAIRS = """
n_head=8 n_head=32 d_model=1536 d_model=768 d_model=768 d_model=768 n_head=8
n_head=32 d_model=1536 n_head=4 d_model=1536 d_ff=6144 lr=0.0002 d_model=2048
lr=0.0002 n_head=32 d_ff=8192 n_head=8 d_model=1536 beta1=0.92 beta2=0.92
n_head=32 d_model=768 d_model=2048 beta2=0.96 d_model=1536 d_model=1536 n_head=8
d_model=1536 d_model=2048 d_model=768 d_model=2048 d_model=768 d_model=1536
n_head=8 d_model=1536 n_head=32 d_model=256 n_head=4 n_head=4 d_model=2048
lr=0.0002 d_ff=6144 d_model=1536 d_model=768 d_ff=8192 n_head=32 d_ff=4096
d_model=2048 n_head=8
"""
_FRACTIONS = ("lr", "beta1", "beta2")
PUBLISHED: tuple[tuple[str, Scalar], ...] = tuple(
    (knob, float(value) if knob in _FRACTIONS else int(value))
    for knob, _, value in (pair.partition("=") for pair in _PAIRS.split())
)


@record
class UniformProposer:
    """A knob drawn uniformly, and a value of its domain that it does not have."""

    space: Space
    seed: int
    identity: str = "random"

    def propose(self, brief: ProposerPrompt) -> str:
        """Return a draw that depends on the seed and the iteration alone."""
        random = Random(f"{self.seed}/{brief.iteration}")  # noqa: S311 - no secret
        knob = random.choice(list(self.space.knobs.values()))
        value = knob.draw(random)
        while value == getattr(brief.cfg, knob.name):
            value = knob.draw(random)
        return answer(knob.name, value, "A uniform draw.")


@record
class ReplayProposer:
    """What the article's model proposed, in its order; in another space, what that means there."""

    space: Space
    identity: str = "replay"

    def propose(self, brief: ProposerPrompt) -> str:
        """Return the published proposal of this iteration.

        Raises:
            ProposerError: the published loop did not come so far.
        """
        if brief.iteration > len(PUBLISHED):
            message = f"the published loop has {len(PUBLISHED)} iterations"
            raise ProposerError(message)
        knob, value = PUBLISHED[brief.iteration - 1]
        return answer(knob, translated(knob, value, ARTICLE, self.space), "As published.")


class HostileProposer:
    """Answers that closed rules must refuse, one after the other."""

    identity = "hostile"

    def __init__(self, space: Space) -> None:
        self._answers = [case.answer for case in cases(space) if case.closed is not None]

    def propose(self, brief: ProposerPrompt) -> str:
        """Return the next one."""
        return self._answers[(brief.iteration - 1) % len(self._answers)]


def answer(knob: str, value: Scalar, reason: str) -> str:
    """Return a proposal as the prompt asks for it."""
    return json.dumps({"knob": knob, "new_value": value, "reason": reason})
