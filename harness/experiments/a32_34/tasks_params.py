"""What the workloads of this room take and report. Loads no torch."""

from __future__ import annotations

from harness.experiments.a32_34.counts import RATES, WALL
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.api.figures import metrics_of
from harness.workloads.envs.files.personas import TASKS_PER_PERSONA

_LOWER = Better.LOWER


@record
class TasksParams:
    """How tasks are written; the seed of the run is the first slot's."""

    author: str = param("template", doc="who writes them", choices=("template", "llm"))
    per_persona: int = param(
        TASKS_PER_PERSONA, doc="tasks for each of the eight personas", unit="count", low=1, high=100
    )
    author_base_url: str = param(
        "http://127.0.0.1:8000/v1", doc="where the llm author's model is served"
    )
    author_model: str = param("nvidia/nemotron-nano-9b-v2", doc="its name there")
    attempts: int = param(3, doc="replies asked for before a task is given up", low=1, high=10)


WRITTEN = (
    Metric(name="tasks.count", unit="count", doc="tasks"),
    Metric(name="split.total", unit="count", doc="tasks of a side; where: split"),
    Metric(name="tasks.failed", unit="count", doc="slots that no task was written for"),
    Metric(name="tasks.assertions", unit="1", doc="assertions a task, mean"),
    Metric(name="tasks.steps", unit="1", doc="steps a task, mean of the author's estimates"),
    Metric(name="synthesis.time", unit="s", doc="time to write all tasks", timing=True),
    Metric(name="synthesis.task_time", unit="s", doc="time to write one, mean", timing=True),
    Metric(name="lint.findings", unit="count", doc="where: rule", better=_LOWER),
    Metric(name="lint.tasks", unit="count", doc="tasks with a finding", better=_LOWER),
    Metric(
        name="baseline.pass_rate",
        unit="%",
        doc="tasks with every assertion; where: policy, split, assertions (all or linted)",
    ),
    Metric(
        name="baseline.assertion_pass_rate",
        unit="%",
        doc="assertions that hold; where: policy, split, assertions (all or linted)",
    ),
    Metric(name="baseline.turns", unit="turn", doc="mean of the oracle's rollouts; where: split"),
)

# Reported by the rollouts of an agent; of printed counts, where these suffice.
AGENT = (
    *metrics_of(RATES, WALL),
    Metric(name="agent.mean_turns", unit="turn", doc="where: policy", better=_LOWER),
    Metric(name="agent.rollout_time_ratio", unit="x", doc="trained / base", timing=True),
    Metric(name="agent.pass_rate_by_persona", unit="%", doc="where: policy, persona"),
    Metric(name="agent.assertion_pass_rate_by_kind", unit="%", doc="where: policy, kind"),
)

WORKLOADS = (
    Workload(
        name="clawgym.tasks",
        doc="write file tasks, lint them, and report what doing nothing and an oracle earn",
        params=TasksParams,
        metrics=WRITTEN,
        entry="harness.experiments.a32_34.tasks:run",
    ),
)
