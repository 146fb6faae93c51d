"""What is said where, and in which colour."""

from __future__ import annotations

import io

import pytest

from harness.session.console import Colour, Console, Verbosity, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (Verbosity.QUIET, ""),
        (Verbosity.NORMAL, "progress\n"),
        (Verbosity.VERBOSE, "progress\nreason\n"),
    ],
)
def test_progress_and_reasons_go_to_standard_error(
    verbosity: Verbosity, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(verbosity)
    console.say("progress")
    console.explain("reason")
    assert capsys.readouterr() == ("", expected)


def test_a_terminal_is_shown_colours() -> None:
    assert paint("ok", Colour.GREEN, Terminal()) == "\x1b[32mok\x1b[0m"


def test_what_is_no_terminal_is_not() -> None:
    assert paint("ok", Colour.GREEN, io.StringIO()) == "ok"


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [("NO_COLOR", "1", True), ("NO_COLOR", "", False), ("TERM", "dumb", True)],
)
def test_no_color_is_honoured(
    name: str, value: str, *, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)  # an empty NO_COLOR does not count: no-color.org
    assert (paint("ok", Colour.GREEN, Terminal()) == "ok") is plain
