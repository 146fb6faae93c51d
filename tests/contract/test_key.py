"""The one key that runs are given: it reaches the model's server and nothing that is kept."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.results.redact import redact_logs
from harness.variables import KEY_VARIABLE

from .conftest import Bench
from .small import called

KEY = "a key of no known form"
SCENARIO = """\
scenario: a99-key
title: A model that wants a key
question: Does its key reach it?
article: {number: 99, title: Nothing}
workload: clawgym.tasks
params: {author: llm}
profiles:
  cpu:
    summary: tasks by a model
    services:
      author: {model: m, address: "URL", memory_gib: 1.0, start: "true", source: this test}
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
    """A server that is ready, and repeats the key it was given when it refuses a longer answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.given: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Refusing

    def do_GET(self) -> None:
        self.server.given.append(self.headers["Authorization"])
        self._say({"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.given.append(self.headers["Authorization"])
        if asked["max_tokens"] == 1:
            self._say({"choices": [{"message": {"content": "r"}}]})
            return
        self.send_response(401)
        self.end_headers()
        self.wfile.write(f"{self.headers['Authorization']} is no good".encode())

    def _say(self, document: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

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


def run_with_key(
    key: str, refusing: Refusing, project: Path, monkeypatch: pytest.MonkeyPatch
) -> subprocess.CompletedProcess[bytes]:
    """Run a workload that asks a model of the server, and return how the program ended."""
    folder = project / "scenarios" / "a99-key"
    folder.mkdir(parents=True)
    url = f"http://127.0.0.1:{refusing.server_port}/v1"
    (folder / "scenario.yaml").write_text(SCENARIO.replace("URL", url), encoding="utf-8")
    (folder / "expectations.yaml").write_text(LEDGER, encoding="utf-8")
    monkeypatch.setenv(KEY_VARIABLE, key)
    return called(project, "run", "a99", "--runtime", "local")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", " "])
def test_the_key_reaches_its_server_and_is_in_nothing_that_is_kept_or_said(
    end: str,
    refusing: Refusing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run_with_key(KEY + end, refusing, tmp_path, monkeypatch)
    assert done.returncode == 3
    assert set(refusing.given) == {f"Bearer {KEY}"}
    assert b"answers 401: Bearer *** is no good" in done.stderr
    assert KEY.encode() not in done.stdout + done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"Bearer ***" in path.read_bytes() for path in kept)
    assert not any(KEY.encode() in path.read_bytes() for path in kept)


@pytest.mark.parametrize("key", ["one line\nof xyzzy1", "a\rb key xyzzy2", "schlüssel xyzzy3"])
def test_a_key_that_no_header_holds_is_refused_unsaid(
    key: str,
    refusing: Refusing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run_with_key(key, refusing, tmp_path, monkeypatch)
    assert done.returncode == 3
    assert refusing.given == []
    assert b"holds characters that no header can" in done.stderr
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for shown in (key, repr(key)[1:-1], key.rsplit(maxsplit=1)[-1]):
        assert not any(shown.encode() in said for said in (done.stdout, done.stderr, *kept))


def test_the_logs_of_a_run_are_redacted_like_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\n")
    (tmp_path / "served").mkdir()
    for name in ("stdout.log", "served/vllm.log"):
        (tmp_path / name).write_bytes(b"\xff step 1\nheaders: Bearer " + KEY.encode() + b"\r\n\xfe")
    plain = tmp_path / "stderr.log"
    plain.write_bytes(b"\xff nothing of it\r\n")
    before = plain.stat().st_mtime_ns
    redact_logs(tmp_path)
    for name in ("stdout.log", "served/vllm.log"):
        assert (tmp_path / name).read_bytes() == b"\xff step 1\nheaders: Bearer ***\r\n\xfe"
    assert plain.stat().st_mtime_ns == before


def test_a_key_that_a_program_prints_is_not_in_its_outcome(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each runtime passes it on; what a program does with it stays in its logs on this machine."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    outcome, run_dir = bench.run(f"import os; print(os.environ[{KEY_VARIABLE!r}])")
    assert (run_dir / "stdout.log").read_text(encoding="utf-8") == f"{KEY}\n"
    assert KEY not in str(outcome)
    assert KEY not in (run_dir / "spec.json").read_text(encoding="utf-8")
