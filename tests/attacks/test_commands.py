"""Every attack of the public set, against every sandbox: no escape, no stall, nothing left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.records import ImageRef
from harness.sandbox.base import Sandbox
from harness.sandbox.bubblewrap import Bubblewrap
from harness.sandbox.container_pool import ContainerPool
from harness.sandbox.in_memory import MemorySandbox
from tests.attacks.commands import ATTACKS, Aim, Attack
from tests.attacks.play import Machine, Outcome, machine, play, unused
from tests.contract.conftest import bubblewrap

Make = Callable[[], Sandbox]
SANDBOXES = [
    "memory",
    "bubblewrap",
    "bubblewrap without groups",
    pytest.param("containers", marks=pytest.mark.docker),
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """What must not be reached."""
    with machine(tmp_path_factory.mktemp("canary")) as target:
        yield target


@pytest.fixture(params=SANDBOXES, scope="module")
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes sandboxes of each kind in turn, with the limits that a run has."""
    if request.param == "memory":
        yield MemorySandbox
    elif request.param == "containers":
        image: ImageRef = request.getfixturevalue("sandbox_image")
        with ContainerPool(image) as pool:
            yield pool.make
    else:
        bubblewrap()  # or skip
        yield Bubblewrap(use_groups=request.param == "bubblewrap").make


@pytest.fixture(scope="module")
def before(make: Make) -> tuple[str, ...]:
    """What is listed of a sandbox that nobody has used."""
    return unused(make)


@pytest.fixture(scope="module")
def used(make: Make) -> Iterator[list[Sandbox]]:
    """The sandbox that the last attack was played in, if it held: starting one takes a while."""
    used = [make().__enter__()]
    yield used
    for sandbox in used:
        sandbox.destroy()


def test_the_set_has_a_hundred_attacks_of_every_aim() -> None:
    assert len({each.name for each in ATTACKS}) == len(ATTACKS) >= 100
    assert {each.aim for each in ATTACKS} == {*Aim}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_attack_comes_to_nothing(
    make: Make, attack: Attack, target: Machine, before: tuple[str, ...], used: list[Sandbox]
) -> None:
    """One sandbox meets attack after attack, as in a run it meets rollout after rollout."""
    sandbox = used.pop() if used else make().__enter__()
    outcome = play(attack, sandbox, target, before)
    if outcome.held:
        used.append(sandbox)
    else:
        sandbox.destroy()
    assert outcome == Outcome()
