from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.records import Profile
from harness.report.splice import Marker, Shown, block, find_markers, splice, stale

from .conftest import MakeDossier, MakeRun

ARTICLE = """\
# Title

Before.

<!-- harness:a19 cells cpu -->
old
<!-- /harness -->

Between.

  <!--harness:a19-envelope   ledger spark-->
<!-- /harness -->
After, without a last newline"""

TABLE = "| a |\n|---|\n| 1 |\n"


@pytest.fixture
def article(tmp_path: Path) -> Path:
    path = tmp_path / "article.md"
    path.write_bytes(ARTICLE.encode())
    return path


def table(_: Marker) -> str:
    return TABLE


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        find_markers(path)
    return [str(problem) for problem in caught.value.problems]


def test_markers_name_scenario_table_and_profile(article: Path) -> None:
    first, second = find_markers(article)
    assert first == Marker(scenario="a19", shown=Shown.CELLS, profile=Profile.CPU, line=5, end=7)
    assert (second.scenario, second.shown, second.line) == ("a19-envelope", Shown.LEDGER, 11)


def test_tables_go_between_markers_and_the_rest_stays(article: Path) -> None:
    assert splice(article, table)
    assert article.read_text() == (
        "# Title\n\nBefore.\n\n<!-- harness:a19 cells cpu -->\n\n"
        f"{TABLE}\n<!-- /harness -->\n\nBetween.\n\n"
        f"  <!--harness:a19-envelope   ledger spark-->\n\n{TABLE}\n<!-- /harness -->\n"
        "After, without a last newline"
    )


def test_a_second_time_the_file_stays_untouched(article: Path) -> None:
    splice(article, table)
    os.utime(article, (1, 1))
    assert not splice(article, table)
    assert article.stat().st_mtime == 1
    assert stale(article, table) == ()


def test_a_shorter_table_leaves_nothing_of_the_longer(article: Path) -> None:
    splice(article, lambda _: TABLE * 3)
    splice(article, table)
    assert article.read_text().count("| 1 |") == 2


def test_stale_names_what_is_out_of_date_and_changes_nothing(article: Path) -> None:
    splice(article, table)
    before = article.read_bytes()
    out = stale(article, lambda marker: "new\n" if marker.shown is Shown.CELLS else TABLE)
    assert [marker.line for marker in out] == [5]
    assert article.read_bytes() == before


def test_blocks_of_others_are_left(article: Path) -> None:
    assert splice(article, lambda marker: TABLE if marker.scenario == "a19" else None)
    assert article.read_text().count("| 1 |") == 1


def test_line_ends_of_the_author_are_kept(article: Path) -> None:
    article.write_bytes(ARTICLE.replace("\n", "\r\n").encode())
    splice(article, table)
    text = article.read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n") == ARTICLE.count("\n") + 2 * 5 - 1


def test_a_link_is_followed(article: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.md"
    link.symlink_to(article)
    assert splice(link, table)
    assert link.is_symlink()
    assert "| 1 |" in article.read_text()


def test_markers_in_fenced_code_are_examples(article: Path) -> None:
    fenced = "````md\n```\n<!-- harness:a1 cells cpu -->\n````\n"
    article.write_text(fenced + ARTICLE)
    assert [marker.line for marker in find_markers(article)] == [9, 15]


WANTED = "harness:SCENARIO TABLE PROFILE, or /harness"
PROFILES = "cpu, cuda, evidence, spark"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<!-- harness:a1 cels cpu -->\n<!-- /harness -->\n",
            ":1: unknown table (got 'cels'; allowed: cells, ledger, rows; did you mean 'cells'?)",
        ),
        (
            "<!-- harness:a1 cells spar -->\n<!-- /harness -->\n",
            f":1: unknown profile (got 'spar'; allowed: {PROFILES}; did you mean 'spark'?)",
        ),
        (
            "\n<!-- harness:a1 cells cpu -->\n",
            ":2: marker is not closed (got 'a1 cells cpu'; allowed: <!-- /harness -->)",
        ),
        ("<!-- /harness -->\n", ":1: marker closes no marker (got '/harness')"),
        (
            "<!-- harness a1 cells cpu -->\n",
            f":1: marker is misspelt (got 'harness a1 cells cpu'; allowed: {WANTED})",
        ),
        (
            "<!-- harness:a1 cells -->\n<!-- /harness -->\n",
            f":1: marker is misspelt (got 'harness:a1 cells'; allowed: {WANTED})",
        ),
        ("no marker\n", f": has no marker (allowed: <!-- {WANTED} -->)"),
    ],
)
def test_mistakes_name_file_and_line(article: Path, text: str, expected: str) -> None:
    assert problems(article, text)[0] == f"{article}{expected}"


def test_all_mistakes_at_once_in_order(article: Path) -> None:
    pair = "<!-- harness:a1 cells cpu -->\n<!-- /harness -->\n"
    found = problems(
        article, f"{pair}{pair}<!-- /harness -->\n<!-- harness:a1 rows cpu -->\n{pair}"
    )
    assert [problem.removeprefix(f"{article}:")[:12] for problem in found] == [
        "3: marker is",  # twice
        "5: marker cl",  # closes no marker
        "6: marker is",  # not closed before the next
        "7: marker is",
    ]


def test_a_mistake_changes_nothing(article: Path) -> None:
    article.write_text(f"{ARTICLE}\n<!-- /harness -->\n")
    before = article.read_bytes()
    with pytest.raises(InputError):
        splice(article, table)
    assert article.read_bytes() == before


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.md"
    latin.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"latin\.md: is not UTF-8"):
        find_markers(latin)
    for path in (tmp_path, tmp_path / "absent.md"):
        with pytest.raises(InputError, match=r"cannot be read: "):
            find_markers(path)


def test_what_a_marker_stands_for(make_run: MakeRun, make_dossier: MakeDossier) -> None:
    dossier = make_dossier([make_run({"size": 2}, {"loss": 1.0})])
    cells = block(dossier, Shown.CELLS)
    assert cells.startswith("**A small question: cpu profile**\n\n|")
    assert "Device box; runtime local." in cells
    assert "REPRODUCED" in block(dossier, Shown.LEDGER)
    assert block(dossier, Shown.ROWS) == ""
