"""Every export, opened by its tool's own program or checked against its owner's own schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode, InputError
from harness.export import every_eval_ever, inspect, mlflow, parquet, source, trackio
from harness.export.source import Exported
from harness.session.parser import EXPORTS
from tests.contract.small import called
from tests.exports.conftest import NUM_TASKS, REWARDS

ROOT = Path(__file__).parents[2]


def test_every_form_is_a_module_and_stands_on_the_page() -> None:
    modules = {path.stem for path in (ROOT / "harness" / "export").glob("*.py")}
    assert modules - {"__init__", "source"} == {each.replace("-", "_") for each in EXPORTS}
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    for form in EXPORTS:
        assert f"`harness export a34 --to {form} PATH`" in page


def test_a_package_that_is_missing_is_named_with_the_extra(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "find_spec", lambda _: None)
    for module in (inspect, mlflow, parquet, trackio):
        with pytest.raises(InputError, match=r"\[exports\]"):
            module.export(exported, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_command_replaces_nothing(exported: Exported, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").touch()
    words = ("export", "a34", "--to", "every-eval-ever", "--store", str(exported.store.root))
    done = called(ROOT, *words, str(own))
    assert done.returncode == ExitCode.USAGE
    assert b"is never replaced by an export" in done.stderr
    done = called(ROOT, *words, str(tmp_path / "new"), "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    assert len(json.loads(done.stdout)["answer"]["written"]) == 2


def test_parquet_reads_back(exported: Exported, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `exports`")
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    parquet.export(exported, tmp_path / "p")
    tables = {name: pq.read_table(tmp_path / "p" / f"{name}.parquet") for name in parquet.COLUMNS}
    (run,) = exported.runs
    assert tables["runs"]["run_id"].to_pylist() == [run.spec.run_id]
    rows = [row for row in tables["curves"].to_pylist() if row["name"] == "reward"]
    assert [(row["step"], row["value"]) for row in rows] == [*enumerate(REWARDS, 1)]
    measured = tables["measurements"].to_pylist()
    assert [row["number"] for row in measured] == [each.value for each in run.measurements]
    assert [row["absent"] for row in measured if row["number"] is None] == ["lost"]
    rollouts = tables["rollouts"].to_pylist()
    assert len(rollouts) == 2 * NUM_TASKS
    assert [row["reward"] for row in rollouts] == [r.reward for r in exported.rollouts(run)]


def test_inspect_opens_its_logs(exported: Exported, tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="needs the extra `exports`")
    from inspect_ai.log import list_eval_logs, read_eval_log  # noqa: PLC0415 - an extra

    inspect.export(exported, tmp_path / "logs")
    (run,) = exported.runs
    played = list(exported.rollouts(run))
    logs = [read_eval_log(each) for each in list_eval_logs(str(tmp_path / "logs"))]
    assert sorted(log.eval.model for log in logs) == ["harness/nothing", "harness/oracle"]
    for log in logs:
        assert log.status == "success"
        assert log.eval.metadata is not None
        assert log.eval.metadata["run_id"] == run.spec.run_id
        of_policy = {each.task_id: each for each in played if log.eval.model.endswith(each.policy)}
        assert log.samples is not None
        assert {sample.id for sample in log.samples} == {*of_policy}
        for sample in log.samples:
            rollout = of_policy[str(sample.id)]
            assert sample.scores is not None
            assert sample.scores["reward"].value == rollout.reward
            assert rollout.episode.grade.passed is (sample.scores["passed"].value == 1.0)  # type: ignore[union-attr]
            said = [each.text for each in sample.messages if each.role == "assistant"]
            assert said == [turn.response for turn in rollout.episode.turns]  # type: ignore[union-attr]
            assert [each.role for each in sample.messages[:2]] == ["system", "user"]
        assert log.results is not None
        means = {score.name: score.metrics["mean"].value for score in log.results.scores}
        rewards = [each.reward for each in of_policy.values() if each.reward is not None]
        assert means["reward"] == pytest.approx(sum(rewards) / len(rewards))


def test_trackio_has_runs_and_curves(exported: Exported, tmp_path: Path) -> None:
    if find_spec("trackio") is None:
        pytest.skip("needs the extra `exports`")
    trackio.export(exported, tmp_path / "t")
    (run,) = exported.runs
    program = Path(sys.executable).with_name("trackio")

    def asked(*words: str) -> Any:
        """Ask trackio as a user does; it reads the name of its folder once, when it starts."""
        done = subprocess.run(
            [str(program), *words, "--project", exported.name, "--json"],
            env={**os.environ, "TRACKIO_DIR": str(tmp_path / "t"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    name = source.title(run)
    assert name in json.dumps(asked("list", "runs"))
    rewards = asked("get", "metric", "--run", name, "--metric", "reward")["values"]
    assert [(each["step"], each["value"]) for each in rewards] == [*enumerate(REWARDS, 1)]


def test_mlflow_has_runs_and_curves(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `exports`")
    mlflow.export(exported, tmp_path / "m")
    (run,) = exported.runs
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    opened = subprocess.run(
        [sys.executable, "-c", READ_BY_MLFLOW, str(tmp_path / "m" / mlflow.DATABASE)],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    assert opened.returncode == 0, opened.stderr
    (read,) = json.loads(opened.stdout)
    assert read["experiment"] == exported.name
    assert (read["name"], read["status"]) == (source.title(run), "FINISHED")
    assert read["tags"]["run_id"] == run.spec.run_id
    assert read["params"]["variants"] == json.dumps(list(run.spec.params["variants"]))
    assert read["metrics"]["figures/agent.pass_rate/policy:nothing"] == [[0, 12.5]]
    assert read["metrics"]["reward"] == [[step, value] for step, value in enumerate(REWARDS, 1)]
    assert read["took_ms"] == run.outcome.usage.wall_s * 1000
    assert not any("lost" in name or "mean_turns" in name for name in read["metrics"])


READ_BY_MLFLOW = """\
import json, sys
from mlflow import MlflowClient

client, found = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}"), []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        histories = {
            name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics
        }
        found.append({
            "experiment": experiment.name,
            "name": run.info.run_name,
            "status": run.info.status,
            "took_ms": run.info.end_time - run.info.start_time,
            "tags": run.data.tags,
            "params": run.data.params,
            "metrics": {
                name: [[each.step, each.value] for each in history]
                for name, history in histories.items()
            },
        })
print(json.dumps(found))
"""


def test_every_eval_ever_is_valid(exported: Exported, tmp_path: Path) -> None:
    every_eval_ever.export(exported, tmp_path / "e")
    files = sorted((tmp_path / "e").glob("*.json"))
    documents = [json.loads(each.read_text(encoding="utf-8")) for each in files]
    scores = {
        each["model_info"]["name"]: [
            r["score_details"]["score"] for r in each["evaluation_results"]
        ]
        for each in documents
    }
    assert scores == {"oracle": [100.0], "nothing": [12.5]}
    pytest.importorskip("every_eval_ever", reason="needs every-eval-ever, of Python 3.12")
    from every_eval_ever import eval_types, schemas  # noqa: PLC0415 - an extra
    from jsonschema import Draft7Validator  # noqa: PLC0415

    schema = json.loads((Path(schemas.__path__[0]) / "eval.schema.json").read_text("utf-8"))
    for document in documents:
        Draft7Validator(schema).validate(document)
        eval_types.EvaluationLog.model_validate(document)
    broken = {**documents[0], "model_info": {}}
    assert list(Draft7Validator(schema).iter_errors(broken))
