"""The site: where a figure leads, what older harnesses published, and what is never overwritten."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.records import Profile, VerdictKind
from harness.report.answer import ClaimState
from harness.scenario.load import Loaded, load
from harness.session.selection import open_ledger
from harness.site.build import ScenarioPages, Site, everything, file_of
from harness.site.docs import doc_pages
from harness.site.folder import write_site
from harness.site.history import publications
from harness.site.published import PublishedProfile, published
from harness.site.trace import EventIndex, ledger_lines

NAME = "a24-derisk-cloud-pretraining"
CLAIMS = "id,metric,unit,claimed,recorded,derived,expected,measured,verdict,claim,detail,source"


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / NAME)


@pytest.fixture
def results(tmp_path: Path, loaded: Loaded) -> Path:
    """Results as an older harness published them: two claims, one cell, one run."""
    ledger = open_ledger(loaded)
    one, two = (entry.id for entry in ledger.expectations[:2])
    root = tmp_path / "results" / NAME
    run = root / "cpu" / "0123456789abcdef"
    run.mkdir(parents=True)
    (root / "cpu.ledger.csv").write_text(
        f"group,{CLAIMS}\n"
        f'x,{one},"savings (input=a, value=1.0)",USD,1,,2,2 ± 0 USD,'
        "'-2 USD,KNOWN_DIVERGENCE,,why,s\n"
        f"x,{two},gone,USD,1,,1,1,,NOT_COMPARABLE,,,s\n"
        "x,no.longer.a.claim,gone,USD,1,,1,1,,REPRODUCED,,,s\n"
    )
    (root / "cpu.cells.csv").write_text("profile,savings\ncpu,1234.56789\n")
    (root / "cpu.old-plot.svg").write_text('<?xml version="1.0"?>\n<svg width="1"></svg>\n')
    (run / "spec.json").write_text(
        '{"schema_version": 1, "params": {"p": 1}, "axes": ["p"], "seed": 3}'
    )
    (run / "outcome.json").write_text(
        '{"status": "finished", "device": "box", "started_at": "2026-05-01T10:00:00+00:00"}'
    )
    (run / "events.jsonl").write_text(
        '{"kind": "started", "at_s": 0, "payload": {"device": "box", "facts": {}}}\n'
        '{"kind": "measured", "at_s": 1, "payload": {"metric": "savings", "value": -2, '
        '"unit": "USD", "where": {"input": "a", "value": 1.0}}}\n'
        '{"kind": "measured", "at_s": 1, "payload": '
        '{"metric": "savings", "value": 9, "unit": "USD", "where": {"input": "b"}}}\n'
        "torn"
    )
    return tmp_path / "results"


@pytest.fixture
def older(loaded: Loaded, results: Path) -> PublishedProfile:
    (found,) = published(loaded, open_ledger(loaded), results)
    return found


def test_older_results_are_shown_as_they_were_judged(
    older: PublishedProfile, loaded: Loaded
) -> None:
    one, two = [*older.claims]
    assert older.claims[one].verdict.kind is VerdictKind.ARTICLE_DIFFERS
    assert older.claims[one].verdict.measured == "-2 USD"
    assert older.claims[two].verdict.kind is VerdictKind.OTHER_PROFILE
    assert "no.longer.a.claim" not in older.claims
    assert older.page.older is not None
    assert "Published by an older harness (schema 1)" in older.page.older.note
    added = len(open_ledger(loaded).expectations) - 2
    assert f"{added} claims came into the ledger since" in older.page.older.note
    assert older.page.older.cells.rows[0][0].text == "1234.57"
    assert [each.what for each in older.page.older.runs] == ["p=1, seed 3"]
    assert sorted(older.files) == ["cpu.cells.csv", "cpu.ledger.csv", "cpu.old-plot.svg"]


def test_a_word_that_is_no_verdict_is_named(loaded: Loaded, results: Path) -> None:
    path = results / NAME / "cpu.ledger.csv"
    path.write_text(path.read_text().replace("NOT_COMPARABLE", "PERHAPS"))
    with pytest.raises(InputError, match="PERHAPS"):
        published(loaded, open_ledger(loaded), results)


def test_a_figure_leads_to_the_events_that_carry_it(older: PublishedProfile) -> None:
    (claim, *_) = older.claims.values()
    (event,) = EventIndex(older.runs).of(claim)
    assert (event.run, event.number) == ("0123456789abcdef", 2)
    assert '"value": -2' in event.text


def test_a_figure_leads_to_its_line_of_the_ledger(project_root: Path) -> None:
    folder = project_root / "scenarios" / NAME
    lines = (folder / "expectations.yaml").read_text(encoding="utf-8").splitlines()
    for claim, line in ledger_lines(folder).items():
        assert re.search(rf"\bid: [\"']?{re.escape(claim)}\b", " ".join(lines[line - 1 : line + 1]))


def test_every_claim_and_run_has_a_page(older: PublishedProfile, loaded: Loaded) -> None:
    pages = ScenarioPages(loaded, [older])
    files = dict(everything(Site(made="by a test"), [pages], ()))
    claims = {f"a24/claims/{file_of(name)}.html" for name in older.claims}
    assert {"index.html", "a24/index.html", "a24/runs/0123456789abcdef.html"} | claims <= set(files)
    (one, _) = sorted(claims, key=[*files].index)
    text = str(files[one])
    for part in ("-2 USD", "../runs/0123456789abcdef.html", "line 2", "expectations.yaml, line"):
        assert part in text
    assert "harness run a24 --profile" in text
    assert str(files["search-index.js"]).startswith("globalThis.searchIndex=[")
    assert [each.state for each in pages.summaries] == [ClaimState.HOLDS, ClaimState.ELSEWHERE]


def test_no_two_claims_share_a_page(project_root: Path) -> None:
    for folder in sorted((project_root / "scenarios").glob("*/")):
        ids = [entry.id for entry in open_ledger(load(folder)).expectations]
        assert len({file_of(each) for each in ids}) == len(ids)


def test_a_site_replaces_a_site_and_nothing_else(
    tmp_path: Path, older: PublishedProfile, loaded: Loaded
) -> None:
    site, pages = Site(made=""), [ScenarioPages(loaded, [older])]
    out = tmp_path / "site"
    assert write_site(out, site, pages) > 5
    (out / "stale.html").write_text("")
    write_site(out, site, pages)
    assert not (out / "stale.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="would be lost"):
        write_site(mine, site, pages)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_what_was_published_before_is_read_from_git(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    file = tmp_path / "results" / "s" / "cpu.ledger.csv"
    file.parent.mkdir(parents=True)

    def git(*words: str) -> None:
        settings = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *settings, *words], check=True)  # noqa: S607

    git("init", "-q")
    for measured, verdict in (("1", "REPRODUCED"), ("1", "REPRODUCED"), ("2", "NOT_COMPARABLE")):
        note = len(list(file.parent.iterdir()))
        file.write_text(f"id,measured,verdict,note\na,{measured},{verdict},{note}{verdict}\n")
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "publish")
    found = publications(tmp_path, "s", (Profile.CPU, Profile.EVIDENCE))
    assert [(each.measured, each.verdict) for each in found["a"]] == [
        ("1", "REPRODUCED"),
        ("2", "NOT COMPARABLE"),
    ]
    assert publications(tmp_path / "results" / "s", "t", (Profile.CPU,)) == {}


def test_documents_become_pages_with_links_that_lead_somewhere(tmp_path: Path) -> None:
    (tmp_path / "docs" / "design").mkdir(parents=True)
    (tmp_path / "README.md").write_text(
        "# Top\n\n[a](docs/one.md#the-part) [b](results/a34-x/table.md) [c](harness/cli.py) "
        "[d](https://example.org)\n\n<script>alert(1)</script>\n\n![picture](x.png)\n"
    )
    (tmp_path / "docs" / "one.md").write_text(
        "# One\n\n## The `part`\n\n## The part\n\n[up](../README.md)\n"
    )
    (tmp_path / "docs" / "design" / "001-x.md").write_text("# Note\n\n|a|\n|-|\n|b|\n")
    top, one, note = doc_pages(tmp_path)
    assert (top.path, one.path, note.path) == (
        "docs/readme.html",
        "docs/one.html",
        "docs/design/001-x.html",
    )
    assert 'href="one.html#the-part"' in top.body
    assert 'href="../a34/index.html"' in top.body
    assert "cli.py" not in top.body
    assert 'rel="noreferrer"' in top.body
    assert "<script" not in top.body
    assert "<img" not in top.body
    assert one.headings == (("the-part", "The part"), ("the-part-1", "The part"))
    assert 'href="readme.html"' in one.body
    assert note.group == "Design notes"
    assert 'scope="col"' in note.body


def test_a_hostile_ledger_of_an_older_harness_is_text(loaded: Loaded, results: Path) -> None:
    path = results / NAME / "cpu.ledger.csv"
    attack = "<script>alert(1)</script>\x1b[2J"
    path.write_text(path.read_text().replace("-2 USD", attack))
    (found,) = published(loaded, open_ledger(loaded), results)
    files: dict[str, Any] = dict(everything(Site(made=""), [ScenarioPages(loaded, [found])], ()))
    for name, content in files.items():
        if name.endswith(".html"):
            assert "<script>alert" not in content, name
            assert "\x1b" not in content, name
