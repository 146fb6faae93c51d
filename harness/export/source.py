"""What is exported: the runs of one profile, their curves, their rollouts, their tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from harness.errors import HostError, InputError, Problem
from harness.follow.curves import run_name
from harness.installed import to_install
from harness.reading import read_json
from harness.records import FinishedRun, Measurement, Scalar, Status, record
from harness.report import facts
from harness.report.dossier import ScenarioReport
from harness.report.figures import setting
from harness.results.store import RunStore
from harness.session.project import CODE
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.envs.files.protocol import PromptStyle, conversation
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import read_tasks
from harness.workloads.envs.search.environment import SearchEpisode
from harness.workloads.inference.chat_template import Message, Role
from harness.workloads.rl.rollout import ROLLOUTS, Rollout, RolloutLog

TASKS_FILE = "tasks.jsonl"
AnyRollout = Rollout[FileEpisode] | Rollout[SearchEpisode]


@record
class SeriesPoint:
    """One point of a curve, at a step of the run.

    Attributes:
        at_s: seconds since the workload started.
    """

    name: str
    step: int
    value: float
    at_s: float


@record
class Exported:
    """One profile of a scenario, with the store that its runs lie in."""

    report: ScenarioReport
    store: RunStore

    @property
    def name(self) -> str:
        """The scenario's id."""
        return self.report.scenario.scenario

    @property
    def runs(self) -> Sequence[FinishedRun]:
        """The runs that finished.

        Raises:
            HostError: there is none.
        """
        found = [run for run in self.report.runs if run.outcome.status is Status.FINISHED]
        if not found:
            message = f"no finished run of {self.name} {self.report.profile} in {self.store.root}"
            raise HostError(message, f"harness run {self.name} --profile {self.report.profile}")
        return found

    def points(self, run: FinishedRun) -> Iterator[SeriesPoint]:
        """Yield the curves of a run: every value of its step events."""
        for event in read_events(self.store.folder(run.spec) / EVENTS_FILE):
            if event.kind == "step":
                for name, value in event.payload["values"].items():
                    if is_number(value):  # what was not finite is text
                        yield SeriesPoint(
                            name=name, step=event.payload["step"], value=value, at_s=event.at_s
                        )

    def rollouts(self, run: FinishedRun) -> Iterator[AnyRollout]:
        """Yield every rollout that a run played or took, in the order of its steps.

        They lie in its steps' folders (docs/long-runs.md), or in its own.
        """
        seen = set()
        for path in self._files(run, ROLLOUTS):
            for rollout in _read(path):
                if rollout.key not in seen:
                    seen.add(rollout.key)
                    yield rollout

    def tasks(self, run: FinishedRun) -> Mapping[str, Task]:
        """Return the file tasks of a run by their id; none for a run of another environment."""
        files = self._files(run, TASKS_FILE)
        every = chain.from_iterable(map(read_tasks, files))
        return {task.task_id: task for task in every}

    def _files(self, run: FinishedRun, name: str) -> list[Path]:
        steps = (self.store.artefacts.files(step.key) for step in run.outcome.steps)
        folders = [self.store.folder(run.spec), *steps]
        return [each / name for each in folders if (each / name).is_file()]


def _read(path: Path) -> Sequence[AnyRollout]:
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    if not first:
        return ()
    if "calls" in read_json(first)["episode"]:
        return RolloutLog(path, SearchEpisode).read()
    return RolloutLog(path, FileEpisode).read()


def title(run: FinishedRun) -> str:
    """Return the name of a run in other tools: profile, seed, id."""
    return run_name(run.spec)


def tags(run: FinishedRun) -> dict[str, str]:
    """Return where a run's figures come from, as short texts."""
    spec, outcome = run.spec, run.outcome
    return {
        "scenario": spec.scenario,
        "profile": spec.profile,
        "workload": spec.workload,
        "run_id": spec.run_id,
        "point_id": spec.point_id,
        "seed": str(spec.seed),
        "source": spec.source,
        "image": spec.image.digest if spec.image else "",
        "device": outcome.device,
        "runtime": outcome.runtime,
        "commit": facts.commit(run.environment),
        "started_at": outcome.started_at,
    }


def numbers(run: FinishedRun) -> Iterator[tuple[str, float]]:
    """Yield every number that a run measured, under its metric and row keys."""
    for each in run.measurements:
        if is_number(each.value):
            yield key_of(each), float(each.value)  # type: ignore[arg-type]


def key_of(each: Measurement) -> str:
    """Return ``metric`` or ``metric/key:value/...``, which MLflow and trackio take for a name."""
    return "/".join([each.metric, *(f"{key}:{setting(at)}" for key, at in each.where.items())])


def is_number(value: Scalar) -> bool:
    """Say whether a value is a number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def messages(rollout: AnyRollout, tasks: Mapping[str, Task]) -> list[Message]:
    """Return what was said in a rollout, as the agent was shown it.

    Of a question only its id is known: a rollout keeps searches, passages and the answer.
    """
    episode: Any = rollout.episode
    if isinstance(episode, FileEpisode):
        task = tasks.get(rollout.task_id)
        intent = task.intent if task else rollout.task_id
        listing = sorted(task.workspace) if task else []
        style = rollout.settings.rpartition(" ")[2]
        known = style if style in set(PromptStyle) else PromptStyle.ARTICLE
        return conversation(intent, listing, episode.turns, PromptStyle(known))
    said = [Message(role=Role.USER, content=rollout.task_id)]
    for call in episode.calls:
        said.append(Message(role=Role.ASSISTANT, content=f"<search>{call.query}</search>"))
        said.append(Message(role=Role.USER, content="\n\n".join(call.passages)))
    if episode.answer is not None:
        said.append(Message(role=Role.ASSISTANT, content=f"<answer>{episode.answer}</answer>"))
    return said


def require(package: str) -> None:
    """Refuse to go on without another tool's package.

    Raises:
        InputError: it is not installed; names the extra.
    """
    if find_spec(package) is None:
        message = f"{package} is not installed"
        raise InputError([Problem(message=message, key="--to", allowed=to_install("exports"))])


def write_apart(
    source: Exported, module: str, documents: Iterable[Any], variables: Mapping[str, str]
) -> None:
    """Let a process of its own write: it is started as a module, with a document a line.

    For a tool that reads the environment when it is loaded, or speaks to the terminal.

    Raises:
        HostError: it failed.
    """
    code = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", module],
        input="".join(json.dumps(each) + "\n" for each in documents),
        env={**os.environ, **variables, "PYTHONPATH": code},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    if done.returncode:
        *_, cause = ["no message", *done.stderr.splitlines()]
        message = f"{module.rpartition('.')[2]} failed: {cause}"
        raise HostError(message, f"harness export {source.name} --to parquet PATH")
