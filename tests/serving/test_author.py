"""A further model that the run serves: asked in chats while it is needed, and gone then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.artefacts import ArtefactStore
from harness.experiments.a25.run import Course
from harness.experiments.a25.run import _corpora as corpora
from harness.experiments.a25.run import _teacher as ask_teacher
from harness.experiments.a32_34.tasks import opened_author
from harness.records import Profile, RunSpec
from harness.variables import EVIDENCE_VARIABLE, MODELS_VARIABLE
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, EventWriter, read_events
from harness.workloads.api.registry import workload
from harness.workloads.api.steps import Steps
from harness.workloads.autoresearch.llm_proposer import served
from harness.workloads.autoresearch.loop import TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import complete
from harness.workloads.autoresearch.search_space import ARTICLE
from harness.workloads.autoresearch.trajectory import Blocked, read_trajectory
from harness.workloads.envs.files.author import AuthorFailedError
from harness.workloads.envs.files.personas import slots
from harness.workloads.inference.vllm import installed
from tests.serving.conftest import until_ended
from tests.serving.known import Tiny

pytestmark = pytest.mark.serving

TEMPLATE = "{% for each in messages %}{{ each['role'] }}: {{ each['content'] }}\n{% endfor %}"
MODEL = f"an/author@{'0' * 40}"


@pytest.fixture
def models(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A published model that can chat."""
    folder = tmp_path / "models" / "an" / "author"
    shutil.copytree(tiny.folder / "model", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 8192  # a letter is a token of it
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))


@contextmanager
def running(workload_name: str, folder: Path, **given: Any) -> Iterator[Context]:
    """A run of a workload, in `folder`."""
    declared = workload(workload_name)
    params = {**defaults_of(declared.params), **given}
    spec = RunSpec(scenario="a32", profile=Profile.CPU, workload=declared.name, params=params)
    with EventWriter(folder / EVENTS_FILE, declared.metrics) as emit:
        yield Context(
            spec=spec,
            params=build(declared.params, params),
            out=folder,
            emit=emit,
            steps=Steps(spec, emit, ArtefactStore(folder / "artefacts").root),
        )


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def served_by(folder: Path, role: str) -> str:
    """Return what the run says has served a model of its."""
    (found,) = (
        each.payload
        for each in read_events(folder / EVENTS_FILE)
        if each.kind == "measured" and each.payload["metric"] == "chat.engine"
    )
    assert found["where"] == {"role": role}
    return str(found["value"])


@pytest.mark.usefixtures("models")
def test_the_run_serves_its_author_for_as_long_as_tasks_are_written(tmp_path: Path) -> None:
    given = {"author": "llm", "author_model": MODEL, "author_base_url": "", "attempts": 2}
    with running("clawgym.tasks", tmp_path, **given) as context:
        before = children()
        with opened_author(context) as author:
            mine = children() - before
            assert mine
            # a model of random bytes answers, and writes no task
            with pytest.raises(AuthorFailedError, match="2 replies, none a valid task"):
                author.write(next(slots(1, 42)))
    until_ended(mine)
    assert (tmp_path / "author.log").stat().st_size > 0
    assert served_by(tmp_path, "author") == installed()


@pytest.mark.slow
@pytest.mark.usefixtures("models")
def test_the_run_serves_its_proposer_beside_the_search(tmp_path: Path) -> None:
    given = {"proposer": "llm", "proposer_model": MODEL, "proposer_base_url": ""}
    small = {"search_space": "small", "device": "cpu", "iterations": 1, "num_noise_samples": 2}
    with running("autoresearch.loop", tmp_path, **given, **small) as context:
        before = children()
        with served(context, context.params) as params:
            mine = children() - before
            (tmp_path / "loop").mkdir()
            complete(Session(params=params, seed=0), tmp_path / "loop")
    until_ended(mine)
    (only,) = read_trajectory(tmp_path / "loop" / TRAJECTORY_FILE).iterations
    assert isinstance(only, Blocked)  # random bytes are no proposal
    assert served_by(tmp_path, "proposer") == installed()


@pytest.mark.slow
@pytest.mark.usefixtures("models")
def test_the_run_serves_its_teacher_before_it_loads_the_student(
    tmp_path: Path, evidence_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(evidence_dir))
    given = {"teacher_model": MODEL, "num_eval_examples": 1, "num_samples": 1, "max_new_tokens": 8}
    with running("distill.clone", tmp_path, **given) as context:
        before = children()
        trajectory = read_trajectory(evidence_dir / "a22/trajectory.jsonl")
        parts = corpora(context, trajectory, ARTICLE)
        ask_teacher(Course(context=context, params=context.params, space=ARTICLE, parts=parts))
        until_ended(children() - before)
    assert served_by(tmp_path, "teacher") == installed()
