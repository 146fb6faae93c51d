"""A run is followed from another process: to its end, past a kill, in a page, and by a web hook."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

SCENARIO = """\
scenario: a99-watched
title: Two cells that sleep
question: Can a run be followed?
article: {number: 99, title: Nothing}
workload: noop
sweep: {product: {index: [0, 1]}}
profiles: {cpu: {summary: two cells}}
"""
LEDGER = """\
scenario: a99-watched
sections:
- title: Figures
  entries:
  - id: value
    metric: noop.value
    unit: "1"
    class: arithmetic
    kind: law
    expect: {law: all_cells, params: {low: 0, high: 0}}
    reason: every cell reports what it was given
    source: this test
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "scenarios" / "a99-watched"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    return tmp_path


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web hook on this machine: its address, and what it was sent."""
    got: list[dict[str, Any]] = []

    class Catch(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Catch)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
    server.shutdown()
    server.server_close()
    thread.join()


def started(project: Path, root: Path, *words: str, **facts: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words, "--project", str(project)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80", **facts},
    )


def run(
    project: Path, root: Path, sleep_s: float, *words: str, **facts: Any
) -> subprocess.Popen[str]:
    asked = ("run", "a99", "--runtime", "local", "--set", f"sleep_s={sleep_s}")
    return started(project, root, *asked, *words, **facts)


def wait_for_staging(project: Path) -> None:
    until = time.monotonic() + 300
    while not [*(project / "results/local/.staging").glob("a99-watched.cpu.*/events.jsonl")]:
        assert time.monotonic() < until, "the run never began"
        time.sleep(0.05)


def test_a_plan_is_followed_run_by_run_to_its_end(project: Path, project_root: Path) -> None:
    harness = run(project, project_root, 8)  # until `watch` has started, on a busy machine
    wait_for_staging(project)
    watch = started(project, project_root, "watch", "a99")
    said, errors = watch.communicate(timeout=600)
    harness.communicate(timeout=600)
    assert watch.returncode == 0, errors
    lines = said.splitlines()
    assert lines[0].startswith("a99 cpu, index=0 | ")
    assert any(line.startswith("a99 cpu, index=0: finished | ") for line in lines)
    assert lines[-1].startswith("a99 cpu, index=1: finished | ")
    assert max(map(len, lines)) <= 80


def test_a_harness_that_was_killed_is_noticed(
    project: Path, project_root: Path, told: tuple[str, list[dict[str, Any]]]
) -> None:
    address, got = told
    harness = run(project, project_root, 600)
    wait_for_staging(project)
    watch = started(project, project_root, "watch", "--notify", "env:HOOK", HOOK=address)
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith("a99 cpu, index=0 | ")  # it follows the run
    harness.send_signal(signal.SIGKILL)
    said, _ = watch.communicate(timeout=300)
    harness.communicate(timeout=300)
    assert "left: the harness that ran it has gone" in said.splitlines()[-1]
    assert [each["event"] for each in got] == ["failed"]
    once = started(project, project_root, "watch", "--once")
    assert "left: the harness that ran it has gone" in once.communicate(timeout=300)[0]


def test_the_end_of_a_plan_is_told_with_its_last_screen(
    project: Path, project_root: Path, told: tuple[str, list[dict[str, Any]]]
) -> None:
    address, got = told
    harness = run(project, project_root, 0, "--notify", address)
    said, _ = harness.communicate(timeout=600)
    (ended,) = got
    assert ended["event"] == "ended"
    assert ended["title"].startswith("a99-watched cpu: exit 4, ")
    assert ended["message"] == said
    for path in (project / "results").rglob("*"):
        assert path.is_dir() or "/hook" not in path.read_text("utf-8", "replace"), path


def test_the_page_follows_a_run_that_is_at_work(project: Path, project_root: Path) -> None:
    harness = run(project, project_root, 15, "--only", "index=0")
    wait_for_staging(project)
    watch = started(project, project_root, "watch", "--web")
    try:
        assert watch.stdout is not None
        url = watch.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with urllib.request.urlopen(f"{url}run.json", timeout=120) as answer:  # noqa: S310 - our own
            shown = json.load(answer)
        assert shown["state"] == "running"
        assert shown["name"] == "a99 cpu, index=0"
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - our own
            assert b"harness watch" in answer.read()
        harness.communicate(timeout=600)
        with urllib.request.urlopen(f"{url}run.json", timeout=120) as answer:  # noqa: S310 - our own
            assert json.load(answer)["state"] in ("running", "finished")
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=300)
    assert watch.returncode == 130


def test_where_nothing_ran_the_next_command_is_named(project: Path, project_root: Path) -> None:
    watch = started(project, project_root, "watch", "a99")
    _, errors = watch.communicate(timeout=300)
    assert watch.returncode == 3
    assert "no run of a99-watched is at work" in errors
    assert "next: harness run a99-watched" in errors


def test_a_run_says_a_line_where_no_terminal_is(project: Path, project_root: Path) -> None:
    program = (
        "import harness.execution.progress as p; p._PLAIN_S = p._SILENCE_S = 1.0; "
        "from harness.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    )
    words = ["run", "a99", "--project", str(project), "--set", "sleep_s=3", "--only", "index=0"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("a99 cpu 1/1 | ")]
    assert said
    assert "\x1b" not in done.stderr
