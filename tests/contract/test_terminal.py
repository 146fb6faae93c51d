"""Whatever becomes of its output, the program does its work and exits with the code of the work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ExitCode

from .small import NAME, SCENARIO, called, harness, make_project, runs_of

RUN = ("run", "a99", "--profile", "cpu", "--runtime", "local")
CHECK = ("check", "a99", "--profile", "cpu")
ACCENTED = SCENARIO.replace("A small question", "Größe ± 1 → ∞").replace(
    "replicates: 3", "replicates: 1"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("terminal") / "project", ACCENTED)
    assert harness(project, *RUN).returncode == ExitCode.OK
    return project


def full_stdout() -> Iterator[dict[str, Any]]:
    with Path("/dev/full").open("w") as full:  # every write fails: no space left
        yield {"stdout": full}


def full_stderr() -> Iterator[dict[str, Any]]:
    with Path("/dev/full").open("w") as full:
        yield {"stderr": full}


def left_pipe(stream: str) -> Callable[[], Iterator[dict[str, Any]]]:
    def stage() -> Iterator[dict[str, Any]]:
        reading, writing = os.pipe()
        os.close(reading)
        yield {stream: writing}
        os.close(writing)

    return stage


def encoding(name: str) -> Callable[[], Iterator[dict[str, Any]]]:
    def stage() -> Iterator[dict[str, Any]]:
        yield {"env": {"PYTHONIOENCODING": name, "PYTHONUTF8": "0"}}

    return stage


def non_blocking() -> Iterator[dict[str, Any]]:
    """A pipe that another program made non-blocking, and that is read slowly."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    reader = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.buffer.read()"], stdin=reading
    )
    os.close(reading)
    yield {"stdout": writing}
    os.close(writing)
    reader.wait()


STAGES = {
    "stderr full": (full_stderr, ExitCode.OK),
    "stdout full": (full_stdout, ExitCode.INFRASTRUCTURE),
    "reader of stdout left": (left_pipe("stdout"), ExitCode.OK),
    "reader of stderr left": (left_pipe("stderr"), ExitCode.OK),
    "ascii": (encoding("ascii:strict"), ExitCode.OK),
    "latin-1": (encoding("latin-1:strict"), ExitCode.OK),
    "non-blocking": (non_blocking, ExitCode.OK),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "command", [RUN, CHECK, ("list",), ("--version",)], ids=lambda each: each[0]
)
def test_output_decides_no_exit_code(
    finished: Path, tmp_path: Path, stage: str, command: tuple[str, ...]
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    if command is RUN:
        shutil.rmtree(project / "results")
    make, code = STAGES[stage]
    stages = make()
    words = (*command, "-v") if command != ("--version",) else command
    done = harness(project, *words, **next(stages))
    next(stages, None)
    said = (done.stdout or b"") + (done.stderr or b"")
    assert done.returncode == code, said.decode(errors="replace")
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
    if stage == "stdout full":
        assert b"standard output is incomplete: No space left on device" in said
    if command is RUN:
        assert len(runs_of(project)) == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", [RUN, CHECK])
def test_a_closed_stream_is_as_good_as_none(
    finished: Path, tmp_path: Path, closed: str, command: tuple[str, ...]
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    if command is RUN:
        shutil.rmtree(project / "results")
    line = f'"$0" -m harness {" ".join(command)} --project "$1" {closed}'
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, str(project)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == ExitCode.OK, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert len(runs_of(project)) == 1
    records = [path for path in project.rglob("*") if path.is_file()]
    assert not any(b"claims, cpu profile" in path.read_bytes() for path in records)


# --- what nobody foresaw --------------------------------------------------------------------------

BREAKS = """
import sys
import harness.commands.{command} as command
from harness.cli import main

def fail(*_, **__):
    raise {error}

command.{name} = fail
sys.exit(main(sys.argv[1:]))
"""


def break_and_run(
    project: Path, tmp_path: Path, error: str, command: str, name: str, *words: str
) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    program = BREAKS.format(command=command, name=name, error=error)
    return subprocess.run(
        [sys.executable, "-c", program, command, *words, "--project", str(project)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)},
    )


@pytest.mark.parametrize(
    "error",
    [
        "RecursionError('too deep')",
        "KeyError('x')",
        "ValueError('sk-abcdefghijklmnopqrstuvwx\\x1b]0;title\\x07 is no key')",
        "AssertionError",
        "MemoryError",
        "UnicodeEncodeError('ascii', 'é', 0, 1, 'no')",
    ],
)
def test_an_unexpected_error_is_one_line_and_a_report(
    finished: Path, tmp_path: Path, error: str
) -> None:
    done = break_and_run(finished, tmp_path, error, "check", "assemble", "a99", "--profile", "cpu")
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    (report,) = tmp_path.glob("harness-error-*.txt")
    assert line.startswith(f"harness check: unexpected {error.partition('(')[0]}")
    assert line.endswith(f"its report is {report}")
    text = report.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert "sk-abc" not in text + line
    assert "\x1b" not in line
    assert report.stat().st_mode & 0o077 == 0


def test_an_unexpected_error_of_one_scenario_leaves_the_others(
    finished: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    other = Path(shutil.copytree(project / "scenarios" / NAME, project / "scenarios" / "a98-other"))
    for file in ("scenario.yaml", "expectations.yaml"):
        text = (other / file).read_text(encoding="utf-8")
        (other / file).write_text(text.replace(NAME, "a98-other"), encoding="utf-8")
    error = "KeyError('x') if plan.scenario == 'a98-other' else StopIteration"
    done = break_and_run(project, tmp_path, error, "check", "judged", "a98", "a99")
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "2 scenarios:" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_report_that_cannot_be_written_is_said(finished: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "a file"
    nowhere.touch()
    done = break_and_run(
        finished, nowhere, "KeyError('x')", "check", "assemble", "a99", "--profile", "cpu"
    )
    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert len(done.stderr.splitlines()) == 1


# --- what a workload says -------------------------------------------------------------------------

HOSTILE = "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[2Jlast\x1b[8m words\x9b2J\r\b\u202e"


def test_the_last_words_of_a_workload_do_nothing_to_a_terminal(
    finished: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project"))
    run = runs_of(project)[0]
    outcome = run / "outcome.json"
    escaped = HOSTILE.encode("unicode_escape").decode().replace("\\x", "\\u00")
    text = outcome.read_text(encoding="utf-8").replace('"status": "finished"', '"status": "failed"')
    text = text.replace('"cause": ""', f'"cause": "exit code 1: {escaped}"')
    outcome.write_text(text, encoding="utf-8")
    run.rename(run.with_name(f"{run.name}.failed-1"))
    for words in (
        CHECK,
        ("plan", *CHECK[1:], "--runtime", "local"),
        ("report", *CHECK[1:]),
        ("report", *CHECK[1:], "--format", "csv"),
        (*RUN, "-v"),
    ):
        done = called(project, *words)
        shown = (done.stdout + done.stderr).decode()
        assert "last words" in shown or words[0] in ("check", "report"), words
        assert shown.replace("\n", "").isprintable(), ascii(shown)
