"""An author's model that the run serves: asked in chats while tasks are written, and gone then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest

from harness.artefacts import ArtefactStore
from harness.experiments.a32_34.tasks import opened_author
from harness.records import Profile, RunSpec
from harness.variables import MODELS_VARIABLE
from harness.workloads.api.context import Context
from harness.workloads.api.declare import build, defaults_of
from harness.workloads.api.emit import EVENTS_FILE, EventWriter
from harness.workloads.api.registry import workload
from harness.workloads.api.steps import Steps
from harness.workloads.envs.files.author import AuthorFailedError
from harness.workloads.envs.files.personas import slots
from tests.serving.conftest import until_ended
from tests.serving.known import Tiny

pytestmark = pytest.mark.serving

TEMPLATE = "{% for each in messages %}{{ each['role'] }}: {{ each['content'] }}\n{% endfor %}"
MODEL = f"an/author@{'0' * 40}"


def test_the_run_serves_its_author_for_as_long_as_tasks_are_written(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "an" / "author"
    shutil.copytree(tiny.folder / "model", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 8192  # a letter is a token of it
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    given = {"author": "llm", "author_model": MODEL, "author_base_url": "", "attempts": 2}
    declared = workload("clawgym.tasks")
    params = {**defaults_of(declared.params), **given}
    spec = RunSpec(scenario="a32", profile=Profile.CPU, workload=declared.name, params=params)
    with EventWriter(tmp_path / EVENTS_FILE, declared.metrics) as emit:
        context = Context(
            spec=spec,
            params=build(declared.params, params),
            out=tmp_path,
            emit=emit,
            steps=Steps(spec, emit, ArtefactStore(tmp_path / "artefacts").root),
        )
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        with opened_author(context) as author:
            mine = {child.pid for child in psutil.Process().children(recursive=True)} - before
            assert mine
            # a model of random bytes answers, and writes no task
            with pytest.raises(AuthorFailedError, match="2 replies, none a valid task"):
                author.write(next(slots(1, 42)))
    until_ended(mine)
    assert (tmp_path / "author.log").stat().st_size > 0
