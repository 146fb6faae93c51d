"""The page: small, complete, only for this machine, and harmless whatever a run wrote."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from urllib.parse import urlsplit

import pytest

from harness.follow.data import MOST_POINTS, document, phases, thinned
from harness.follow.find import Followed, RunState, at_work
from harness.follow.server import PageServer
from harness.follow.watching import Watched
from harness.results.store import RunStore
from tests.unit.follow.conftest import MakeRun, eighteen_hours, line, spec

HOSTILE = "<script>alert(1)</script>\x1b[2J</pre>\u202e"


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer(lambda run: {"run": run, "text": HOSTILE}) as serving:
        yield serving


def ask(server: PageServer, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(str(urlsplit(server.url).netloc), timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_eighteen_hours_become_a_small_document(store: RunStore, begin: MakeRun) -> None:
    folder = begin()
    eighteen_hours(folder)
    (run,) = at_work(store)
    watched = Watched(run, store)
    shown = document(watched, watched.look(), store, [])
    assert len(json.dumps(shown)) < 200_000
    points = [point for part in shown["curves"][0]["parts"] for point in part["points"]]
    assert len(points) <= 2 * MOST_POINTS
    assert max(y for _, y in points) == 99.0, "a spike of one line in ten thousand is still there"
    (memory,) = shown["machine"]
    assert len(memory["points"]) <= MOST_POINTS + 2
    assert memory["points"][-1][0] == 18 * 3600 - 1, "a torn last sample is left out"
    assert [each["name"] for each in shown["phases"]] == [f"train {number}" for number in range(5)]


def test_a_phase_lasts_until_the_next_one(store: RunStore, begin: MakeRun) -> None:
    begin(
        spec(),
        [line(0, "write"), line(30, "train", 0, 2), line(90, "train", 2, 2), line(95, "end")],
    )
    (run,) = at_work(store)
    watched = Watched(run, store)
    watched.look()
    took = {each["name"]: each["took_s"] for each in phases(watched.progress)}
    assert took == {"write": 30.0, "train": 65.0, "end": 0.0}


def test_thinning_keeps_ends_and_extremes() -> None:
    points = [(float(x), float(x % 7)) for x in range(10_000)]
    points[5000] = (5000.0, -50.0)
    kept = thinned(points, 600)
    assert len(kept) <= 600
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert (5000.0, -50.0) in kept
    assert thinned(points[:5], 600) == points[:5]


def test_a_run_that_is_not_there_yet_has_a_document(store: RunStore) -> None:
    run = Followed(spec=spec(), folder=store.root / "nowhere", state=RunState.LEFT)
    watched = Watched(run, store)
    shown = document(watched, watched.look("left"), store, [run])
    assert shown["curves"] == shown["machine"] == shown["log"] == []
    json.dumps(shown, allow_nan=False)


def test_logs_are_printable_text(store: RunStore, begin: MakeRun) -> None:
    folder = begin()
    (folder / "stderr.log").write_text(f"one\n{HOSTILE}\n", encoding="utf-8")
    (run,) = at_work(store)
    watched = Watched(run, store)
    log = document(watched, watched.look(), store, [])["log"]
    assert log[0] == "one"
    assert all(each.isprintable() for each in log)


def test_the_page_is_served_with_a_policy_that_lets_no_other_script_run(
    server: PageServer,
) -> None:
    status, headers, page = ask(server, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)
    assert nonce is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script([^>]*)>", page) == [f' nonce="{nonce.group(1)}"']
    assert ask(server, "/")[1]["Content-Security-Policy"] != policy, "a nonce is used once"
    assert headers["Cache-Control"] == "no-store"


def test_the_page_has_no_outside_address_and_sets_no_markup() -> None:
    page = files("harness.follow").joinpath("page.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in page
    assert not re.search(r"\son\w+=", page), "no handler in an attribute"
    assert len(page) < 30_000


def test_the_document_is_json_whatever_it_holds(server: PageServer) -> None:
    status, headers, text = ask(server, "/run.json?run=abc")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(text) == {"run": "abc", "text": HOSTILE}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_page_that_was_rebound_to_this_machine_reads_nothing(
    server: PageServer, host: str
) -> None:
    status, _, text = ask(server, "/run.json", Host=host)
    assert status == 403
    assert "run" not in text


def test_it_listens_on_loopback_only(server: PageServer) -> None:
    assert urlsplit(server.url).hostname == "127.0.0.1"
    assert ask(server, "/../../etc/passwd")[0] == 404
    assert ask(server, "/favicon.ico")[0] == 404
