"""A store with one finished run: real rollouts of real tasks, a curve, and figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from harness.experiments.a32_34.tasks import NOTHING, ORACLE
from harness.export.source import Exported
from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import FinishedRun, Profile, RunOutcome, Status, Usage
from harness.report.dossier import assemble
from harness.results.store import RunStore
from harness.sandbox.in_memory import MemorySandbox
from harness.scenario.load import load
from harness.session.selection import open_ledger
from harness.workloads.api.emit import EVENTS_FILE, EventWriter, read_events
from harness.workloads.api.registry import workload
from harness.workloads.envs.files.author import synthesise
from harness.workloads.envs.files.environment import FileEnvironment, FileEpisode
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.task_json import write_tasks
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.rl.runner import Runner

NUM_TASKS = 8
REWARDS = [0.1, 0.25, 0.5]


def make_tasks(count: int, seed: int = 3) -> tuple[Task, ...]:
    wanted = list(slots(count // 8 + 1, seed))
    step = max(1, len(wanted) // count)
    return synthesise(TemplateAuthor(), wanted[::step][:count]).tasks


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Exported:
    loaded = load(project_root / "scenarios" / "a34-t2po-uncertainty-guided-rl")
    store = RunStore(tmp_path_factory.mktemp("store"))
    plan = expand(loaded, Profile.CPU, Overrides())
    spec = plan.runs[0]
    folder = store.stage(spec)
    tasks = make_tasks(NUM_TASKS)
    write_tasks(folder / "tasks.jsonl", tasks)
    runner = Runner(
        environment=partial(FileEnvironment, MemorySandbox),
        max_concurrency=1,
        log=RolloutLog(folder / "rollouts.jsonl", FileEpisode),
    )
    for played in (ORACLE, NOTHING):
        runner.run(played, tasks, max_errors=0)
    with EventWriter(folder / EVENTS_FILE, workload(spec.workload).metrics) as emit:
        emit.started("a box")
        for name, rate in (("oracle", 100.0), ("nothing", 12.5)):
            emit.measured("agent.pass_rate", rate, where={"policy": name}, count=NUM_TASKS)
        emit.measured("agent.mean_turns", None, where={"policy": "oracle"}, absent="lost")
        for step, reward in enumerate(REWARDS, 1):
            emit.step(step, reward=reward, kl=0.01 * step)
        emit.step(4, reward=float("nan"))
    run = FinishedRun(
        spec=spec,
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="local",
            device="a box",
            usage=Usage(wall_s=12.5),
            started_at="2026-05-01T00:00:00+00:00",
        ),
        measurements=measure(spec, read_events(folder / EVENTS_FILE)),
        environment={},
    )
    store.commit(folder, run)
    report = assemble(loaded, open_ledger(loaded), plan, store, judged=False)
    return Exported(report=report, store=store)
