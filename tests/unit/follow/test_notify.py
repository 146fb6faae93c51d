"""Who is told, and that no address is ever shown."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.follow import notify
from harness.follow.notify import Happening, Notice, notifier
from harness.installed import to_install
from harness.results.redact import redact_arguments

SECRET = "xoxb-T0KEN"
NOTICE = Notice(
    happening=Happening.FAILED,
    title="a34 cpu: \x1b[31mfailed\x1b[0m",
    body="x" * 9000,
    facts={"scenario": "a34", "exit": 3},
)


class Hook:
    """A web hook that keeps what it is sent."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.got: list[dict[str, Any]] = []
        hook = self

        class Catch(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.got.append(json.loads(self.rfile.read(length)))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Catch)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/{SECRET}?token={SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def test_a_hook_gets_the_message_as_chat_services_take_it(hook: Hook) -> None:
    assert notifier(hook.url).send(NOTICE) == ""
    (got,) = hook.got
    assert got["event"] == "failed"
    assert got["text"] == got["content"]
    assert got["text"].startswith("a34 cpu: failed\nxxx")
    assert len(got["text"]) < 2000
    assert (got["scenario"], got["exit"]) == ("a34", 3)


@pytest.mark.parametrize("way", ["env", "file"])
def test_an_address_may_be_kept_out_of_the_command_line(
    hook: Hook, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "hook"
    place.write_text(f"{hook.url}\n", encoding="utf-8")
    monkeypatch.setenv("MY_HOOK", hook.url)
    given = "env:MY_HOOK" if way == "env" else f"file:{place}"
    assert notifier(given).send(NOTICE) == ""
    assert len(hook.got) == 1


def test_what_goes_wrong_is_said_without_the_secret(hook: Hook) -> None:
    url = hook.url
    hook.close()
    refused = notifier(url).send(NOTICE)
    assert refused == "http://127.0.0.1 cannot be reached: URLError"
    hook.thread = threading.Thread(target=lambda: None)
    hook.thread.start()
    hook.server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # for the fixture to close
    threading.Thread(target=hook.server.serve_forever, daemon=True).start()


def test_a_hook_that_refuses_is_named_by_its_code_and_no_redirect_is_followed() -> None:
    elsewhere = Hook()
    asked = Hook(status=307, location=elsewhere.url)
    try:
        assert notifier(asked.url).send(NOTICE) == "http://127.0.0.1 answered 307"
        assert elsewhere.got == []
    finally:
        asked.close()
        elsewhere.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("env:NO_SUCH_VARIABLE", "the variable is not set"),
        ("file:/no/such/file", "the file cannot be read: FileNotFoundError"),
        (SECRET, "is no address"),
        (f"https:///{SECRET}", "is no address"),
        (f"http://[{SECRET}", "is no address"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_runs(given: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        notifier(given)
    assert SECRET not in str(refused.value)
    assert "--notify" in str(refused.value)


def test_an_address_of_apprise_names_the_extra_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=re.escape(to_install("notify"))) as refused:
        notifier(f"tgram://{SECRET}/1")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "arguments", [["--notify", f"https://x.example/{SECRET}"], [f"--notify=https://x/{SECRET}"]]
)
def test_no_recorded_command_line_has_the_address(arguments: list[str]) -> None:
    recorded = redact_arguments(["harness", "run", "a34", *arguments, "--seed", "3"])
    assert SECRET not in " ".join(recorded)
    assert recorded[-2:] == ("--seed", "3")
