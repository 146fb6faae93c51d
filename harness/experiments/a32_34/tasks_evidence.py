"""Workload ``clawgym.task_evidence``: what is published of article 32's rollouts, counted again.

Its tasks, trajectories and grades are not published. What is: the placeholder images that its
rollouts left behind, as lists of paths and sizes, and the sizes of the workspaces they began in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from harness.errors import InputError, Problem
from harness.experiments.a32_34 import printed
from harness.experiments.a32_34.counts import RATES, WALL, percent
from harness.experiments.a32_34.metrics import AGENT, WRITTEN
from harness.experiments.a32_34.printed import BASE, EVALUATIONS, TRAINED
from harness.reading import read_json
from harness.records import from_json, record
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Workload, param
from harness.workloads.api.figures import Counted, Figures, Row, Where
from harness.workloads.envs.files.personas import PERSONAS, Slot, Split, slots, split_of
from harness.workloads.envs.files.protocol import shortened
from harness.workloads.envs.files.task import SKILLS

Images = Mapping[str, int]  # path -> bytes
Run = Mapping[str, Images]  # task id, with the rollout's number where there are several -> images
Runs = Mapping[str, Run]  # by name

_SPRITES = "indie-game-dev"  # the persona whose workspaces hold sprites


@record
class TaskEvidenceParams:
    """What the published end states are recounted from."""

    sizes: str = param("a32/clawgym_seeded_workspace_sizes.json", doc="sizes of 50 workspaces")
    end_states: str = param("a32/clawgym_png_end_states.json", doc="images left by each rollout")


@record
class RecordedWorkspace:
    """The binary files that one task began with."""

    seed: int
    binary_sizes: Images


@record
class PublishedEndStates:
    """The two files."""

    workspaces: Mapping[str, RecordedWorkspace]
    runs: Runs


def read(sizes: Path, end_states: Path) -> PublishedEndStates:
    """Read the two files.

    Raises:
        InputError: one of them is not of its form.
    """
    recorded = _read(sizes, "workspaces")
    return PublishedEndStates(workspaces=recorded.workspaces, runs=read_end_states(end_states))


def read_end_states(path: Path) -> Runs:
    """Read the images that rollouts left behind.

    Raises:
        InputError: the file is not of its form.
    """
    return _read(path, "runs").runs


def _read(path: Path, field: str) -> PublishedEndStates:
    try:
        document = read_json(path.read_bytes())
        return from_json(PublishedEndStates, {"workspaces": {}, "runs": {}, field: document})
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path)]) from None


def _is_evaluation(name: str) -> bool:
    return PurePosixPath(name).name.startswith(("qwen-", "eval-"))


def _is_step(name: str) -> bool:
    return PurePosixPath(name).name.startswith("step-")


def _task_of(rollout: str) -> str:
    return rollout.partition("__")[0]


# --- what each run left, what became of the sprites, and which evaluations differ -----------------

END_STATES: Figures[Runs] = Figures()
left = END_STATES.each(
    lambda runs: (({"run": name}, each) for name, each in runs.items()), keys="run"
)
left("end_state.rollouts", "count", "with images left")(len)
left("end_state.images", "count", "images left")(lambda each: sum(map(len, each.values())))


class Sprites(NamedTuple):
    """What became of one task's sprites.

    Attributes:
        paths: of the sprites at the start.
        start: all images then.
        end: all images that the rollout left.
    """

    paths: set[str]
    start: Images
    end: Images


def _sprites(runs: Runs) -> Iterator[tuple[Where, list[Sprites]]]:
    starts = {
        slot.task_id: {file.path: file.size for file in slot.files if file.path.endswith(".png")}
        for slot in slots()
        if slot.persona.role == _SPRITES
    }
    for name, each in runs.items():
        found = [
            Sprites({path for path in start if "enemy_" in path}, start, each[task])
            for task, start in starts.items()
            if task in each
        ]
        if found and not _is_step(name):  # else several rollouts of a task, or none of them
            yield {"run": name}, found


sprites = END_STATES.each(_sprites, keys="run")
sprites("sprites.tasks", "count", "tasks with sprites")(len)
sprites("sprites.total", "count", "their sprites at the start")(
    lambda found: sum(len(s.paths) for s in found)
)
sprites("sprites.at_start", "count", "left where they were")(
    lambda found: sum(len(s.paths & s.end.keys()) for s in found)
)
sprites("sprites.displaced", "count", "tasks with one that is not")(
    lambda found: sum(bool(s.paths - s.end.keys()) for s in found)
)
sprites("sprites.changed", "count", "tasks with other images")(
    lambda found: sum(s.start != s.end for s in found)
)


@END_STATES.rows("layout.differing", "count", "tasks that differ", keys="run, other")
def _(runs: Runs) -> Iterator[Row]:
    evaluations = [name for name in runs if _is_evaluation(name)]
    for index, other in enumerate(evaluations):
        for name in evaluations[:index]:
            common = runs[name].keys() & runs[other].keys()
            differing = sum(runs[name][task] != runs[other][task] for task in common)
            yield {"run": name, "other": other}, differing


# --- workspaces: which come out of their seeds, and how many are alike ----------------------------

figure: Figures[PublishedEndStates] = Figures(*WRITTEN, *AGENT)
figure("personas.count", "count", "personas")(lambda _: len(PERSONAS))
figure("skills.count", "count", "skills that a task can name")(lambda _: len(SKILLS))
figure("tasks.count")(lambda _: len(list(slots())))
figure("protocol.shortened", "count", "letters that 5000 are shortened to")(
    lambda _: len(shortened("x" * 5000))
)
_OWN = {each.role: [slot for slot in slots() if slot.persona is each] for each in PERSONAS}


def _known(
    found: PublishedEndStates,
) -> Iterator[tuple[Where, list[tuple[Slot, RecordedWorkspace]]]]:
    for role, own in _OWN.items():
        recorded = found.workspaces
        known = [(slot, recorded[slot.task_id]) for slot in own if slot.task_id in recorded]
        if known:
            yield {"persona": role}, known


def _comes_out(slot: Slot, recorded: RecordedWorkspace) -> bool:
    # the hero's image is in every workspace of its persona, and not in the record
    drawn = {f.path: f.size for f in slot.files if f.text is None and f.path != "assets/hero.png"}
    return slot.seed == recorded.seed and drawn == recorded.binary_sizes


known = figure.each(_known, keys="persona")
known("workspace.recorded", "count", "workspaces recorded")(len)
known("workspace.matched", "count", "seed, names, sizes equal")(
    lambda known: sum(_comes_out(*each) for each in known)
)
figure.rows("workspace.distinct", "count", "of a persona's tasks", keys="persona")(
    lambda _: (({"persona": role}, len({slot.files for slot in own})) for role, own in _OWN.items())
)
figure(
    "listing.differing",
    "count",
    "personas whose listing changes when parent directories are listed too",
)(lambda _: sum(any("/" in file.path for file in own[0].files) for own in _OWN.values()))

# --- the split, and the published rollouts --------------------------------------------------------


@figure.rows("split.tasks", "count", keys="persona, split")
def _(_: PublishedEndStates) -> Iterator[Row]:
    for role, own in _OWN.items():
        for split in Split:
            count = sum(split_of(slot.task_id) is split for slot in own)
            yield {"persona": role, "split": split.value}, count


@figure.rows("split.total")
def _(_: PublishedEndStates) -> Iterator[Row]:
    counts = Counter(split_of(slot.task_id) for slot in slots())
    return (({"split": split.value}, counts[split]) for split in Split)


@figure("split.wrong", "count", "published rollouts on the wrong side of it")
def _(found: PublishedEndStates) -> int:
    held_out = {t for name, each in found.runs.items() if _is_evaluation(name) for t in each}
    trained = {_task_of(t) for name, each in found.runs.items() if _is_step(name) for t in each}
    wrong = sum(split_of(task) is not Split.HELD_OUT for task in held_out)
    return wrong + sum(split_of(task) is not Split.TRAIN for task in trained)


figure.include(lambda found: [({}, found.runs)], END_STATES)

# --- which tasks the training steps drew, and in which groups the rollouts still differ -----------


def _groups(runs: Runs) -> Iterator[tuple[str, str, list[Images]]]:
    for name, each in runs.items():
        groups: dict[str, list[Images]] = defaultdict(list)
        for rollout, images in each.items():
            if rollout != _task_of(rollout):
                groups[_task_of(rollout)].append(images)
        yield from ((name, task, group) for task, group in groups.items())


@figure.rows("group.end_states", "count", "distinct in a group", keys="run, task")
def _(found: PublishedEndStates) -> Iterator[Row]:
    for name, task, group in _groups(found.runs):
        distinct = len({frozenset(images.items()) for images in group})
        yield {"run": name, "task": task}, distinct


pool = figure.of(lambda found: Counter(t for n, t, _ in _groups(found.runs) if _is_step(n)))
pool("pool.tasks", "count", "tasks seen among the training draws")(len)
pool.rows("pool.samples", "count", "training steps that drew it", keys="task")(
    lambda draws: (({"task": task}, count) for task, count in sorted(draws.items()))
)

# --- arithmetic on what is printed ----------------------------------------------------------------

for rates in (RATES, WALL):
    figure.include(lambda _: (({"policy": n}, each) for n, each in EVALUATIONS.items()), rates)


@figure("agent.pass_rate_gain", "%", "trained - base, percentage points")
def _(_: PublishedEndStates) -> Counted:
    base, trained = EVALUATIONS[BASE], EVALUATIONS[TRAINED]
    return Counted(percent(trained.tasks_passed - base.tasks_passed, base.tasks), base.tasks)


@figure("agent.assertion_pass_rate_gain", "%", "trained - base, percentage points")
def _(_: PublishedEndStates) -> Counted:
    base, trained = EVALUATIONS[BASE], EVALUATIONS[TRAINED]
    gain = percent(trained.assertions_passed - base.assertions_passed, base.assertions)
    return Counted(gain, base.assertions)


@figure("agent.rollout_time_ratio")
def _(_: PublishedEndStates) -> float:
    base, trained = EVALUATIONS[BASE].mean_wall_s, EVALUATIONS[TRAINED].mean_wall_s
    assert base is not None
    assert trained is not None
    return trained / base


figure("sft.steps", "step", "optimizer steps of one epoch")(lambda _: printed.num_steps())
figure("sft.zero_lr_steps", "step", "of them, with a learning rate of 0")(
    lambda _: sum(rate == 0 for rate in printed.learning_rates())
)
figure.rows("sft.learning_rate", "1", "what a step was taken with", keys="step")(
    lambda _: (({"step": step}, rate) for step, rate in enumerate(printed.learning_rates(), 1))
)
figure("sft.parameters", "parameter", "trainable, from the shapes")(
    lambda _: printed.adapter_parameters()
)
figure("sft.parameter_share", "%", "of all parameters")(
    lambda _: percent(printed.adapter_parameters(), printed.TOTAL_PARAMETERS)
)
figure("sft.adapter_size", "MiB", "of the adapter in fp32")(
    lambda _: 4 * printed.adapter_parameters() / 2**20
)
figure("sft.loss_fall", "%", "first to last logged loss")(
    lambda _: 100 * (1 - printed.LAST_LOSS / printed.FIRST_LOSS)
)

# --------------------------------------------------------------------------------------------------


def run(context: Context) -> None:
    """Recount what is published."""
    params: TaskEvidenceParams = context.params
    found = read(context.evidence(params.sizes), context.evidence(params.end_states))
    context.emit.started("no device: published files")
    figure.report(context.emit, found)


TASK_EVIDENCE = Workload(
    name="clawgym.task_evidence",
    doc="recount the published workspaces and end states, and the printed counts",
    params=TaskEvidenceParams,
    metrics=figure.metrics,
    entry="harness.experiments.a32_34.tasks_evidence:run",
)

WORKLOADS = (TASK_EVIDENCE,)
