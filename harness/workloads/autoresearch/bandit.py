"""A proposer without memory that reads only its prompt: a bandit over the knobs.

It parses the block of past trials as a person would: which changes were made, and how they ended.
A knob's worth is the mean of its outcomes plus a bonus for few trials (UCB1:
Auer, Cesa-Bianchi and Fischer 2002, section 2); a change that is in the block is not proposed
again while there is another that does not. Where the block is withheld, every knob is as good as
any other and no value is known to have been tried: it draws uniformly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from random import Random

from harness.records import record
from harness.workloads.autoresearch.prompt import ProposerPrompt
from harness.workloads.autoresearch.proposers import answer
from harness.workloads.autoresearch.search_space import Space
from harness.workloads.trials.trial import Label

_RECENT = re.compile(r"\| \S+ \| [^|]* \| (?P<label>\w+) \| [^|]* \| (?P<pair>\w+=[^ |:]+)\W?.*\|")
_KEPT = re.compile(r"\| \S+ \| -?[\d.]+ \| [^|]* \| [^|]* \| (?P<pair>\w+=[^ |:]+)\W?.*\|")
_LABELS = {label.value: label for label in Label}
_LOST = -0.5  # worse than a change that did no good: it cost as much and taught less


@record
class Told:
    """One trial that a block tells of."""

    pair: str
    label: Label

    @property
    def knob(self) -> str:
        """The change."""
        return self.pair.partition("=")[0]

    @property
    def reward(self) -> float:
        """The gain."""
        if self.label is Label.KEEP:
            return 1.0
        return 0.0 if self.label is Label.DISCARD else _LOST


@record
class BanditProposer:
    """The proposer; its draws depend on the seed, the iteration and the brief alone."""

    space: Space
    seed: int
    identity: str = "bandit"

    def propose(self, brief: ProposerPrompt) -> str:
        """Return the change that the block makes look best."""
        random = Random(f"{self.seed}/{brief.iteration}")  # noqa: S311 - no secret
        past = told(brief.record)
        others = {
            knob.name: [value for value in knob.levels() if value != getattr(brief.cfg, knob.name)]
            for knob in self.space.knobs.values()
        }
        tried = {each.pair for each in past}
        new = {
            knob: [value for value in values if f"{knob}={value}" not in tried]
            for knob, values in others.items()
        }
        choices = {knob: values for knob, values in new.items() if values} or others
        knob = max(choices, key=lambda name: (worth(name, past), random.random()))
        return answer(knob, random.choice(choices[knob]), "The record speaks for this knob.")


def told(block: str) -> list[Told]:
    """Return the trials that a block tells of, each once; other lines are passed over."""
    found: dict[str, Told] = {}
    for line in block.splitlines():
        if (row := _RECENT.fullmatch(line)) and row["label"] in _LABELS:
            label = _LABELS[row["label"]]
        elif row := _KEPT.fullmatch(line):
            label = Label.KEEP
        else:
            continue
        name = line.split("|", 2)[1]
        found.setdefault(name, Told(pair=row["pair"], label=label))
    return list(found.values())


def worth(knob: str, past: Sequence[Told]) -> float:
    """Return the upper confidence bound of a knob; infinite for one that was not tried."""
    rewards = [each.reward for each in past if each.knob == knob]
    if not rewards:
        return math.inf
    return sum(rewards) / len(rewards) + math.sqrt(2 * math.log(len(past)) / len(rewards))
