"""The pages of the site, as a folder that any web server, or a browser by itself, can show.

    index ──▶ article ──▶ figure ──▶ run ──▶ events
                 └──▶ rollouts (of a store on this machine)

Every page is a function of the scenarios, their ledgers and stored results. No page fetches
anything from elsewhere; the only script is the search.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import __version__
from harness.records import Profile, VerdictKind, record, to_json
from harness.report import facts
from harness.report.answer import (
    ClaimState,
    ClaimSummary,
    Clause,
    answer_clauses,
    claim_summaries,
)
from harness.report.cells import spoken
from harness.report.figures import figure, printed, shortened
from harness.report.html import fill, template_text
from harness.report.page import (
    STATE_CLASS,
    Links,
    claim_row,
    error_rows,
    page_values,
    run_line,
)
from harness.report.palette import DARK, LIGHT
from harness.scenario.expectations import ArithmeticEntry, Entry
from harness.scenario.folders import EXPECTATIONS_FILE, SCENARIO_FILE
from harness.scenario.load import Loaded
from harness.scenario.schema import ScenarioStatus
from harness.site.docs import DocPage
from harness.site.history import Publication
from harness.site.profiles import RUN_FILES, ShownProfile, StoredRun
from harness.site.trace import MOST_EVENTS, EventIndex, EventLine, ledger_lines
from harness.site.transcripts import TranscriptLog
from harness.units import counted
from harness.workloads.api.emit import EVENTS_FILE

_NAME = re.compile(r"[A-Za-z_]\w*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")
_MOST_RUNS = 12  # of a profile, named beside a figure
_NAVIGATION = (
    ("Articles", "index.html"),
    ("Errors", "errors.html"),
    ("Method", "docs/method.html"),
    ("Glossary", "docs/glossary.html"),
    ("Documentation", "docs/readme.html"),
)
OF_ONE = (("Article", "index.html"), ("Errors", "errors.html"))
"""The navigation of a site without documentation."""


@record
class Site:
    """What all pages of a site have in common.

    Attributes:
        made: a line at the end of each page: what it was made from.
    """

    made: str
    navigation: tuple[tuple[str, str], ...] = _NAVIGATION
    has_search: bool = True

    def page(self, path: str, template: str, title: str, **values: Any) -> str:
        """Return the page at `path` of the site."""
        root = "../" * path.count("/")
        own = {"root": root, "path": path, "title": title, "trail": (), **values}
        return fill(
            template,
            made=self.made,
            navigation=self.navigation,
            has_search=self.has_search,
            **own,
        )


class ScenarioPages:
    """The pages of one scenario.

    Args:
        loaded: the scenario.
        profiles: with results; the first answers.
        logs: rollouts to show, if any.
        history: of each claim, what was published of it.
    """

    def __init__(
        self,
        loaded: Loaded,
        profiles: Sequence[ShownProfile],
        logs: Sequence[TranscriptLog] = (),
        history: Mapping[str, Sequence[Publication]] | None = None,
    ) -> None:
        self.scenario, self.folder = loaded.scenario, loaded.folder
        self.profiles, self.logs, self._history = tuple(profiles), tuple(logs), history or {}
        self.short = self.scenario.scenario.partition("-")[0]

    @cached_property
    def summaries(self) -> list[ClaimSummary]:
        """Each claim once."""
        return claim_summaries([each.page.dossier for each in self.profiles])

    @cached_property
    def errors(self) -> list[dict[str, str]]:
        """The article's errors."""
        return [{**each, "file": file_of(each["id"])} for each in error_rows(self.summaries)]

    @property
    def place(self) -> str:
        """The path of its page; empty where it has none."""
        return f"{self.short}/index.html" if self.profiles else ""

    @property
    def eyebrow(self) -> str:
        """Which article it is of."""
        article = self.scenario.article
        number = f"Article {article.number}" if article.number else "Announced article"
        return f"{number}: {article.title}" + (f" ({article.date})" if article.date else "")

    @property
    def answer(self) -> list[Clause]:
        """The clauses of the answer that say something."""
        if not self.profiles:
            return []
        clauses, _ = answer_clauses([each.page.dossier for each in self.profiles], self.summaries)
        return clauses[:2]

    @property
    def state(self) -> str:
        """Which profiles have results, and of when."""
        if not self.profiles:
            return "no results are published yet"
        parts = []
        for each in self.profiles:
            day = max((run.run.outcome.started_at[:10] for run in each.runs), default="")
            of = f" ({day})" if day else ""
            parts.append(f"{each.profile}: {counted(len(each.runs), 'run')}{of}")
        planned = self.scenario.status is not ScenarioStatus.PUBLISHED
        return "; ".join([*(["the article is not written yet"] if planned else []), *parts])

    @property
    def counts(self) -> list[tuple[str, str, str]]:
        """How many claims came to what: class, text and place."""
        found = []
        for state in (ClaimState.FAILS, ClaimState.HOLDS, ClaimState.UNDECIDED, ClaimState.SPARK):
            if number := sum(each.state is state for each in self.summaries):
                kind = STATE_CLASS.get(state, "calm")
                found.append((kind, _counted(number, state), f"{self.short}/index.html#claims"))
        if self.errors:
            text = counted(len(self.errors), "article error")
            found.append(("calm", text, f"{self.short}/index.html#errors"))
        return found

    def files(self, site: Site) -> Iterator[tuple[str, str | bytes | Path]]:
        """Yield path -> content of everything below this scenario's folder."""
        if not self.profiles:
            return
        short = self.short
        yield f"{short}/index.html", self._scenario_page(site)
        for profile in self.profiles:
            for name, content in profile.files.items():
                yield f"{short}/files/{name}", content
        index = {each.profile: EventIndex(each.runs) for each in self.profiles}
        lines = ledger_lines(self.folder)
        for summary in self.summaries:
            path = f"{short}/claims/{file_of(summary.entry.id)}.html"
            yield path, self._claim_page(site, path, summary, index, lines)
        for profile in self.profiles:
            for run in profile.runs:
                path = f"{short}/runs/{run.id}.html"
                yield path, self._run_page(site, path, run)
                for name in RUN_FILES:
                    if (run.folder / name).is_file():
                        yield f"{short}/runs/{run.id}/{name}", run.folder / name
        yield from self._rollouts(site)
        yield from self._sources(site)

    def _rollouts(self, site: Site) -> Iterator[tuple[str, str]]:
        for number, log in enumerate(self.logs):
            path, title = f"{self.short}/rollouts/{number}.html", f"Rollouts of {log.step}"
            trail = self._trail(f"rollouts of {log.step}")
            yield path, site.page(path, "site-transcripts.html.j2", title, log=log, trail=trail)

    def _sources(self, site: Site) -> Iterator[tuple[str, str]]:
        for name in (SCENARIO_FILE, EXPECTATIONS_FILE):
            path = f"{self.short}/{name.replace('.yaml', '.html')}"
            values = {
                "file": f"scenarios/{self.scenario.scenario}/{name}",
                "source": (self.folder / name).read_text(encoding="utf-8").splitlines(),
                "trail": self._trail(name),
            }
            title = f"{self.scenario.scenario}: {name}"
            yield path, site.page(path, "site-source.html.j2", title, **values)

    def entries(self) -> Iterator[tuple[str, str, str]]:
        """Yield what can be searched for: title, place, and what it is with further words."""
        if not self.profiles:
            return
        yield self.scenario.title, self.place, f"{self.eyebrow}, {self.scenario.scenario}"
        says = self._says
        for each in self.summaries:
            row = claim_row(each)
            numbers = " ".join(dict.fromkeys(filter(None, (row.claimed, row.truth, row.unit))))
            words = f"claim of {self.short}: {says.get(row.id, row.what)} {numbers}"
            yield row.id, f"{self.short}/claims/{file_of(row.id)}.html", words
        for profile in self.profiles:
            for run in profile.runs:
                yield run.id, f"{self.short}/runs/{run.id}.html", f"run of {self.short}"

    # --- pages ------------------------------------------------------------------------------------

    def _scenario_page(self, site: Site) -> str:
        links = Links(
            claim=lambda name: f"claims/{file_of(name)}.html",
            run=lambda name: f"runs/{name}.html",
            files=self._file_link,
        )
        names = [name for each in self.profiles for name in each.files]
        downloads = [(name, f"files/{name}") for name in names]
        downloads += [
            (name, name.replace(".yaml", ".html")) for name in (SCENARIO_FILE, EXPECTATIONS_FILE)
        ]
        downloads += [
            (f"rollouts of {log.step}, run {log.run}", f"rollouts/{number}.html")
            for number, log in enumerate(self.logs)
        ]
        return site.page(
            f"{self.short}/index.html",
            "site-scenario.html.j2",
            self.scenario.title,
            downloads=downloads,
            trail=self._trail(),
            **page_values([each.page for each in self.profiles], links),
        )

    def _file_link(self, name: str) -> str:
        return f"files/{name}" if any(name in each.files for each in self.profiles) else ""

    def _trail(self, here: str = "") -> list[tuple[str, str]]:
        trail = [("Articles", "index.html"), (self.short, self.place if here else "")]
        return [*trail, (here, "")] if here else trail

    @cached_property
    def _says(self) -> dict[str, str]:
        headline = self.scenario.headline
        return {part.claim: part.says for part in headline.answer} if headline else {}

    def _claim_page(
        self,
        site: Site,
        path: str,
        summary: ClaimSummary,
        index: Mapping[Profile, EventIndex],
        lines: Mapping[str, int],
    ) -> str:
        entry = summary.entry
        results, events = [], []
        for profile in self.profiles:
            if (verdict := profile.verdicts.get(entry.id)) is None:
                continue
            own = index[profile.profile].of(entry)
            events += own
            carrying = dict.fromkeys(event.run for event in own)
            judged = verdict.kind is not VerdictKind.OTHER_PROFILE
            runs = [*carrying] or ([run.id for run in profile.runs] if judged else [])
            results.append(
                {
                    "profile": profile.profile,
                    "expected": shortened(verdict.expected),
                    "measured": shortened(verdict.measured),
                    "verdict": verdict.kind,
                    "detail": verdict.detail,
                    "runs": [(run, f"../runs/{run}.html") for run in runs[:_MOST_RUNS]],
                    "more_runs": max(0, len(runs) - _MOST_RUNS),
                }
            )
        metrics = self.profiles[0].page.dossier.metrics
        row = claim_row(summary)
        formula = entry.formula if isinstance(entry, ArithmeticEntry) else ""
        line = lines.get(entry.id)
        place = f"../{EXPECTATIONS_FILE.replace('.yaml', '.html')}"
        file = f"scenarios/{self.scenario.scenario}/{EXPECTATIONS_FILE}"
        return site.page(
            path,
            "site-claim.html.j2",
            f"{entry.id}: {self.scenario.title}",
            eyebrow=self.eyebrow,
            row=row,
            entry=entry,
            says=self._says.get(entry.id, ""),
            doc=metrics[entry.metric].doc if entry.metric in metrics else "",
            kind=STATE_CLASS.get(summary.state, "calm"),
            state=summary.state.of_one,
            recorded=_figure(entry, "recorded"),
            derived=_figure(entry, "derived"),
            formula=formula,
            inputs=self._inputs(formula),
            source_place=f"{place}#L{line}" if line else place,
            source_text=f"{file}, line {line}" if line else file,
            results=results,
            events=[(event, _event_place(event)) for event in events[:MOST_EVENTS]],
            more_events=max(0, len(events) - MOST_EVENTS),
            history=self._history.get(entry.id, ()),
            scenario_place="../index.html",
            commands=self._commands(summary.profile),
            trail=self._trail(entry.id),
        )

    def _inputs(self, formula: str) -> dict[str, str]:
        """Return the printed numbers that a formula starts from: name -> value, unit and source."""
        given = self.profiles[0].page.dossier.ledger.given
        said = {}
        for name in _NAME.findall(formula):
            if number := given.get(name):
                words = (figure(number.value), spoken(number.unit), f"({number.source})")
                said[name] = " ".join(filter(None, words))
        return said

    def _run_page(self, site: Site, path: str, run: StoredRun) -> str:
        stored = [name for name in RUN_FILES if (run.folder / name).is_file()]
        files = [
            (name, f"{run.id}/{name}", _size((run.folder / name).stat().st_size)) for name in stored
        ]
        groups = [
            ("Decided before it ran", facts.flatten(to_json(run.run.spec)).items()),
            ("How it ended", facts.flatten(to_json(run.run.outcome)).items()),
            ("Where it ran", facts.flatten(run.run.environment).items()),
        ]
        return site.page(
            path,
            "site-run.html.j2",
            f"Run {run.id}: {self.scenario.title}",
            eyebrow=self.eyebrow,
            run=run_line(run.run),
            profile=run.run.spec.profile,
            files=files,
            logs=[
                (f"rollouts of {log.step}", f"../rollouts/{number}.html")
                for number, log in enumerate(self.logs)
                if log.run == run.id
            ],
            groups=[(title, found) for title, found in groups if found],
            commands=self._commands(run.run.spec.profile),
            trail=self._trail(f"run {run.id}"),
        )

    def _commands(self, profile: Profile) -> str:
        estimate = self.scenario.profiles[profile].estimate
        about = f"  # about {estimate.hours:g} h" if estimate else ""
        return (
            f"harness run {self.short} --profile {profile}{about}\n"
            f"harness check {self.short} --profile {profile}\n"
            f"harness open {self.short}"
        )


# --- the folder -----------------------------------------------------------------------------------


def everything(
    site: Site, scenarios: Sequence[ScenarioPages], docs: Sequence[DocPage]
) -> Iterator[tuple[str, str | bytes | Path]]:
    """Yield path -> content of every file of a site."""
    yield "site.css", fill("site.css.j2", light=LIGHT, dark=DARK)
    yield "search.js", template_text("search.js")
    index: list[tuple[str, str, str]] = []
    for each in scenarios:
        yield from each.files(site)
        index += each.entries()
    totals = _totals(scenarios)
    yield (
        "index.html",
        site.page(
            "index.html",
            "site-index.html.j2",
            "Articles",
            articles=scenarios_of(scenarios),
            totals=totals,
        ),
    )
    num_errors = sum(len(each.errors) for each in scenarios)
    yield (
        "errors.html",
        site.page(
            "errors.html",
            "site-errors.html.j2",
            "Errors in the articles",
            articles=scenarios_of(scenarios),
            total=num_errors,
        ),
    )
    groups: dict[str, list[DocPage]] = {}
    for page in docs:
        groups.setdefault(page.group, []).append(page)
        index.append((page.title, page.path, page.group))
        index += [(text, f"{page.path}#{name}", page.title) for name, text in page.headings]
    for page in docs:
        yield (
            page.path,
            site.page(
                page.path, "site-doc.html.j2", page.title, page=page, groups=[*groups.items()]
            ),
        )
    yield "404.html", site.page("404.html", "site-missing.html.j2", "No such page")
    yield ".nojekyll", ""
    text = json.dumps(index, ensure_ascii=True, separators=(",", ":"))
    yield "search-index.js", f"globalThis.searchIndex={text};\n"


def scenarios_of(scenarios: Sequence[ScenarioPages]) -> list[dict[str, Any]]:
    """Return what the lists of articles show of each."""
    return [
        {
            "title": each.scenario.title,
            "number": each.scenario.article.number or "an announced article",
            "short": each.short,
            "place": each.place,
            "eyebrow": each.eyebrow,
            "question": each.scenario.question,
            "answer": each.answer,
            "counts": each.counts if each.profiles else [],
            "state": each.state,
            "errors": each.errors if each.profiles else [],
        }
        for each in scenarios
    ]


def _totals(scenarios: Sequence[ScenarioPages]) -> list[tuple[str, str]]:
    summaries = [each for one in scenarios if one.profiles for each in one.summaries]
    found = [("calm", f"{len(summaries):,} claims")]
    for state in (ClaimState.FAILS, ClaimState.HOLDS, ClaimState.ARITHMETIC, ClaimState.SPARK):
        number = sum(each.state is state for each in summaries)
        if number or state is ClaimState.FAILS:
            found.append(
                (STATE_CLASS.get(state, "calm") if number else "calm", _counted(number, state))
            )
    return found


def _counted(number: int, state: ClaimState) -> str:
    return f"{number:,} {state.of_one if number == 1 else state}"


def file_of(claim: str) -> str:
    """Return the name of a claim's file."""
    return _UNSAFE.sub("-", claim)


def _event_place(event: EventLine) -> str:
    return posixpath.join("..", "runs", event.run, EVENTS_FILE)


def _figure(entry: Entry, name: str) -> str:
    given = getattr(entry, name)
    return printed(given) if given is not None else ""


def _size(num_bytes: int) -> str:
    kib = num_bytes / 1024
    return f"{num_bytes} B" if kib < 1 else f"{kib:.0f} KiB"


def made_by(project_commit: str) -> str:
    """Return the line at the end of each page."""
    commit = f", commit {project_commit}" if project_commit else ""
    return f"Made by spark-article-harness {__version__}{commit}."
