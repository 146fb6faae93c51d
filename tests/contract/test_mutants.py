"""Two thousand structural mutants of the files that the program reads.

Each is answered within seconds, without a traceback, and changes no file. Where the program exits
with 0, what was changed is of a class that decides nothing, or is a right value too.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NoReturn

import pytest

from harness.errors import ExitCode, InputError
from harness.measure import measure
from harness.records import RunSpec, from_json, record, to_json
from harness.scenario.positions import read
from harness.telemetry.log import read_samples
from harness.telemetry.reduce import run_measurements
from harness.workloads.api.emit import read_events
from harness.workloads.autoresearch.trajectory import read_trajectory
from harness.workloads.envs.files.personas import slots
from harness.workloads.envs.files.task_json import read_tasks, write_tasks
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.rl.rollout import RolloutLog
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import Label, Trial

from .mutants import mutate
from .small import NAME, called, make_project, runs_of

NUM = 160  # of each kind of file
LIMIT_S = 60
CHECK = ("check", "a99", "--profile", "cpu")
PLAN = ("plan", "a99", "--profile", "cpu", "--runtime", "local")
REPORT = ("report", "a99", "--profile", "cpu")
PROSE = r"title|question|article\.(title|date)|.*summary|.*\.(title|reason|source|note)"

pytestmark = pytest.mark.slow


@record
class Target:
    """A file, the commands that read it, and the classes of what may change with exit code 0.

    Attributes:
        free: class -> pattern of the dotted keys that decide no exit code, or have many right
            values.
    """

    path: str
    commands: tuple[tuple[str, ...], ...]
    free: tuple[tuple[str, str], ...]


TARGETS = {
    "scenario": Target(
        path=f"scenarios/{NAME}/scenario.yaml",
        commands=(("validate",), CHECK, PLAN),
        free=(
            ("prose", PROSE),
            ("another right value", r"params(\.value)?|replicates|article(\.number)?|profiles.*"),
            ("shown, not judged", r"report(\..*)?"),
        ),
    ),
    "ledger": Target(
        path=f"scenarios/{NAME}/expectations.yaml",
        commands=(("validate",), CHECK),
        free=(
            ("prose", PROSE),
            ("another right value", r".*\.expect(\.(abs|value))?|.*\.unit|.*\.id|.*\.class"),
            ("default", r".*\.kind"),
        ),
    ),
    "lock": Target(
        path="containers/images.lock.yaml",
        commands=(("validate",),),
        free=(("another right value", r".*"),),
    ),
    "params": Target(
        path="params.yaml",
        commands=((*PLAN, "--params", "PARAMS"),),
        free=(("another right value", r"value|index"),),
    ),
    "spec": Target(
        path="RUN/spec.json",
        commands=(CHECK, REPORT),
        free=(
            ("default", r"evidence|image|sandbox|axes"),
            ("held while it ran", r"limits(\..*)?"),
            ("judged by the ledger of today", r"ledger(\..*)?"),
        ),
    ),
    "outcome": Target(
        path="RUN/outcome.json",
        commands=(CHECK, REPORT),
        free=(
            ("words of the workload", r"cause|log_tail(\..*)?|device"),
            ("shown, not judged", r"(usage|segments)(\..*)?|started_at|runtime"),
            ("shown, not judged", r"host\.(skipped|(host|gpu)_\w+)"),
            ("default", r"exit_code|schema_version"),
        ),
    ),
    "measurements": Target(
        path="RUN/measurements.json",
        commands=(CHECK, REPORT),
        free=(
            ("prose", r"\d+\.absent"),
            ("row keys are free", r"\d+\.where(\..*)?"),
            ("a figure that no entry asks for", r"[1-9]\d*(\..*)?|0\.count"),
        ),
    ),
    "environment": Target(
        path="RUN/environment.json",
        commands=(CHECK, REPORT),
        free=(("shown, not judged", r".*"),),
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("mutants")
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        made = make_project(place / "project")
        (made / "params.yaml").write_text("value: 3.0\nindex: 0\n", encoding="utf-8")
        shutil.rmtree(made / "containers")
        right = Path(__file__).parents[1] / "broken" / "right" / "containers"
        shutil.copytree(right, made / "containers")
        done = called(made, "run", *CHECK[1:], "--runtime", "local")
        assert done.returncode == ExitCode.OK
        yield made


def contents(project: Path) -> dict[str, str]:
    files = [path for path in project.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail where a block takes longer: a hang, as nothing here takes a tenth of it."""

    def late(_: int, __: FrameType | None) -> NoReturn:
        message = f"no answer within {seconds} s"
        raise AssertionError(message)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def parsed(path: Path) -> Any:
    """Return what a file holds; None where it holds nothing."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else read(path).value
    except (ValueError, InputError):
        return None


def changed(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Yield the dotted keys at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            where = f"{at}.{key}" if at else str(key)
            if key in one and key in other:
                yield from changed(one[key], other[key], where)
            else:
                yield where
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from changed(left, right, f"{at}.{index}" if at else str(index))
    elif isinstance(one, list) and isinstance(other, list):
        # an item more or less: from the first that differs, all are of another place
        shorter = min(len(one), len(other))
        first = next((i for i in range(shorter) if one[i] != other[i]), shorter)
        yield f"{at}.{first}" if at else str(first)
    elif one != other or type(one) is not type(other):
        yield at


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutant_of_a_file_breaks_the_program_or_passes_unexplained(
    project: Path, name: str
) -> None:
    target, run = TARGETS[name], runs_of(project)[0]
    path = project / target.path.replace("RUN", str(run))
    original = path.read_bytes()
    document = parsed(path)
    classes: dict[str, int] = {}
    for number in range(NUM):
        what, text = mutate(document, Random(f"{name} {number}"))  # noqa: S311 - mutants, no secrets
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        before = contents(project)
        for words in target.commands:
            with within(LIMIT_S):
                done = called(project, *(str(path) if word == "PARAMS" else word for word in words))
            said = (done.stdout + done.stderr).decode()
            assert "unexpected" not in said, (number, what, words, said)
            assert "Traceback" not in said, (number, what, words)
            if done.returncode != ExitCode.OK:
                continue
            keys = [*changed(document, parsed(path))] if parsed(path) is not None else ["?"]
            for key in keys or ["the same value"]:
                found = [label for label, free in target.free if re.fullmatch(free, key)]
                found = found or (["the same value"] if not keys else [])
                if words is REPORT:  # it judges nothing
                    found = found or ["rendered as it stands"]
                assert found, (number, what, words, key)
                classes[found[0]] = classes.get(found[0], 0) + 1
        assert contents(project) == before, (number, what)
    path.write_bytes(original)
    print(f"{name}: {NUM} mutants; changes that leave exit code 0: {classes}")


# --- files that runs and experiments read ---------------------------------------------------------


def lines_of(name: str, folder: Path, project: Path) -> tuple[Path, Callable[[Path], object]]:
    """Return a file of lines, and its reader."""
    run = runs_of(project)[0]
    if name == "events":
        spec = from_json(RunSpec, json.loads((run / "spec.json").read_text(encoding="utf-8")))
        return run / "events.jsonl", lambda path: measure(spec, read_events(path))
    if name == "telemetry":
        return run / "telemetry.csv", lambda path: run_measurements(read_samples(path))
    path = folder / name
    if name == "trials":
        store = TrialStore(path)
        for number in range(3):
            label = Label.KEEP if number else Label.BASELINE
            parent = f"{number - 1:03}" if number else ""
            trial = Trial(exp_id=f"{number:03}", status=label, parent_exp=parent, val_bpb=1.0)
            store.append(trial)
        return path, lambda other: to_json(TrialStore(other).history().best())
    if name == "tasks":
        write_tasks(path, map(TemplateAuthor().write, [*slots(per_persona=1)][:5]))
        return path, read_tasks
    if name == "rollouts":
        rollout = {"task_id": "t", "policy": "p", "sample": 0, "stop_reason": "done", "reward": 1.0}
        path.write_text(f"{json.dumps({**rollout, 'episode': {}})}\n" * 2, encoding="utf-8")
        return path, lambda other: RolloutLog(other, dict).read()
    header = {"_meta": "by hand", "baseline_val_bpb": 1.0, "baseline_cfg": {}}
    header["accept_delta_frac"] = 0.1
    paused = {
        "iter": 1,
        "ts": "2026-04-25 18:01:00",
        "stage": "paused",
        "reason": "why not",
        "completed_iters": 0,
        "requested_iters": 9,
    }
    path.write_text(f"{json.dumps(header)}\n{json.dumps(paused)}\n", encoding="utf-8")
    return path, read_trajectory


def mutated_line(line: str, random: Random) -> str:
    """Return a line with something in it changed: JSON by its structure, else by its cells."""
    if line.startswith("{"):
        return mutate(json.loads(line), random)[1].replace("\n", random.choice(["", " ", "\n"]))
    separator = "\t" if "\t" in line else ","
    cells = line.split(separator)
    odd = [
        "",
        "x",
        "-1",
        "NaN",
        "1e999",
        "9" * 400,
        '"',
        '"a',
        "\x00",
        "\ufeff",
        "é",
        "a" * 200_000,
    ]
    at = random.randrange(len(cells))
    change = random.choice(["put", "drop", "double", "cut"])
    if change == "put":
        cells[at] = random.choice(odd)
    elif change == "drop":
        del cells[at]
    elif change == "double":
        cells.insert(at, cells[at])
    else:
        return separator.join(cells)[: random.randrange(len(line) + 1)]
    return separator.join(cells)


@pytest.mark.parametrize(
    "name", ["events", "telemetry", "trials", "tasks", "rollouts", "trajectory"]
)
def test_no_mutant_of_a_file_of_lines_breaks_its_reader(
    project: Path, tmp_path: Path, name: str
) -> None:
    source, reader = lines_of(name, tmp_path, project)
    lines = source.read_text(encoding="utf-8").split("\n")[:-1]
    for number in range(NUM):
        random = Random(f"{name} {number}")  # noqa: S311 - mutants, no secrets
        at = random.randrange(len(lines))
        mutant = [*lines[:at], mutated_line(lines[at], random), *lines[at + 1 :]]
        path = tmp_path / "mutant"
        path.write_bytes("\n".join([*mutant, ""]).encode("utf-8", "surrogatepass"))
        before = path.read_bytes()
        with within(LIMIT_S), suppress(InputError, ValueError):
            reader(path)
        assert path.read_bytes() == before
