"""Workload ``clawgym.task_evidence``: what is published of article 32's rollouts, counted again.

Its tasks, trajectories and grades are not published. What is: the placeholder images that its
rollouts left behind, as lists of paths and sizes, and the sizes of the workspaces they began in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.errors import InputError, Problem
from harness.experiments.a32_34 import published
from harness.experiments.a32_34.published import BASE, EVALUATIONS, TRAINED, Evaluation
from harness.records import from_json, record
from harness.statistics import Proportion, wilson
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.envs.files.personas import PERSONAS, Slot, Split, slots, split_of
from harness.workloads.envs.files.protocol import shortened
from harness.workloads.envs.files.task import SKILLS

Images = Mapping[str, int]  # path -> bytes
Run = Mapping[str, Images]  # task id, with the rollout's number where there are several -> images

_SPRITES = "indie-game-dev"  # the persona whose workspaces hold sprites


@record
class RecordedWorkspace:
    """The binary files that one task began with."""

    seed: int
    binary_sizes: Images


@record
class Published:
    """The two files."""

    workspaces: Mapping[str, RecordedWorkspace]
    runs: Mapping[str, Run]


def run(context: Context) -> None:
    """Recount each table in turn."""
    emit = context.emit
    found = read(
        context.evidence(context.params.sizes), context.evidence(context.params.end_states)
    )
    emit.started("no device: published files")
    report_workspaces(emit, found.workspaces)
    report_split(emit, found.runs)
    report_end_states(emit, found.runs)
    report_pool(emit, found.runs)
    for policy, evaluation in EVALUATIONS.items():
        report_evaluation(emit, policy, evaluation)
    report_gains(emit)
    report_training(emit)


def read(sizes: Path, end_states: Path) -> Published:
    """Read the two files.

    Raises:
        InputError: one of them is not of its form.
    """
    recorded = _read(sizes, "workspaces")
    return Published(workspaces=recorded.workspaces, runs=read_end_states(end_states))


def read_end_states(path: Path) -> Mapping[str, Run]:
    """Read the images that rollouts left behind.

    Raises:
        InputError: the file is not of its form.
    """
    return _read(path, "runs").runs


def _read(path: Path, field: str) -> Published:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return from_json(Published, {"workspaces": {}, "runs": {}, field: document})
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path)]) from None


def report_workspaces(emit: EventWriter, recorded: Mapping[str, RecordedWorkspace]) -> None:
    """Report which recorded workspaces come out of their seeds, and how many are alike."""
    emit.measured("personas.count", len(PERSONAS))
    emit.measured("skills.count", len(SKILLS))
    emit.measured("tasks.count", len(list(slots())))
    emit.measured("protocol.shortened", len(shortened("x" * 5000)))
    differing = 0
    for persona in PERSONAS:
        where = {"persona": persona.role}
        own = [slot for slot in slots() if slot.persona is persona]
        known = [slot for slot in own if slot.task_id in recorded]
        if known:
            matched = sum(_comes_out(slot, recorded[slot.task_id]) for slot in known)
            emit.measured("workspace.recorded", len(known), where=where)
            emit.measured("workspace.matched", matched, where=where)
        emit.measured("workspace.distinct", len({slot.files for slot in own}), where=where)
        differing += any("/" in file.path for file in own[0].files)
    emit.measured("listing.differing", differing)


def _comes_out(slot: Slot, recorded: RecordedWorkspace) -> bool:
    # the hero's image is in every workspace of its persona, and not in the record
    drawn = {f.path: f.size for f in slot.files if f.text is None and f.path != "assets/hero.png"}
    return slot.seed == recorded.seed and drawn == recorded.binary_sizes


def report_split(emit: EventWriter, runs: Mapping[str, Run]) -> None:
    """Report the split, and whether the published rollouts are on its sides."""
    for persona in PERSONAS:
        for split in Split:
            own = [slot for slot in slots() if slot.persona is persona]
            count = sum(split_of(slot.task_id) is split for slot in own)
            where = {"persona": persona.role, "split": split.value}
            emit.measured("split.tasks", count, where=where)
    for split in Split:
        total = sum(split_of(slot.task_id) is split for slot in slots())
        emit.measured("split.total", total, where={"split": split.value})
    held_out = {task for name, each in runs.items() if _is_evaluation(name) for task in each}
    trained = {_task_of(rollout) for each in _steps(runs).values() for rollout in each}
    wrong = sum(split_of(task) is not Split.HELD_OUT for task in held_out)
    emit.measured("split.wrong", wrong + sum(split_of(task) is not Split.TRAIN for task in trained))


def report_end_states(emit: EventWriter, runs: Mapping[str, Run]) -> None:
    """Report what each run left, what became of the sprites, and which evaluations differ."""
    for name, each in runs.items():
        where = {"run": name}
        emit.measured("end_state.rollouts", len(each), where=where)
        emit.measured("end_state.images", sum(map(len, each.values())), where=where)
        if name not in _steps(runs):
            _report_sprites(emit, name, each)
    evaluations = [name for name in runs if _is_evaluation(name)]
    for index, other in enumerate(evaluations):
        for name in evaluations[:index]:
            common = runs[name].keys() & runs[other].keys()
            differing = sum(runs[name][task] != runs[other][task] for task in common)
            emit.measured("layout.differing", differing, where={"run": name, "other": other})


def _report_sprites(emit: EventWriter, name: str, each: Run) -> None:
    starts = {slot.task_id: _images(slot) for slot in slots() if slot.persona.role == _SPRITES}
    sprites = {task: {path for path in starts[task] if "enemy_" in path} for task in starts}
    played = [task for task in each if task in starts]
    if not played:
        return  # several rollouts of a task, or none of this persona
    figures = {
        "sprites.tasks": len(played),
        "sprites.total": sum(len(sprites[task]) for task in played),
        "sprites.at_start": sum(len(sprites[task] & each[task].keys()) for task in played),
        "sprites.displaced": sum(bool(sprites[task] - each[task].keys()) for task in played),
        "sprites.changed": sum(starts[task] != each[task] for task in played),
    }
    for metric, value in figures.items():
        emit.measured(metric, value, where={"run": name})


def _images(slot: Slot) -> Images:
    return {file.path: file.size for file in slot.files if file.path.endswith(".png")}


def report_pool(emit: EventWriter, runs: Mapping[str, Run]) -> None:
    """Report which tasks the training steps drew, and in which groups the rollouts still differ."""
    draws: dict[str, int] = defaultdict(int)
    for name, each in runs.items():
        groups: dict[str, list[Images]] = defaultdict(list)
        for rollout, images in each.items():
            if rollout != _task_of(rollout):
                groups[_task_of(rollout)].append(images)
        for task, group in groups.items():
            draws[task] += name in _steps(runs)
            distinct = len({frozenset(images.items()) for images in group})
            emit.measured("group.end_states", distinct, where={"run": name, "task": task})
    drawn = {task: count for task, count in draws.items() if count}
    emit.measured("pool.tasks", len(drawn))
    for task, count in sorted(drawn.items()):
        emit.measured("pool.draws", count, where={"task": task})


def _is_evaluation(name: str) -> bool:
    return PurePosixPath(name).name.startswith(("qwen-", "eval-"))


def _steps(runs: Mapping[str, Run]) -> Mapping[str, Run]:
    return {n: each for n, each in runs.items() if PurePosixPath(n).name.startswith("step-")}


def _task_of(rollout: str) -> str:
    return rollout.partition("__")[0]


# --- Arithmetic on what is printed --------------------------------------------------------------


def report_evaluation(emit: EventWriter, policy: str, printed: Evaluation) -> None:
    """Report the rates that follow from one agent's printed counts."""
    where = {"policy": policy}
    tasks, passed = printed.tasks, printed.tasks_passed
    emit.measured("agent.tasks", tasks, where=where)
    emit.measured("agent.task_pass", _percent(passed, tasks), where=where, count=tasks)
    interval = wilson(Proportion(successes=passed, trials=tasks))
    emit.measured("agent.task_pass_low", 100 * interval.low, where=where, count=tasks)
    emit.measured("agent.task_pass_high", 100 * interval.high, where=where, count=tasks)
    share = _percent(printed.assertions_passed, printed.assertions)
    emit.measured("agent.assertions", share, where=where, count=printed.assertions)
    emit.measured("agent.assertion_count", printed.assertions, where=where)
    if printed.task_complete is not None:
        stops = _percent(printed.task_complete, tasks)
        emit.measured("agent.task_complete", stops, where=where, count=tasks)
    if printed.wall_s is not None:
        emit.measured("agent.wall", printed.wall_s / 60, where=where)
        emit.measured("agent.mean_wall", printed.wall_s / tasks, where=where, count=tasks)
    if printed.mean_wall_s is not None and printed.mean_turns is not None:
        emit.measured("agent.wall", printed.mean_wall_s * tasks / 60, where=where)
        emit.measured("agent.turn_wall", printed.mean_wall_s / printed.mean_turns, where=where)
    if printed.by_persona:
        emit.measured("agent.persona_sum", sum(printed.by_persona), where=where)


def report_gains(emit: EventWriter) -> None:
    """Report what training changed, from the printed counts."""
    base, trained = EVALUATIONS[BASE], EVALUATIONS[TRAINED]
    gain = _percent(trained.tasks_passed - base.tasks_passed, base.tasks)
    emit.measured("agent.task_pass_gain", gain, count=base.tasks)
    gain = _percent(trained.assertions_passed - base.assertions_passed, base.assertions)
    emit.measured("agent.assertions_gain", gain, count=base.assertions)
    assert base.mean_wall_s is not None
    assert trained.mean_wall_s is not None
    emit.measured("agent.wall_ratio", trained.mean_wall_s / base.mean_wall_s)


def report_training(emit: EventWriter) -> None:
    """Report what follows from the training's settings, and from its printed losses."""
    rates = published.learning_rates()
    emit.measured("sft.steps", published.num_steps())
    emit.measured("sft.idle_steps", sum(rate == 0 for rate in rates))
    for step, rate in enumerate(rates, 1):
        emit.measured("sft.learning_rate", rate, where={"step": step})
    count = published.adapter_parameters()
    emit.measured("sft.parameters", count)
    emit.measured("sft.parameter_share", _percent(count, published.TOTAL_PARAMETERS))
    emit.measured("sft.adapter_size", 4 * count / 2**20)
    emit.measured("sft.loss_fall", 100 * (1 - published.LAST_LOSS / published.FIRST_LOSS))


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole
