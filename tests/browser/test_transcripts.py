"""Rollouts in a real browser: what a model wrote is text, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.site.build import Site
from harness.site.transcripts import read_log

ATTACK = (
    "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
    "</pre></details><h1>owned</h1><a href='javascript:owned()'>click</a>{{ 7 * 7 }}"
    "<meta http-equiv='refresh' content='0;url=https://example.org'>\x1b[2J\u202e\x00"
)


def test_what_a_model_wrote_does_nothing(
    tmp_path: Path, serve: Callable[[Path], str], page: Any
) -> None:
    rollout = {
        "task_id": ATTACK,
        "policy": ATTACK,
        "sample": 0,
        "stop_reason": ATTACK,
        "reward": 0.5,
        "error": ATTACK,
        "episode": {
            "turns": [
                {
                    "response": ATTACK + "x" * 2_000_000,
                    "action": {"kind": "command", "command": ATTACK},
                    "observation": {"exit_code": 0, "stdout": ATTACK, "stderr": ATTACK},
                }
            ],
            "grade": {"results": [{"kind": ATTACK, "path": ATTACK, "passed": False}]},
        },
    }
    log = tmp_path / "rollouts.jsonl"
    log.write_text(json.dumps(rollout) + "\n", encoding="utf-8")
    shown = read_log(log, ATTACK, "run")
    site = Site(made="", navigation=(), has_search=False)
    text = site.page("rollouts.html", "site-transcripts.html.j2", "Rollouts", log=shown)
    (tmp_path / "site.css").write_text("")
    (tmp_path / "search.js").write_text("")
    (tmp_path / "rollouts.html").write_text(text, encoding="utf-8")
    page.goto(serve(tmp_path) + "rollouts.html")
    page.locator("summary").click()
    assert page.evaluate("window.owned") is None
    assert page.locator("h1").count() == 1
    assert page.locator("main img, main a, main script").count() == 0
    assert "<script>window.owned = 1</script>" in page.locator("pre").first.inner_text()
    assert page.faults == []
    assert len(text) < 100_000
