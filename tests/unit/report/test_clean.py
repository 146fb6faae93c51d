from __future__ import annotations

import pytest

from harness.report import clean


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://example.org\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("\x1bP never ended", ""),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("over\u202ewritten", "over\ufffdwritten"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("bell\x07 null\x00 back\x08", "bell\ufffd null\ufffd back\ufffd"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("  café ± 東京 ", "café ± 東京"),
    ],
)
def test_plain_text_has_nothing_that_a_terminal_obeys(hostile: str, harmless: str) -> None:
    assert clean.plain(hostile) == harmless


def test_a_log_line_keeps_its_indentation() -> None:
    assert clean.printable('  File "a.py"\x1b[0m') == '  File "a.py"'


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a|b", r"a\|b"),
        ("`code`", r"\`code\`"),
        ("[link](https://x)", r"\[link\](https://x)"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("<!-- /harness -->", "&lt;\\!-- /harness --&gt;"),
        ("**bold** ~~gone~~ $x$", r"\*\*bold\*\* \~\~gone\~\~ \$x\$"),
        ("step_time.mean_ms", "step_time.mean_ms"),
        ("_slanted_", r"\_slanted\_"),
        ("{{ variable }}", "&#123;&#123; variable &#125;&#125;"),
        ("back\\slash|", r"back\\slash\|"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, quoted: str) -> None:
    assert clean.markdown(text) == quoted


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("# head", r"\# head"), ("1. item", r"1\. item"), ("- item", r"\- item"), ("ok", "ok")],
)
def test_the_start_of_a_markdown_line(text: str, quoted: str) -> None:
    assert clean.markdown_line(text) == quoted


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r@", " =", "\uff1d", "\x1b[0m="])
def test_no_spreadsheet_formula(start: str) -> None:
    text = clean.csv_text(f"{start}cmd|' /C calc'!A0")
    assert text[0] == "'"


def test_ordinary_csv_text_stays() -> None:
    assert clean.csv_text("batch_size=8, step 3") == "batch_size=8, step 3"
