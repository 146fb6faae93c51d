"""Which runtime a profile gets on a machine whose engine does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostError
from harness.records import ImageRef, Profile
from harness.runtime.choice import choose
from harness.runtime.docker import DockerRuntime
from harness.runtime.local import LocalRuntime
from harness.scenario.images import UNRESOLVED


@pytest.fixture
def containers(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    return project_root / "containers"


def test_a_profile_without_an_image_runs_on_the_machine(containers: Path) -> None:
    choice = choose("auto", Profile.CPU, None, containers)
    assert isinstance(choice.runtime, LocalRuntime)
    assert choice.image is None


def test_a_small_profile_falls_back_and_says_why(containers: Path) -> None:
    choice = choose("auto", Profile.CPU, "cpu", containers)
    assert isinstance(choice.runtime, LocalRuntime)
    assert choice.reason.startswith("no container: ")


def test_the_articles_own_experiment_never_runs_without_its_image(containers: Path) -> None:
    choice = choose("auto", Profile.SPARK, "nemo", containers)
    assert isinstance(choice.runtime, DockerRuntime)
    assert choice.image == ImageRef(name="nemo", digest=UNRESOLVED)
    assert choice.reason.startswith("to be built: ")


def test_unless_the_machine_itself_is_asked_for(containers: Path) -> None:
    assert choose("local", Profile.SPARK, "nemo", containers).image is None


def test_an_image_that_is_needed_is_obtained(containers: Path) -> None:
    made = ImageRef(name="nemo", digest="sha256:1")
    choice = choose("auto", Profile.SPARK, "nemo", containers, lambda _: made)
    assert choice.image == made


def test_a_container_without_an_image_is_an_error(containers: Path) -> None:
    with pytest.raises(HostError, match="names no image"):
        choose("docker", Profile.CPU, None, containers)
