"""What the small policy is trained on."""

from __future__ import annotations

from random import Random

import pytest

from harness.sandbox.in_memory import MemorySandbox
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.protocol import STOP_WORD
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.inference.chat_template import Role
from harness.workloads.tiny_models.files import (
    FIRST_SEED,
    Demonstration,
    cut_short,
    draw,
    messages_of,
    of_task,
    renamed,
)

PIECES = ("am", "ber", "q", "Zed", "lo")
THREE = Demonstration(
    intent="Delete a.py. Move b.py into a new directory c. Leave d.py as it is.",
    listing=("a.py", "b.py", "d.py"),
    commands=("rm a.py", "mkdir -p c", "mv b.py c/b.py"),
)


def seeded(seed: int = 0) -> Random:
    return Random(seed)  # noqa: S311 - the same draws again


def failures(demonstration: Demonstration) -> list[str]:
    """Return the commands that do not work where the demonstration is given."""
    box = MemorySandbox()
    box.materialise(dict.fromkeys(demonstration.listing, b"text"))
    return [command for command in demonstration.commands if box.run(command).exit_code]


def test_no_seed_is_one_of_the_evaluations() -> None:
    assert max(slot.seed for slot in slots()) < FIRST_SEED


def test_a_task_s_demonstration_is_what_its_author_would_do() -> None:
    task = TemplateAuthor().write(next(slots()))
    shown = of_task(task)
    assert (shown.intent, shown.commands) == (task.intent, task.oracle)
    assert shown.listing == tuple(sorted(task.workspace))


@pytest.mark.parametrize("seed", range(60))
def test_a_renamed_task_can_still_be_done(seed: int) -> None:
    random = seeded(seed)
    shown = draw(random)
    other = renamed(shown, random, PIECES)
    assert not failures(other)
    assert len(other.commands) == len(shown.commands)
    assert other.operations == shown.operations
    assert [each.split()[0] for each in other.commands] == [
        each.split()[0] for each in shown.commands
    ]


@pytest.mark.parametrize("seed", range(60))
def test_a_command_names_nothing_that_the_task_does_not(seed: int) -> None:
    random = seeded(seed)
    other = renamed(draw(random), random, PIECES)
    given_words = f"{other.intent} {' '.join(other.listing)}"
    names = {word for command in other.commands for word in command.split()[1:]}
    for name in names - {"-p", "-i", ">", ">>"}:
        for part in name.replace("'", "/").split("/"):
            assert part in {"s", "g"} or part in given_words


def test_operations_are_counted_without_what_is_left_alone() -> None:
    assert THREE.operations == 2


@pytest.mark.parametrize(("hazard", "left"), [(0.0, 3), (1.0, 1)])
def test_giving_up_cuts_commands_but_never_the_first(hazard: float, left: int) -> None:
    assert cut_short(THREE, seeded(), hazard).commands == THREE.commands[:left]


def test_giving_up_happens_as_often_as_it_should() -> None:
    random = seeded()
    lengths = [len(cut_short(THREE, random, 0.6).commands) for _ in range(4000)]
    assert lengths.count(1) / 4000 == pytest.approx(0.6, abs=0.03)
    assert lengths.count(2) / 4000 == pytest.approx(0.24, abs=0.03)


def test_a_conversation_ends_with_a_stop() -> None:
    messages = messages_of(THREE)
    said = [message.content for message in messages if message.role is Role.ASSISTANT]
    assert said == [*(f"```bash\n{command}\n```" for command in THREE.commands), STOP_WORD]
    assert [message.content for message in messages[2::2]] == ["exit 0"] * 3
