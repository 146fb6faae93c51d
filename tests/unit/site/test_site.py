"""The site: where a figure leads, what becomes of text, and what is never overwritten."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.records import Profile
from harness.results.store import RunStore
from harness.scenario.load import Loaded, load
from harness.session.selection import open_ledger
from harness.site.build import ScenarioPages, Site, everything, file_of
from harness.site.docs import doc_pages
from harness.site.folder import write_site
from harness.site.history import publications
from harness.site.profiles import ShownProfile, StoredRun, profiles_of
from harness.site.trace import EventIndex, ledger_lines

NAME = "a24-derisk-cloud-pretraining"


@pytest.fixture(scope="module")
def loaded(project_root: Path) -> Loaded:
    return load(project_root / "scenarios" / NAME)


@pytest.fixture(scope="module")
def profiles(project_root: Path, loaded: Loaded) -> tuple[ShownProfile, ...]:
    store = RunStore(project_root / "results")
    return profiles_of(loaded, open_ledger(loaded), store, is_published=True)


def test_a_figure_leads_to_the_events_that_carry_it(profiles: tuple[ShownProfile, ...]) -> None:
    for shown in profiles:
        index = EventIndex(shown.runs)
        for entry in shown.page.dossier.ledger.expectations:
            measured = shown.verdicts[entry.id].measured
            events = [json.loads(each.text) for each in index.of(entry)]
            assert bool(measured) <= bool(events), entry.id
            for event in events:
                assert event["metric"] == entry.metric
                assert event["where"].items() <= {**event["where"], **entry.where}.items()


def test_an_event_is_found_by_keys_that_are_no_text(
    tmp_path: Path, profiles: tuple[ShownProfile, ...]
) -> None:
    (tmp_path / "events.jsonl").write_text(
        '{"payload": {"metric": "loss", "where": {"cached": true}}, "kind": "measured"}\n'
        '{"payload": {"metric": "loss", "where": {"cached": false}}, "kind": "measured"}\n'
        '{"payload": {"metric": "loss", "where": {}}, "kind": "measured"}\n'
        'torn "measured"',
        encoding="utf-8",
    )
    shown, *_ = profiles
    run, entry = shown.runs[0].run, shown.page.dossier.ledger.expectations[0]
    run = replace(run, spec=replace(run.spec, params={"size": 2, "rate": 1e-3}))
    index = EventIndex([StoredRun(run=run, folder=tmp_path)])
    for number, cached in enumerate((True, False), 1):
        where = {"cached": cached, "size": 2, "rate": 1e-3}
        (found,) = index.of(entry.model_copy(update={"metric": "loss", "where": where}))
        assert found.number == number


def test_a_figure_leads_to_its_line_of_the_ledger(project_root: Path) -> None:
    folder = project_root / "scenarios" / NAME
    lines = (folder / "expectations.yaml").read_text(encoding="utf-8").splitlines()
    for claim, line in ledger_lines(folder).items():
        assert re.search(rf"\bid: [\"']?{re.escape(claim)}\b", " ".join(lines[line - 1 : line + 1]))


def test_every_claim_and_run_has_a_page(profiles: tuple[ShownProfile, ...], loaded: Loaded) -> None:
    pages = ScenarioPages(loaded, profiles)
    files = dict(everything(Site(made="by a test"), [pages], ()))
    claims = {f"a24/claims/{file_of(name)}.html" for shown in profiles for name in shown.verdicts}
    runs = {f"a24/runs/{run.id}.html" for shown in profiles for run in shown.runs}
    assert {"index.html", "a24/index.html"} | runs | claims <= set(files)
    text = str(files[f"a24/claims/{file_of('break_even.wrong_pick_rate')}.html"])
    for part in ("../runs/", "line ", "expectations.yaml, line", "harness run a24 --profile"):
        assert part in text
    assert str(files["search-index.js"]).startswith("globalThis.searchIndex=[")


def test_no_two_claims_share_a_page(project_root: Path) -> None:
    for folder in sorted((project_root / "scenarios").glob("*/")):
        ids = [entry.id for entry in open_ledger(load(folder)).expectations]
        assert len({file_of(each) for each in ids}) == len(ids)


def test_a_site_replaces_a_site_and_nothing_else(
    tmp_path: Path, profiles: tuple[ShownProfile, ...], loaded: Loaded
) -> None:
    site, pages = Site(made=""), [ScenarioPages(loaded, profiles)]
    out = tmp_path / "site"
    assert write_site(out, site, pages) > 5
    (out / "stale.html").write_text("")
    write_site(out, site, pages)
    assert not (out / "stale.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]
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


def test_what_a_run_says_is_text(profiles: tuple[ShownProfile, ...], loaded: Loaded) -> None:
    attack = "<script>alert(1)</script>\x1b[2J"
    shown, *_ = profiles
    hostile = tuple(
        replace(each, measured=attack, detail=attack) for each in shown.page.dossier.verdicts
    )
    dossier = replace(shown.page.dossier, verdicts=hostile)
    attacked = replace(
        shown,
        page=replace(shown.page, dossier=dossier),
        verdicts={each.expectation: each for each in hostile},
    )
    files: dict[str, Any] = dict(everything(Site(made=""), [ScenarioPages(loaded, [attacked])], ()))
    pages = [str(content) for name, content in files.items() if name.endswith(".html")]
    assert any("&lt;script&gt;alert" in page for page in pages)
    for page in pages:
        assert "<script>alert" not in page
        assert "\x1b" not in page
