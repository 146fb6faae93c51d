"""The one key that runs are given: it reaches the model's server and nothing that is kept."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.variables import KEY_VARIABLE

from .conftest import Bench

KEY = "a key of no known form"
SCENARIO = """\
scenario: a99-key
title: A model that wants a key
question: Does its key reach it?
article: {number: 99, title: Nothing}
workload: clawgym.tasks
params: {author: llm, author_base_url: "URL"}
profiles: {cpu: {summary: tasks by a model}}
"""
LEDGER = """\
scenario: a99-key
sections:
- title: Figures
  entries:
  - id: count
    metric: tasks.count
    unit: count
    class: arithmetic
    kind: exact
    expect: {value: 200}
    reason: as many as are asked for
    source: this test
"""


class Refusing(ThreadingHTTPServer):
    """A server that repeats the key it was given when it refuses it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.given: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Refusing

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.given.append(self.headers["Authorization"])
        self.send_response(401)
        self.end_headers()
        self.wfile.write(f"{self.headers['Authorization']} is no good".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    with Refusing() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_key_reaches_its_server_and_is_in_nothing_that_is_kept_or_said(
    refusing: Refusing, tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scenarios" / "a99-key"
    folder.mkdir(parents=True)
    url = f"http://127.0.0.1:{refusing.server_port}/v1"
    (folder / "scenario.yaml").write_text(SCENARIO.replace("URL", url), encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    command = [sys.executable, "-m", "harness", "run", "a99", "--project", str(tmp_path)]
    done = subprocess.run(
        [*command, "--runtime", "local"], cwd=project_root, capture_output=True, check=False
    )
    assert done.returncode == 3
    assert set(refusing.given) == {f"Bearer {KEY}"}
    assert b"answers 401: Bearer *** is no good" in done.stderr
    assert KEY.encode() not in done.stdout + done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Bearer ***" in path.read_bytes() for path in kept)
    assert not any(KEY.encode() in path.read_bytes() for path in kept)


def test_a_key_that_a_program_prints_is_not_in_its_outcome(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each runtime passes it on; what a program does with it stays in its logs on this machine."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    outcome, run_dir = bench.run(f"import os; print(os.environ[{KEY_VARIABLE!r}])")
    assert (run_dir / "stdout.log").read_text(encoding="utf-8") == f"{KEY}\n"
    assert KEY not in str(outcome)
    assert KEY not in (run_dir / "spec.json").read_text(encoding="utf-8")
