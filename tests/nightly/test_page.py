"""``docs/nightly.md`` leads its reader from nothing to an alarm: its commands are typed here."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.history.rows import append_rows, read_rows

_STEP = re.compile(
    r"^```console\n(?P<console>.*?)^```$|^```sh\n# (?P<file>\S+)\n(?P<text>.*?)^```$"
    r"|^<!-- (?P<event>(?:25 nights|a commit).*?) -->$",
    re.DOTALL | re.MULTILINE,
)
_HOOK = "https://hooks.example/services/T0/B0/secret"


def test_the_page_leads_from_nothing_to_an_alarm(tmp_path: Path, project_root: Path) -> None:
    copy = _checkout(project_root, tmp_path / "project")
    typed = 0
    with _hook() as (address, told):
        shell = _Shell(copy, tmp_path, address)
        for step in _STEP.finditer((project_root / "docs" / "nightly.md").read_text("utf-8")):
            if step["file"]:
                (copy / step["file"]).write_text(step["text"], encoding="utf-8")
            elif step["event"]:
                _happen(step["event"], copy, tmp_path)
            else:
                for part in re.split(r"^\$ ", step["console"], flags=re.MULTILINE)[1:]:
                    line, _, shown = part.partition("\n")
                    printed = shell.type(line)
                    assert _agrees(shown, printed), f"$ {line}\n{printed}"
                    typed += 1
    assert typed >= 14
    # one alarm, told once, with nothing of the address in it
    assert [each["event"] for each in told] == ["regressed"]
    assert "first bad commit" in told[0]["text"]
    assert (copy / "regress.xml").read_text("utf-8").count("<failure") == 2
    summary = (copy / "summary.md").read_text("utf-8")
    assert "REGRESSED, known" in summary
    assert "secret" not in summary
    page = (copy / "history.html").read_text("utf-8")
    assert page.count("<circle") >= 25
    assert len((copy / "history.csv").read_text("utf-8").splitlines()) > 27


def _happen(event: str, copy: Path, home: Path) -> None:
    if event == "25 nights pass":
        (path,) = (home / "spark-history").rglob("spark.jsonl")
        last, draw = read_rows(path).nights[-1], random.Random(0)  # noqa: S311 - noise
        for at in range(1, 26):
            time = datetime.fromisoformat(last.time) + timedelta(days=at)
            speed = 1 + draw.gauss(0, 0.005)
            figures = [
                replace(each, value=each.value * (speed if "token" in each.unit else 1 / speed))
                if each.metric in {"tokens_per_second", "step_time.mean"}
                else each
                for each in last.figures
            ]
            night = replace(
                last,
                id=f"{at:012x}",
                time=time.isoformat(),
                figures=tuple(figures),
                source=f"{at:064x}",
            )
            append_rows(path, [night])
    elif event == "a commit makes it slower by 4 %":
        _commit(copy, "Mend a comment")
        (copy / "SLOW").write_text("4", encoding="utf-8")
        train = copy / "harness" / "workloads" / "training" / "loop.py"
        train.write_text(train.read_text("utf-8") + "# more work\n", encoding="utf-8")
        _commit(copy, "Do more work")
    else:
        raise AssertionError(event)


class _Shell:
    """A shell that keeps its variables from one command to the next."""

    def __init__(self, folder: Path, home: Path, hook: str) -> None:
        self._folder, self._hook = folder, hook
        self._state = home / "variables"
        self._state.write_text("", encoding="utf-8")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HARNESS_", "PYTHON", "COLUMNS"))
        }
        # a program of that name, so that scripts find it too
        (home / "bin").mkdir()
        program = home / "bin" / "harness"
        text = f'#!/bin/sh\nexec "{sys.executable}" -m tests.nightly.gb10 "$@"\n'
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        self._environ = {
            **kept,
            "PATH": f"{home / 'bin'}:{kept['PATH']}",
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "PYTHONPATH": str(folder),
        }

    def type(self, line: str) -> str:
        """Return what a command prints."""
        line = line.replace(_HOOK, self._hook)
        script = f". {self._state}\n{line}\nexport -p > {self._state}\n"
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            encoding="utf-8",
            timeout=1800,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout or _said(done.stderr)


def _said(stderr: str) -> str:
    """Return what a page may show of standard error: that a file was written."""
    return "".join(f"{line}\n" for line in stderr.splitlines() if line.startswith("written"))


def _agrees(shown: str, printed: str) -> bool:
    """Say whether output is what the page shows of it; empty lines aside."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    pattern = ""
    for line in shown.splitlines():
        if line == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += (
                r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"
            )
    text = "".join(f"{line}\n" for line in lines)
    return re.fullmatch(pattern + r"(?:[^\n]*\n)*" * shown.endswith("...\n"), text) is not None


def _checkout(project: Path, copy: Path) -> Path:
    unwanted = shutil.ignore_patterns("__pycache__", "local", "checkpoints")
    for folder in ("harness", "containers", "tests/nightly"):
        shutil.copytree(project / folder, copy / folder, ignore=unwanted)
    (scenario,) = (project / "scenarios").glob("a19-*")
    shutil.copytree(scenario, copy / "scenarios" / scenario.name)
    (copy / ".gitignore").write_text(
        "__pycache__/\n/results/local/\n*.txt\n*.xml\n*.md\n*.html\n*.csv\n*.sh\n", "utf-8"
    )
    subprocess.run(["git", "init", "--quiet", str(copy)], check=True)  # noqa: S607 - the user's git
    _commit(copy, "Begin")
    return copy


def _commit(copy: Path, subject: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    for words in (("add", "--all"), ("commit", "--quiet", "--allow-empty", "--message", subject)):
        command = ["git", "-C", str(copy), *identity, *words]
        subprocess.run(command, check=True)


@contextmanager
def _hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/secret", told
        finally:
            server.shutdown()
            thread.join()
