"""Training rows from a trajectory: the proposer's prompts and answers.

Article 25, section "Phase 1". Its construction replays a running baseline that a keep replaces, so
its prompts show a configuration that the proposer never saw: the loop of article 22 changed the
first baseline in all fifty iterations. The corrected construction shows the actual baseline. Loads
no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from harness.records import record, to_json
from harness.workloads.autoresearch.loop_state import after, standing
from harness.workloads.autoresearch.prompt import PromptWriter
from harness.workloads.autoresearch.trajectory import (
    Decision,
    Evaluated,
    Proposal,
    TrainConfig,
    Trajectory,
)


class PromptVersion(StrEnum):
    """Which configuration a row's prompt shows."""

    PUBLISHED = "published"  # the first baseline, replaced by each kept candidate
    CORRECTED = "corrected"  # what the proposer was asked to change


@record
class ProposalQuestion:
    """What a proposer is asked, in words."""

    system: str
    user: str


class Asking(Protocol):
    """How a question is worded."""

    def question(self, cfg: TrainConfig, past: Sequence[Evaluated]) -> ProposalQuestion:
        """Return what is asked when `cfg` is to be changed, after these trials."""
        ...


@record
class IterationExample:
    """One iteration as an example.

    Attributes:
        cfg: that its question shows.
        past: the pairs of the trials before it, all of them.
        answer: what the proposer said, as JSON.
    """

    iteration: int
    question: ProposalQuestion
    cfg: TrainConfig
    past: tuple[str, ...]
    proposal: Proposal
    answer: str
    decision: Decision
    val_bpb: float
    improvement_frac: float

    @property
    def pair(self) -> str:
        """The answer without its reason: ``knob=value``."""
        return self.proposal.pair

    @property
    def changes_nothing(self) -> bool:
        """Whether its question shows the very value that it answers with."""
        shown: object = getattr(self.cfg, self.proposal.knob)
        return shown == self.proposal.new_value

    @property
    def line(self) -> str:
        """The row as the published files have it."""
        said = (("system", self.question.system), ("user", self.question.user))
        messages = [{"role": role, "content": text} for role, text in said]
        row = {
            "iter": self.iteration,
            "messages": [*messages, {"role": "assistant", "content": self.answer}],
            "decision": self.decision.value,
            "val_bpb": self.val_bpb,
            "improvement_frac": self.improvement_frac,
        }
        return json.dumps(row) + "\n"


@record
class TrainTestSplit:
    """The rows by time: those to learn from, and the last ones."""

    train: tuple[IterationExample, ...]
    test: tuple[IterationExample, ...]


def rows(
    trajectory: Trajectory, asking: Asking, prompt_version: PromptVersion
) -> Iterator[IterationExample]:
    """Yield a row for each evaluated iteration, in order."""
    past: list[Evaluated] = []
    for each, cfg in zip(trajectory.evaluated, _shown(trajectory, prompt_version), strict=True):
        yield IterationExample(
            iteration=each.iteration,
            question=asking.question(cfg, past),
            cfg=cfg,
            past=tuple(before.proposal.pair for before in past),
            proposal=each.proposal,
            answer=json.dumps(to_json(each.proposal)),
            decision=each.decision,
            val_bpb=each.val_bpb,
            improvement_frac=each.improvement_frac,
        )
        past.append(each)


def split(made: Sequence[IterationExample], held_out: int) -> TrainTestSplit:
    """Return the rows but for the last `held_out`, and those."""
    first = len(made) - held_out
    return TrainTestSplit(train=tuple(made[:first]), test=tuple(made[first:]))


def _shown(trajectory: Trajectory, prompt_version: PromptVersion) -> Iterator[TrainConfig]:
    """Yield the configuration that each evaluated iteration's question shows."""
    header, cfg = trajectory.header, trajectory.header.baseline_cfg
    here = standing(header, ())
    for each in trajectory.evaluated:
        yield here.base if prompt_version is PromptVersion.CORRECTED else cfg
        here = after(header, here, each)
        if each.decision is Decision.KEEP:
            cfg = each.candidate_cfg


# --- wordings -------------------------------------------------------------------------------------


@record
class LoopQuestion:
    """The wording that the harness's own loop asks in."""

    form: PromptWriter

    def question(self, cfg: TrainConfig, past: Sequence[Evaluated]) -> ProposalQuestion:
        """Return the brief of the next iteration."""
        brief = self.form.brief(len(past) + 1, cfg, past, block="")
        return ProposalQuestion(system=brief.system, user=brief.user)


@record
class BriefQuestion:
    """A few words for a model with a small context: what is there, and what was tried last.

    Attributes:
        history: trials that are shown.
    """

    history: int

    def question(self, cfg: TrainConfig, past: Sequence[Evaluated]) -> ProposalQuestion:
        """Return the knobs' values and the last trials, a line each."""
        last = past[len(past) - min(self.history, len(past)) :]
        tried = [
            tried_line(each.proposal.pair, each.improvement_frac, each.decision) for each in last
        ]
        return ProposalQuestion(system="", user=few_words(cfg, tried))


def few_words(cfg: TrainConfig, tried: Sequence[str]) -> str:
    """Return the knobs' values and some trials, a line each."""
    knobs = " ".join(f"{name}={getattr(cfg, name)}" for name in _KNOBS)
    return "\n".join([knobs, *tried, "next"])


def tried_line(pair: str, improvement_frac: float, decision: Decision) -> str:
    """Return a trial in a line: ``n_head=8 +0.3 revert``, the gain in percent."""
    return f"{pair} {100 * improvement_frac:+.1f} {decision}"


_KNOBS = tuple(TrainConfig.__dataclass_fields__)[:13]  # the fields that follow are fixed


@record
class PublishedQuestion:
    """The wording of article 22's proposer, taken from a published row.

    Only the common part of all rows is taken; the rest is rebuilt.
    """

    system: str
    knobs: str
    heads: tuple[str, str, str]
    nothing_yet: str
    task: str
    history: int = 5

    @classmethod
    def of_first(cls, system: str, user: str) -> PublishedQuestion:
        """Return the wording of the row before which nothing was tried.

        Raises:
            ValueError: the row has another form.
        """
        parts = user.split("\n\n")
        if len(parts) != _PUBLISHED_PARTS:
            message = f"the published prompt has {_PUBLISHED_PARTS} parts, this one {len(parts)}"
            raise ValueError(message)
        knobs_head, knobs, cfg_head, _, past_head, nothing_yet, task_head, task = parts
        return cls(
            system=system,
            knobs=f"{knobs_head}\n\n{knobs}",
            heads=(cfg_head, past_head, task_head),
            nothing_yet=nothing_yet,
            task=task,
        )

    def question(self, cfg: TrainConfig, past: Sequence[Evaluated]) -> ProposalQuestion:
        """Return the published prompt for this configuration and these trials."""
        last = past[len(past) - min(self.history, len(past)) :]
        tried = "\n".join(_published_line(each) for each in last) or self.nothing_yet
        cfg_head, past_head, task_head = self.heads
        shown = json.dumps(to_json(cfg), indent=2)
        parts = (self.knobs, cfg_head, shown, past_head, tried, task_head, self.task)
        return ProposalQuestion(system=self.system, user="\n\n".join(parts))


_PUBLISHED_PARTS = 8


def _published_line(each: Evaluated) -> str:
    moved = f"val_bpb {each.baseline_val_bpb}→{each.val_bpb}"
    change = f"iter {each.iteration:3}  {each.proposal.pair:<28}"
    return f"  {change}  applied; {moved}; decision={each.decision}"
