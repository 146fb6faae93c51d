"""The Markdown block that briefs the next trial: a function of the rows and the arguments alone.

The form is that of the published example (article 36, evidence/lineage-rendered.txt), which the
tests render again byte for byte. Two things differ where rows call for it. The best is never a row
over a budget, and aborts of the harness are not shown, as in the studied system. And no text can
leave its line or its table cell: it is escaped, and shortened where the form says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from harness.records import record
from harness.workloads.trials.escape import shorten
from harness.workloads.trials.history import History
from harness.workloads.trials.trial import Label, Layout, Trial

_BEST_LENGTH, _ROW_LENGTH, _RECENT_LENGTH, _NOTES_LENGTH = 110, 100, 80, 200  # characters
_FULL_LENGTH = 2000
_NAME_LENGTH = 80


@record
class Briefing:
    """Who is briefed, and how much is shown.

    Attributes:
        specialist: the role of the next trial.
        at: the time to print; the clock is not read.
        top: keeps on the leaderboard.
        recent: trials in the table of recent activity.
        full: most recent trials shown with hypothesis and notes.
        steps: last trials of the way to the best.
    """

    specialist: str
    at: str = ""
    top: int = 20
    recent: int = 30
    full: int = 10
    steps: int = 60


def render(history: History, briefing: Briefing) -> str:
    """Return the block for a session that is about to propose the next trial."""
    layout, best = history.layout, history.best()
    head = f"# Session start — {_name(briefing.at)}"
    role = f"You are specialist **{_name(briefing.specialist)}**."
    if best is None:
        return f"{head}\n{role} No trial has a valid score yet.\n"
    told = (trial for trial in reversed(history.trials) if trial.status is not Label.HARNESS_ABORT)
    shown = list(islice(told, max(briefing.recent, briefing.full)))
    score = f"{layout.score}={_figure(layout.score_of(best))}"
    lines = [
        head,
        f"{role} Current best: **exp_{_name(best.exp_id)}** ({score}).",
        "",
        *_leaderboard(best, history.top_keeps(briefing.top), layout),
        *_lineage(history.chain(best), layout, briefing.steps),
        *_recent(shown[: briefing.recent], layout),
        *_full(shown[: briefing.full], layout),
    ]
    return "\n".join(lines) + "\n"


def _leaderboard(best: Trial, keeps: Sequence[Trial], layout: Layout) -> Iterator[str]:
    yield from ("## LEADERBOARD.md", "", "## Current Best")
    yield f"- **exp_id**: {_name(best.exp_id)}"
    yield f"- **{layout.score}**: {_figure(layout.score_of(best))}"
    yield f"- **specialist**: {_name(best.specialist)}"
    yield f"- **hypothesis**: {shorten(best.hypothesis, _BEST_LENGTH)}"
    if best.snapshot_path:
        yield f"- **snapshot**: `{_name(best.snapshot_path)}`"
    yield from ("", f"## Top {len(keeps)} Kept Trials", "")
    if not keeps:
        yield from ("*(no keeps yet)*", "")
        return
    yield from _table(
        ("exp", layout.score, "Δ", "specialist", "hypothesis"),
        (
            (
                _name(trial.exp_id),
                _figure(layout.score_of(trial)),
                _signed(trial.delta_vs_best),
                _name(trial.specialist),
                shorten(trial.hypothesis, _ROW_LENGTH),
            )
            for trial in keeps
        ),
    )


def _lineage(path: Sequence[Trial], layout: Layout, steps: int) -> Iterator[str]:
    yield from ("## KNOWLEDGE.md", "", "**Current-best lineage** (root → best):", "```")
    nodes = [f"{_outcome(t, layout)} {shorten(t.hypothesis, _ROW_LENGTH)}" for t in path[-steps:]]
    if len(path) > steps:
        nodes.insert(0, f"({len(path) - steps} earlier trials)")
    yield "\n └─ ".join(nodes) + " ← BEST"
    yield from ("```", "")


def _recent(shown: Sequence[Trial], layout: Layout) -> Iterator[str]:
    yield from (f"## Recent Activity (last {len(shown)})", "")
    yield from _table(
        ("exp", "specialist", "status", layout.score, "hypothesis"),
        (
            (
                _name(trial.exp_id),
                _name(trial.specialist),
                trial.status,
                _figure(layout.score_of(trial)),
                shorten(trial.hypothesis, _RECENT_LENGTH),
            )
            for trial in shown
        ),
    )


def _full(shown: Sequence[Trial], layout: Layout) -> Iterator[str]:
    if not shown:
        return
    yield f"## Recent Activity (most recent {len(shown)} — full hypothesis)"
    for trial in shown:
        yield f"- {_outcome(trial, layout)} {shorten(trial.hypothesis, _FULL_LENGTH)}"
        if trial.notes:
            yield f"  └─ {shorten(trial.notes, _NOTES_LENGTH)}"
    yield ""


def _outcome(trial: Trial, layout: Layout) -> str:
    score, delta = _figure(layout.score_of(trial)), _signed(trial.delta_vs_best)
    who = f"{_name(trial.specialist)}, {trial.status}"
    return f"exp_{_name(trial.exp_id)} [{who}, metric={score}, Δ={delta}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('-' * (len(name) + 2) for name in head)}|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _name(text: str) -> str:
    return shorten(text, _NAME_LENGTH)


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.6f}"


def _signed(value: float | None) -> str:
    return "—" if value is None else f"{value:+.6f}"
