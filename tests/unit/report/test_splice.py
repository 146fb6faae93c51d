from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from harness.errors import InputError, Problem
from harness.records import Profile
from harness.report.markers import Marker, Shown, markers
from harness.report.splice import Excerpt, splice, stale

ARTICLE = """\
# Title

Before.

<!-- harness:a19 cells cpu -->
old
<!-- /harness -->

A sentence with <!-- harness:a19 figure loss.last .2f -->3.14<!-- /harness --> in it.

  <!--harness:a19-envelope   ledger spark-->
<!-- /harness -->
After, without a last newline"""

TABLE = "| a |\n|---|\n| 1 |\n"


@pytest.fixture
def article(tmp_path: Path) -> Path:
    path = tmp_path / "article.md"
    path.write_bytes(ARTICLE.encode())
    return path


def table(marker: Marker) -> Excerpt:
    return Excerpt(text="2.72" if marker.is_inline else TABLE)


def find(path: Path, text: str) -> tuple[Marker, ...]:
    return markers(path, text)


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        find(path, text)
    return [str(problem) for problem in caught.value.problems]


# --- markers --------------------------------------------------------------------------------------


def test_markers_name_scenario_what_and_profile(article: Path) -> None:
    first, second, third = find(article, ARTICLE)
    assert (first.scenario, first.shown, first.profile) == ("a19", Shown.CELLS, Profile.CPU)
    assert (second.name, second.format, second.line) == ("loss.last", ".2f", 9)
    assert (third.scenario, third.shown, third.line) == ("a19-envelope", Shown.LEDGER, 11)
    assert [ARTICLE[each.start : each.end] for each in (first, second)] == ["old\n", "3.14"]


def test_options_choose_columns_and_rows(article: Path) -> None:
    text = '<!-- harness:a1 cells cpu columns=a,b name="x y" size=1,2 -->\n<!-- /harness -->\n'
    (marker,) = find(article, text)
    assert marker.options["columns"] == "a,b"
    assert marker.rows == {"name": ("x y",), "size": ("1", "2")}


def test_myst_comments_are_lines(article: Path) -> None:
    text = "a\n% harness:a1 headline cpu\nold\n% /harness\n% a comment on the harness\n"
    (marker,) = find(article, text)
    assert (marker.shown, marker.line, text[marker.start : marker.end]) == ("headline", 2, "old\n")


@pytest.mark.parametrize(
    "example",
    [
        "````md\n```\n<!-- harness:a1 cells cpu -->\n````\n",
        "a `<!-- harness:a1 figure x -->` and ``a ` <!-- /harness -->`` in code\n",
        "a `span that\nends in the next line: <!-- /harness -->`\n",
        "~~~\n% harness:a1 cells cpu\n~~~\n",
    ],
)
def test_markers_in_code_are_examples(article: Path, example: str) -> None:
    assert [each.line for each in find(article, example + ARTICLE)] == [
        each + example.count("\n") for each in (5, 9, 11)
    ]


def test_a_lone_backtick_hides_no_marker(article: Path) -> None:
    assert len(find(article, f"a ` b\n\n``\n{ARTICLE}\n\\`")) == 3


def test_html_has_its_own_code(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = "<script>'<!-- harness:a1 figure x -->'</script>`<!-- harness:a1 figure x -->`"
    (marker,) = find(page, f"{text}<!-- /harness -->\n% harness:a1 nonsense\n")
    assert marker.start == len(text) - 1


PROFILES = "cpu, cuda, evidence, spark"
KINDS = "cells, errors, figure, headline, ledger, plot, rows"
WANTED = "harness:SCENARIO WHAT ..., or /harness"
OF = "claimed, derived, measured, recorded, true"
OF_CELLS = " (got 'harness:a1 cells cpu')"
FORMATS = "allowed: such as .1f, ,.0f, d, .3g, .2e, .1%"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a1 cels cpu", f"unknown thing to show (got 'cels'; allowed: {KINDS}; did you mean 'ce"),
        ("a1 cells spar", f"unknown profile (got 'spar'; allowed: {PROFILES}; did you mean 'spark"),
        ("a1 cells", "marker is misspelt (got 'harness:a1 cells'; allowed: harness:a1 cells PROF"),
        ("a1", f"marker is misspelt (got 'harness:a1'; allowed: {WANTED})"),
        ("a1 errors cpu", "marker is misspelt (got 'harness:a1 errors cpu'; allowed: harness:a1 e"),
        ("a1 plot x cpu paht=a.svg", "unknown option (got 'paht'; allowed: alt, path; did you me"),
        ("a1 figure x of=mesured", f"unknown number of a claim (got 'mesured'; allowed: {OF}; di"),
        ("a1 figure x .f", f"marker has no such format (got 'harness:a1 figure x .f'; {FORMATS}"),
        ("a1 figure x profile=gpu", f"unknown profile (got 'gpu'; allowed: {PROFILES}"),
        ('a1 cells cpu name="a', "marker has an open quotation (got 'harness:a1 cells cpu name="),
    ],
)
def test_a_misspelt_marker_says_what_is_allowed(article: Path, words: str, expected: str) -> None:
    text = f"\n<!-- harness:{words} -->\n<!-- /harness -->\n"
    assert problems(article, text)[0].startswith(f"{article}:2: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\n<!-- harness:a1 cells cpu -->\n",
            ":2: marker is not closed (got 'harness:a1 cells cpu'; allowed: <!-- /harness -->)",
        ),
        ("<!-- /harness -->\n", ":1: marker closes no marker (got '/harness')"),
        (
            "<!-- harness a1 cells cpu -->\n",
            f":1: marker is misspelt (got 'harness a1 cells cpu'; allowed: {WANTED})",
        ),
        (
            "a <!-- harness:a1 cells cpu -->\n<!-- /harness -->\n",
            ":1: marker stands inside a line; cells need lines of their own" + OF_CELLS,
        ),
        ("no marker\n", f": has no marker (allowed: <!-- {WANTED} -->)"),
    ],
)
def test_mistakes_name_file_and_line(article: Path, text: str, expected: str) -> None:
    assert problems(article, text) == [f"{article}{expected}"]


def test_all_mistakes_at_once_in_order_and_the_file_untouched(article: Path) -> None:
    pair = "<!-- harness:a1 cells cpu -->\n<!-- /harness -->\n"
    text = (
        f"{pair}<!-- /harness -->\n<!-- harness:a1 rows cpu -->\n{pair}"
        "<!-- harness:a1 figure x z --><!-- /harness -->\n<!-- harness:a1 errors\n"
    )
    article.write_text(text)
    with pytest.raises(InputError) as caught:
        splice(article, table)
    assert [(each.line, each.message) for each in caught.value.problems] == [
        (3, "marker closes no marker"),
        (4, "marker is not closed"),
        (7, "marker has no such format"),
        (8, "marker does not end on its line"),
    ]
    assert article.read_text() == text


def test_what_cannot_be_filled_is_told_at_once_too(article: Path) -> None:
    def none(marker: Marker) -> Excerpt:
        raise InputError([Problem(message=f"no {marker.shown}")])

    with pytest.raises(InputError) as caught:
        splice(article, none)
    assert [str(each) for each in caught.value.problems] == [
        f"{article}:5: no cells",
        f"{article}:9: no figure",
        f"{article}:11: no ledger",
    ]
    assert article.read_text() == ARTICLE


# --- filling --------------------------------------------------------------------------------------


def test_results_go_between_markers_and_the_rest_stays(article: Path) -> None:
    assert splice(article, table)
    assert article.read_text() == (
        "# Title\n\nBefore.\n\n<!-- harness:a19 cells cpu -->\n\n"
        f"{TABLE}\n<!-- /harness -->\n\n"
        "A sentence with <!-- harness:a19 figure loss.last .2f -->2.72<!-- /harness --> in it.\n\n"
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
    splice(article, lambda marker: Excerpt(text=table(marker).text * 3))
    splice(article, table)
    assert article.read_text().count("| 1 |") == 2


def test_blocks_of_others_are_left(article: Path) -> None:
    assert splice(article, lambda marker: table(marker) if marker.scenario == "a19" else None)
    assert article.read_text().count("| 1 |") == 1


def test_the_space_around_a_figure_is_the_authors(article: Path) -> None:
    article.write_text("<!-- harness:a1 figure x -->\n  1\n<!-- /harness -->")
    splice(article, table)
    assert article.read_text() == "<!-- harness:a1 figure x -->\n  2.72\n<!-- /harness -->"


def test_line_ends_of_the_author_are_kept(article: Path) -> None:
    article.write_bytes(ARTICLE.replace("\n", "\r\n").encode())
    splice(article, table)
    text = article.read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n") == ARTICLE.count("\n") + 2 * 5 - 1


def test_mode_link_and_hard_link_are_kept(article: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link.md", tmp_path / "other.md"
    link.symlink_to(article)
    other.hardlink_to(article)
    article.chmod(0o640)
    assert splice(link, table)
    assert link.is_symlink()
    assert article.stat().st_mode & 0o777 == 0o640
    assert article.samefile(other)
    assert "| 1 |" in other.read_text()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.md"
    latin.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"latin\.md: is not UTF-8"):
        splice(latin, table)
    for path in (tmp_path, tmp_path / "absent.md"):
        with pytest.raises(InputError, match=r"cannot be read: "):
            splice(path, table)


# --- a plot is a file beside it -------------------------------------------------------------------

PLOT = "<!-- harness:a1 plot curve cpu -->\n<!-- /harness -->\n"


def plot(_: Marker) -> Excerpt:
    svg = "<?xml?>\n<!-- harness:a1 plot curve -->\n<svg/>\n"
    return Excerpt(text="![curve](<img/a.svg>)\n", files={"img/a.svg": svg})


def test_a_plot_is_written_and_found_stale(article: Path) -> None:
    article.write_text(PLOT)
    assert splice(article, plot)
    drawn = article.parent / "img" / "a.svg"
    assert "<svg/>" in drawn.read_text()
    assert not splice(article, plot)
    drawn.write_text(drawn.read_text().replace("<svg/>", "<svg>x</svg>"))
    assert [(each.line, each.says) for each in stale(article, plot)] == [(1, "the file img/a.svg")]
    assert splice(article, plot)
    assert stale(article, plot) == ()


def test_a_file_of_the_author_is_never_replaced_by_a_plot(article: Path) -> None:
    article.write_text(PLOT)
    own = article.parent / "img" / "a.svg"
    own.parent.mkdir()
    own.write_text("<svg>mine</svg>")
    with pytest.raises(InputError, match=r":1: img/a.svg is there, and no plot of the harness"):
        splice(article, plot)
    assert (own.read_text(), article.read_text()) == ("<svg>mine</svg>", PLOT)


# --- stale ----------------------------------------------------------------------------------------


def long_article(chance: random.Random) -> tuple[str, dict[str, str]]:
    """Return 40 sentences of a figure each, a table of 30 rows, and the figures by their name."""
    true = {f"claim.{at}": f"{chance.uniform(0.01, 5000):,.2f}" for at in range(40)}
    sentences = [
        f"Sentence {at}: 17 of <!-- harness:a1 figure {name} -->{value}<!-- /harness --> %."
        for at, (name, value) in enumerate(true.items())
    ]
    rows = "".join(f"| row-{at} | {chance.uniform(0, 9):.3f} |\n" for at in range(30))
    true["cells"] = f"| key | loss |\n|:--|--:|\n{rows}"
    block = f"<!-- harness:a1 cells cpu -->\n\n{true['cells']}\n<!-- /harness -->"
    sentences.insert(chance.randrange(40), f"\n{block}\n")
    return "\n".join(sentences) + "\n", true


@pytest.mark.parametrize("seed", range(4))
def test_each_of_fifty_changed_numbers_is_found_with_its_line_and_the_true_value(
    seed: int, article: Path
) -> None:
    chance = random.Random(seed)  # noqa: S311 - which numbers change
    text, true = long_article(chance)
    article.write_text(text)

    def fill(marker: Marker) -> Excerpt:
        return Excerpt(text=true[marker.name or "cells"])

    assert stale(article, fill) == ()
    places = [*re.finditer(r"(?<=-->)[\d.,]+(?=<)|(?<=\d \| )[\d.]+(?= \|)", text)]
    assert len(places) == 70
    expected: list[tuple[int, str, str]] = []
    parts, at = [], 0
    for place in sorted(chance.sample(places, 50), key=lambda each: each.start()):
        digits = [index for index, each in enumerate(place[0]) if each.isdigit()]
        index = chance.choice(digits)
        other = chance.choice([each for each in "0123456789" if each != place[0][index]])
        changed = place[0][:index] + other + place[0][index + 1 :]
        parts += [text[at : place.start()], changed]
        at = place.end()
        expected.append((text.count("\n", 0, place.start()) + 1, changed, place[0]))
    mutated = "".join([*parts, text[at:]])
    article.write_text(mutated)
    found = stale(article, fill)
    assert [(each.line, each.says, each.true) for each in found] == expected
    assert article.read_text() == mutated
    splice(article, fill)
    assert article.read_text() == text


def test_a_row_too_many_is_found_where_it_stands(article: Path) -> None:
    splice(article, table)
    article.write_text(article.read_text().replace("| 1 |\n", "| 0 |\n| 1 |\n", 1))
    (found,) = stale(article, table)
    assert (found.line, found.says, found.true) == (9, "| 0 |", "| 1 |")
    assert str(found) == "9: says | 0 |, is | 1 | (harness:a19 cells cpu)"
