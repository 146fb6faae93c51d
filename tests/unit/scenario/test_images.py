"""The lock of the images: read strictly, written whole, never changed silently."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import HostError, InputError
from harness.scenario.images import (
    Built,
    LockedImage,
    lock_text,
    read_lock,
    with_base_digest,
    with_built,
    write_lock,
)

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LOCK = {
    "cpu": LockedImage(
        name="cpu", base=None, built={"linux/amd64": Built(digest=ONE, date="2026-01-31")}
    ),
    "nemo": LockedImage(name="nemo", base="nvcr.io/nvidia/nemo:26.04.00", base_digest=TWO),
    "rl": LockedImage(name="rl", base="vllm/vllm-openai:v0.20.0"),
}


@pytest.fixture
def containers(tmp_path: Path) -> Path:
    for name in LOCK:
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").touch()
    return tmp_path


def problems(containers: Path, text: str) -> list[str]:
    (containers / "images.lock.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_lock(containers)
    return [
        re.sub(r".*images\.lock\.yaml:", "", str(problem)) for problem in refused.value.problems
    ]


def test_it_reads_what_it_wrote(containers: Path) -> None:
    write_lock(containers, LOCK)
    assert read_lock(containers) == LOCK
    assert (containers / "images.lock.yaml").read_text(encoding="utf-8") == lock_text(LOCK)
    assert [path.name for path in containers.iterdir() if path.is_file()] == ["images.lock.yaml"]


def test_every_mistake_is_reported_with_its_place(containers: Path) -> None:
    text = (
        "cpu:\n  bass: null\n  base_digest: unresolved\n  built: {}\n"
        "nemo:\n  base: nvcr.io/nvidia/nemo:latest\n  base_digest: sha256:12\n"
        "  built:\n    linux/amd46: {digest: sha256:1, date: soon}\n"
        "gone: 3\n"
    )
    assert problems(containers, text) == [
        "1:1: cpu.base: key is required",
        "2:3: cpu.bass: unknown key (allowed: base, base_digest, built; did you mean 'base'?)",
        (
            "6:3: nemo.base: not an allowed value (got 'nvcr.io/nvidia/nemo:latest'; "
            "allowed: an image with its tag (never latest), or null)"
        ),
        (
            "7:3: nemo.base_digest: not an allowed value (got 'sha256:12'; "
            "allowed: sha256: and 64 hex digits, unresolved or null)"
        ),
        (
            "9:5: nemo.built.linux/amd46: unknown platform "
            "(allowed: linux/amd64, linux/arm64; did you mean 'linux/amd64'?)"
        ),
        (
            "9:19: nemo.built.linux/amd46.digest: not an allowed value (got 'sha256:1'; "
            "allowed: sha256: and 64 hex digits)"
        ),
        (
            "9:37: nemo.built.linux/amd46.date: not an allowed value (got 'soon'; "
            "allowed: a day, e.g. 2026-01-31)"
        ),
        "10:1: gone: image has no Dockerfile (allowed: gone/Dockerfile)",
        "10:1: gone: wrong type (got 3; allowed: a mapping)",
    ]


def test_a_base_is_named_by_digest_once_it_is_resolved() -> None:
    assert LOCK["nemo"].base_reference == f"nvcr.io/nvidia/nemo:26.04.00@{TWO}"
    assert LOCK["rl"].base_reference == "vllm/vllm-openai:v0.20.0"
    assert LOCK["cpu"].base_reference is None


def test_a_first_build_is_recorded() -> None:
    lock = with_built(LOCK, "cpu", "linux/arm64", TWO, accept=False)
    assert lock["cpu"].built["linux/arm64"].digest == TWO
    assert lock["cpu"].built["linux/amd64"] == LOCK["cpu"].built["linux/amd64"]


def test_the_same_build_changes_nothing_not_even_the_date() -> None:
    assert with_built(LOCK, "cpu", "linux/amd64", ONE, accept=True) == LOCK


def test_another_build_is_refused_with_both_digests_until_it_is_accepted() -> None:
    with pytest.raises(HostError) as refused:
        with_built(LOCK, "cpu", "linux/amd64", TWO, accept=False)
    assert ONE in str(refused.value)
    assert TWO in str(refused.value)
    assert refused.value.remedy == "harness build cpu --accept"
    accepted = with_built(LOCK, "cpu", "linux/amd64", TWO, accept=True)
    assert accepted["cpu"].built["linux/amd64"].digest == TWO


def test_a_tag_that_moved_is_refused_until_it_is_accepted() -> None:
    assert with_base_digest(LOCK, "rl", ONE, accept=False)["rl"].base_digest == ONE
    with pytest.raises(HostError, match="the base of image nemo is not the one"):
        with_base_digest(LOCK, "nemo", ONE, accept=False)
    assert with_base_digest(LOCK, "nemo", ONE, accept=True)["nemo"].base_digest == ONE


def test_the_project_s_lock_is_in_order(project_root: Path) -> None:
    containers = project_root / "containers"
    lock = read_lock(containers)
    assert {path.parent.name for path in containers.glob("*/Dockerfile")} == set(lock)
    assert (containers / "images.lock.yaml").read_text(encoding="utf-8") == lock_text(lock)


def test_the_cpu_image_computes_with_this_project_s_numpy(project_root: Path) -> None:
    wanted = (project_root / "containers/cpu/requirements.txt").read_text(encoding="utf-8")
    (numpy,) = re.findall(r"^numpy==\S+", wanted, re.MULTILINE)
    assert numpy in (project_root / "requirements/base.txt").read_text(encoding="utf-8")
