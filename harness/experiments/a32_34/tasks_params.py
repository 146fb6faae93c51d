"""What the workloads of this room take and report. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.envs.files.personas import TASKS_PER_PERSONA

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class TasksParams:
    """How tasks are written; the seed of the run is the first slot's."""

    author: str = param("template", doc="who writes them", choices=("template", "llm"))
    per_persona: int = param(
        TASKS_PER_PERSONA, doc="tasks for each of the eight personas", unit="count", low=1, high=100
    )
    base_url: str = param("http://127.0.0.1:8000/v1", doc="where the llm author's model is served")
    model: str = param("nvidia/nemotron-nano-9b-v2", doc="its name there")
    attempts: int = param(3, doc="replies asked for before a task is given up", low=1, high=10)


@record
class TaskEvidenceParams:
    """What the published end states are recounted from."""

    sizes: str = param("a32/clawgym_seeded_workspace_sizes.json", doc="sizes of 50 workspaces")
    end_states: str = param("a32/clawgym_png_end_states.json", doc="images left by each rollout")


_COUNTS = (
    Metric(name="tasks.count", unit="count", doc="tasks"),
    Metric(name="split.total", unit="count", doc="tasks of a side; where: split"),
)

WRITTEN = (
    *_COUNTS,
    Metric(name="tasks.failed", unit="count", doc="slots that no task was written for"),
    Metric(name="tasks.assertions", unit="1", doc="assertions a task, mean"),
    Metric(name="tasks.steps", unit="1", doc="steps a task, mean of the author's estimates"),
    Metric(name="synthesis.wall", unit="s", doc="time to write all tasks", timing=True),
    Metric(name="synthesis.task_wall", unit="s", doc="time to write one, mean", timing=True),
    Metric(name="lint.findings", unit="count", doc="where: rule", better=_LOWER),
    Metric(name="lint.tasks", unit="count", doc="tasks with a finding", better=_LOWER),
    Metric(
        name="baseline.task_pass",
        unit="%",
        doc="tasks with every assertion; where: policy, split, assertions (all or linted)",
    ),
    Metric(
        name="baseline.assertions",
        unit="%",
        doc="assertions that hold; where: policy, split, assertions (all or linted)",
    ),
    Metric(name="baseline.turns", unit="turn", doc="mean of the oracle's rollouts; where: split"),
)

_WORKSPACES = (
    *_COUNTS,
    Metric(name="personas.count", unit="count", doc="personas"),
    Metric(name="skills.count", unit="count", doc="skills that a task can name"),
    Metric(name="workspace.recorded", unit="count", doc="workspaces recorded; where: persona"),
    Metric(name="workspace.matched", unit="count", doc="seed, names, sizes equal; where: persona"),
    Metric(name="workspace.distinct", unit="count", doc="of a persona's tasks; where: persona"),
    Metric(name="split.tasks", unit="count", doc="where: persona, split"),
    Metric(name="split.wrong", unit="count", doc="published rollouts on the wrong side of it"),
    Metric(
        name="listing.differing",
        unit="count",
        doc="personas whose listing changes when parent directories are listed too",
    ),
    Metric(name="protocol.shortened", unit="count", doc="letters that 5000 are shortened to"),
)

END_STATES = (
    Metric(name="end_state.rollouts", unit="count", doc="with images left; where: run"),
    Metric(name="end_state.images", unit="count", doc="images left; where: run"),
    Metric(name="sprites.tasks", unit="count", doc="tasks with sprites; where: run"),
    Metric(name="sprites.total", unit="count", doc="their sprites at the start; where: run"),
    Metric(name="sprites.at_start", unit="count", doc="left where they were; where: run"),
    Metric(name="sprites.displaced", unit="count", doc="tasks with one that is not; where: run"),
    Metric(name="sprites.changed", unit="count", doc="tasks with other images; where: run"),
    Metric(name="layout.differing", unit="count", doc="tasks that differ; where: run, other"),
    Metric(name="pool.tasks", unit="count", doc="tasks seen among the training draws"),
    Metric(name="pool.draws", unit="count", doc="training steps that drew it; where: task"),
    Metric(name="group.end_states", unit="count", doc="distinct in a group; where: run, task"),
)

# Reported by the rollouts of an agent; recomputed here from printed counts, where these suffice.
AGENT = (
    Metric(name="agent.tasks", unit="count", doc="tasks played; where: policy"),
    Metric(name="agent.task_pass", unit="%", doc="where: policy", better=_HIGHER),
    Metric(name="agent.task_pass_low", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(name="agent.task_pass_high", unit="%", doc="Wilson, 95 %; where: policy"),
    Metric(name="agent.assertions", unit="%", doc="that hold; where: policy", better=_HIGHER),
    Metric(name="agent.assertion_count", unit="count", doc="of all its tasks; where: policy"),
    Metric(name="agent.task_complete", unit="%", doc="clean stops; where: policy", better=_HIGHER),
    Metric(name="agent.mean_turns", unit="turn", doc="where: policy", better=_LOWER),
    Metric(name="agent.mean_wall", unit="s", doc="of a rollout; where: policy", timing=True),
    Metric(name="agent.turn_wall", unit="s", doc="of a turn; where: policy", timing=True),
    Metric(name="agent.wall", unit="min", doc="of all rollouts; where: policy", timing=True),
    Metric(name="agent.wall_ratio", unit="x", doc="trained / base, of a rollout", timing=True),
    Metric(name="agent.task_pass_gain", unit="%", doc="trained - base, percentage points"),
    Metric(name="agent.assertions_gain", unit="%", doc="trained - base, percentage points"),
    Metric(name="agent.persona_sum", unit="count", doc="passes summed by persona; where: policy"),
    Metric(name="agent.persona_pass", unit="%", doc="where: policy, persona"),
    Metric(name="agent.kind_assertions", unit="%", doc="where: policy, kind"),
)

_TRAINING = (
    Metric(name="sft.steps", unit="step", doc="optimizer steps of one epoch"),
    Metric(name="sft.idle_steps", unit="step", doc="of them, with a learning rate of 0"),
    Metric(name="sft.learning_rate", unit="1", doc="what a step was taken with; where: step"),
    Metric(name="sft.parameters", unit="parameter", doc="trainable, from the shapes"),
    Metric(name="sft.parameter_share", unit="%", doc="of all parameters"),
    Metric(name="sft.adapter_size", unit="MiB", doc="of the adapter in fp32"),
    Metric(name="sft.loss_fall", unit="%", doc="first to last logged loss"),
)

WORKLOADS = (
    Workload(
        name="clawgym.tasks",
        doc="write file tasks, lint them, and report what doing nothing and an oracle earn",
        params=TasksParams,
        metrics=WRITTEN,
        entry="harness.experiments.a32_34.tasks:run",
    ),
    Workload(
        name="clawgym.task_evidence",
        doc="recount the published workspaces and end states, and the printed counts",
        params=TaskEvidenceParams,
        metrics=(*_WORKSPACES, *END_STATES, *AGENT, *_TRAINING),
        entry="harness.experiments.a32_34.tasks_evidence:run",
    ),
)
