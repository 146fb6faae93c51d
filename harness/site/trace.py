"""Where a figure comes from: the events that carry it, and its line of the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.reading import read_json
from harness.records import record, to_json
from harness.report.figures import setting
from harness.scenario.expectations import Entry
from harness.scenario.folders import EXPECTATIONS_FILE
from harness.scenario.positions import read
from harness.site.profiles import StoredRun
from harness.workloads.api.emit import EVENTS_FILE

MOST_EVENTS = 12
_MOST_CHARACTERS = 400


@record
class EventLine:
    """One line of a run's events.

    Attributes:
        number: from 1.
        text: the line, cut where it is long.
    """

    run: str
    number: int
    text: str


class EventIndex:
    """The measured events of some runs, found by metric."""

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._found: dict[str, list[tuple[EventLine, Mapping[str, Any]]]] = {}
        for run in runs:
            params = to_json(run.run.spec.params)
            for number, line in enumerate(_lines(run.folder / EVENTS_FILE), 1):
                if '"measured"' not in line:
                    continue
                try:
                    payload = read_json(line)["payload"]
                    metric, where = payload["metric"], payload["where"]
                except (ValueError, LookupError, TypeError):
                    continue  # torn, or no event of ours
                keys = {**params, **where}
                text = json.dumps(payload, ensure_ascii=False)
                if len(text) > _MOST_CHARACTERS:
                    text = f"{text[:_MOST_CHARACTERS]}..."
                event = EventLine(run=run.id, number=number, text=text)
                self._found.setdefault(metric, []).append((event, keys))

    def of(self, entry: Entry) -> list[EventLine]:
        """Return the events of a claim's figure, without those that its keys rule out."""
        return [
            event
            for event, keys in self._found.get(entry.metric, ())
            if all(setting(keys.get(key)) == setting(value) for key, value in entry.where.items())
        ]


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError:
        return


def ledger_lines(folder: Path) -> dict[str, int]:
    """Return the line of each entry of a scenario's ledger, from 1."""
    ledger = read(folder / EXPECTATIONS_FILE)
    return {
        entry["id"]: ledger.places["sections", i, "entries", j][0]
        for i, section in enumerate(ledger.value["sections"])
        for j, entry in enumerate(section["entries"])
    }
