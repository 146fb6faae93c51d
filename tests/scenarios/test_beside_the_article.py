"""The page on articles does what it says: its articles are written, filled and compared."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.errors import ExitCode
from tests.contract.small import called
from tests.scenarios.test_tutorial import agrees

PAGE = "docs/beside-the-article.md"
SCENARIO = "a24-derisk-cloud-pretraining"
_BLOCK = re.compile(r"^```(markdown|myst|console|becomes)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """A project with one scenario, whose cpu profile is in its published results."""
    root = tmp_path_factory.mktemp("published")
    shutil.copytree(project_root / "scenarios" / SCENARIO, root / "scenarios" / SCENARIO)
    shutil.copytree(project_root / "containers", root / "containers")
    words = ("run", "a24", "--profile", "cpu", "--runtime", "local", "--quiet")
    done = called(root, *words, "--store", str(root / "results"))
    assert done.returncode == ExitCode.OK, done.stderr
    return root


def test_the_page_does_what_it_says(
    project: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    article = Path("article.md")
    kinds = []
    for kind, text in _BLOCK.findall((project_root / PAGE).read_text(encoding="utf-8")):
        kinds.append(kind)
        if kind in {"markdown", "myst"}:
            article.write_text(text, encoding="utf-8")
        elif kind == "becomes":
            assert agrees(text, article.read_text(encoding="utf-8")), article.read_text()
        else:
            for session in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, shown = session.partition("\n")
                assert agrees(shown, executed(project, line)), executed(project, line)
    assert kinds.count("becomes") >= 6


def executed(project: Path, line: str) -> str:
    """Return what a command prints, and its exit code where that is not 0."""
    program, *words = line.split()
    if program == "grep":
        pattern, path = re.fullmatch(r'grep -c "(.*)" (\S+)', line).groups()  # type: ignore[union-attr]
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return f"{sum(pattern in each for each in lines)}\n"
    assert program == "harness"
    done = called(project, *words)
    code = f"exit {int(done.returncode)}\n" if done.returncode else ""
    return done.stdout.decode() + done.stderr.decode() + code


def test_nothing_published_leaves_a_filled_article_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    article = Path("article.md")
    text = (
        "<!-- harness:a24 figure phase2.time .2f -->1.01<!-- /harness -->\n"
        "<!-- harness:a24 cells cpu -->\n\n| a table |\n\n<!-- /harness -->\n"
    )
    article.write_text(text, encoding="utf-8")
    for flags in ((), ("--stale",)):
        done = called(project, "report", "--splice", "article.md", "--store", "empty", *flags)
        assert done.returncode == ExitCode.USAGE
        assert done.stderr.decode().splitlines() == [
            f"harness report: article.md:1: no results of {SCENARIO} in empty",
            f"article.md:2: no results of {SCENARIO} cpu in empty",
        ]
    assert article.read_text(encoding="utf-8") == text


def test_a_page_is_filled_with_html(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = Path("page.html")
    page.write_text(
        "<p><!-- harness:a24 figure phase2.time .2f --><!-- /harness --> h</p>\n"
        "<!-- harness:a24 headline cpu -->\n<!-- /harness -->\n",
        encoding="utf-8",
    )
    assert called(project, "report", "--splice", "page.html").returncode == ExitCode.OK
    text = page.read_text(encoding="utf-8")
    assert "-->1.01<!-- /harness --> h</p>" in text
    assert text.count("<table>") == text.count("</table>") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("figure phase2.tme", "unknown claim or metric (got 'phase2.tme'; "),
        ("figure hourly.cost", "hourly.cost in cpu: "),
        ("figure phase2.time of=recorded", "phase2.time has no number of this kind (got of=rec"),
        ("figure phase2.time unit=GiB", "unknown unit of phase2.time (got 'GiB'; "),
        ("figure document.default .1f", "document.default is no number, and has no unit or format"),
        ("cells cpu columns=savigs", "unknown column (got 'savigs'; "),
        ("cells cpu h100_usd_per_hour=9", "unknown value of h100_usd_per_hour (got '9'; "),
        ("rows cpu", "there are no rows"),
        ("plot curve cpu", "unknown plot (got 'curve'; "),
        ("plot what-an-imperfect-search-saves cpu path=../a.svg", "no place for a plot (got '../a"),
        ("cells spark", f"no results of {SCENARIO} spark in "),
    ],
)
def test_what_a_marker_asks_for_in_vain(
    words: str, expected: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text(f"\n<!-- harness:a24 {words} -->\n<!-- /harness -->\n", "utf-8")
    done = called(project, "report", "--splice", "a.md")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.decode().startswith(f"harness report: a.md:2: {expected}")
