"""A student of a million parameters that knows the form of a proposal and prefers none.

The file agent's policy cannot be one: what no task of its training says, such as a brace or a
digit, its frozen vocabulary never says. This one is made by the same recipe out of made-up
trials, after which every answer is a uniform draw.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from harness.experiments.a25.corpus import few_words, tried_line
from harness.records import Scalar
from harness.workloads.autoresearch.proposers import answer
from harness.workloads.autoresearch.search_space import Knob, Space, changed
from harness.workloads.autoresearch.trajectory import Decision
from harness.workloads.inference.chat_template import Message, Role
from harness.workloads.tiny_models.build import TinyModel, build
from harness.workloads.tiny_models.recipe import PhaseSource, Recipe, TrainingPhase

_REASON = "As published."  # what a replayed proposer gives
_VOCABULARY = 320  # with all bytes: other text is short
_SAID = 200  # conversations that the tokenizer is trained on
_MOST_TRIALS = 5
_WIDEST_GAIN = 0.03


def make_student(folder: Path, space: Space, seed: int, steps: int) -> None:
    """Train a student from nothing, and write what loads it into `folder`."""
    form = TrainingPhase(
        name="form",
        source=PhaseSource.TASKS,
        steps=steps,
        batch=16,
        warm_up=max(1, steps // 10),
        rates=(1.0, 0.05),
        makes="student",
    )
    recipe = Recipe(
        seed=seed, muon_rate=0.02, adamw_rate=0.002, context_weight=0.2, clip=1.0, phases=(form,)
    )
    said = Random(seed)  # noqa: S311 - no secret
    student = TinyModel(
        recipe=recipe,
        texts=lambda: (each.content for _ in range(_SAID) for each in conversation(space, said)),
        phrases=tuple(_phrases(space)),
        vocabulary=_VOCABULARY,
        conversations=lambda random, _: lambda _: conversation(space, random),
        measure=None,
    )
    build(folder, student, lambda _: None)


def conversation(space: Space, random: Random) -> list[Message]:
    """Return a question after made-up trials, and a uniform draw for an answer."""
    tried = []
    for _ in range(random.randint(0, _MOST_TRIALS)):
        knob, value = _draw(space, random)
        gain = random.uniform(-_WIDEST_GAIN, _WIDEST_GAIN)
        tried.append(tried_line(f"{knob.name}={value}", gain, random.choice(list(Decision))))
    cfg = space.baseline
    if random.getrandbits(1):  # as where an earlier keep is shown
        cfg = changed(cfg, *_draw(space, random))
    knob, value = _draw(space, random)
    return [
        Message(role=Role.USER, content=few_words(cfg, tried)),
        Message(role=Role.ASSISTANT, content=answer(knob.name, value, _REASON)),
    ]


def _draw(space: Space, random: Random) -> tuple[Knob, Scalar]:
    knob = random.choice(list(space.knobs.values()))
    return knob, knob.draw(random)


def _phrases(space: Space) -> Iterator[str]:
    """Yield phrases that become one token: the frame of an answer, and the knobs' names."""
    shape = json.dumps({"knob": "", "new_value": 0, "reason": ""})
    head, middle = shape.partition('""')[0], '", "new_value": '
    yield from (f'{head}"', middle, f', "reason": "{_REASON}"}}')
    for name in space.knobs:
        yield from (f"{name}=", f'{name}"')
    yield from (" keep", " revert")
