"""What a proposer is asked (article 22, "Proposer prompt"): the same parts in the same order.

The wording is ours. How it departs: under closed rules the configuration is under a heading that is
true, and where a proposer is shown the record of article 35, that replaces the last
iterations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from harness.errors import HarnessError
from harness.records import record, to_json
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.search_space import Space
from harness.workloads.autoresearch.trajectory import (
    Blocked,
    EvalFailed,
    Evaluated,
    Iteration,
    NimError,
    TrainConfig,
)

_RAIL_CHARACTERS = 60
_SYSTEM = """\
You are an autonomous researcher of training loops. The aim: one small change at a time to the
configuration of a GPT pretrain that lowers its held-out cross-entropy.

Change exactly one knob. Answer with one line of JSON that has exactly three keys:
{"knob": "...", "new_value": ..., "reason": "..."}

- knob: one of the allowed knobs.
- new_value: of the knob's type, within its range or among its choices.
- reason: one sentence of at most 200 characters.
- Nothing else: no prose, no markdown, no code fence.
- Do not propose a knob and value that were accepted last.

If you cannot decide, propose the untried change that would teach the most."""
_TASK = """\
## Task
Propose one change that you expect to lower val_bpb. JSON only."""


@record
class ProposerPrompt:
    """All that a proposer may know.

    Attributes:
        iteration: whose proposal is wanted, from 1.
        cfg: the configuration to change.
        system: the system message.
        user: the user message.
        record: the block of past trials, which the user message holds where it is shown.
    """

    iteration: int
    cfg: TrainConfig
    system: str
    user: str
    record: str


class ProposerError(HarnessError):
    """No answer came; the iteration is used up, and counted as such."""


class Proposer(Protocol):
    """Makes proposals: text, which the rails will read."""

    @property
    def identity(self) -> str:
        """Who answers, e.g. ``bandit`` or the model's name."""
        ...

    def propose(self, brief: ProposerPrompt) -> str:
        """Return an answer.

        Raises:
            ProposerError: there is none.
        """
        ...


@record
class PromptWriter:
    """How briefs of a loop are written.

    Attributes:
        history_window: iterations that a window shows.
    """

    search_space: Space
    guardrails: Guardrails
    proposer_context: ProposerContext
    history_window: int

    def brief(
        self, iteration: int, cfg: TrainConfig, past: Sequence[Iteration], block: str
    ) -> ProposerPrompt:
        """Return the brief of one iteration.

        Args:
            iteration: its number.
            cfg: the configuration to change.
            past: the iterations before it.
            block: the rendered record.
        """
        lines = ["## Allowed knobs"]
        for knob in self.search_space.knobs.values():
            default = getattr(self.search_space.baseline, knob.name)
            lines.append(
                f"- {knob.name} ({knob.kind}): {knob.domain}; default {default}; {knob.doc}"
            )
        # the published heading shows the first baseline even after later acceptances
        since = "since the last accepted change"
        head = (
            f"Baseline {since}"
            if self.guardrails is Guardrails.PUBLISHED
            else "Configuration to change"
        )
        configuration = f"## {head}\n{json.dumps(to_json(cfg), indent=2)}"
        user = "\n\n".join(("\n".join(lines), configuration, self._past(past, block), _TASK))
        return ProposerPrompt(iteration=iteration, cfg=cfg, system=_SYSTEM, user=user, record=block)

    def _past(self, past: Sequence[Iteration], block: str) -> str:
        if self.proposer_context is not ProposerContext.WINDOW:
            return f"## Past trials\n{block.strip() or '(none)'}"
        answered = [each for each in past if not isinstance(each, NimError)]
        shown = answered[len(answered) - min(self.history_window, len(answered)) :]
        lines = []
        for each in shown:  # a line each, as in the published prompt
            change, outcome = _told(each)
            lines.append(f"{each.iteration:3} {change:28} {outcome}")
        return "\n".join(["## Recent iterations", *(lines or ["(none yet)"])])


def _told(done: Iteration) -> tuple[str, str]:
    """Return a change and its result."""
    match done:
        case Evaluated():
            moved = f"val_bpb {done.baseline_val_bpb:.4f}→{done.val_bpb:.4f}"
            return done.proposal.pair, f"applied; {moved}; decision={done.decision}"
        case EvalFailed():
            return done.proposal.pair, f"applied; {done.decision}"
        case Blocked():
            change = "(parse failed)" if done.proposal is None else "(refused)"
            return change, f"BLOCKED by {done.rail}: {done.reason[:_RAIL_CHARACTERS]}"
        case NimError():
            return "(no answer)", "not applied"
