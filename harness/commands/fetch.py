"""``harness fetch``: bring a scenario's published raw data here, and verify it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tabulate import tabulate

from harness.errors import ExitCode, HostError
from harness.records import record
from harness.runtime.evidence import evidence_folder, fetch, statuses
from harness.scenario.folders import find_all
from harness.scenario.load import load
from harness.session.options import FetchOptions
from harness.session.project import cache_folder, open_project
from harness.session.several import Answer, answer_each


@record
class EvidenceAnswer:
    """A published file: its state here, and whether a profile reads it."""

    file: str
    state: str
    need: str


@record
class FetchAnswer:
    """The answer of ``harness fetch --json``."""

    files: tuple[EvidenceAnswer, ...]


def main(options: FetchOptions) -> ExitCode:
    """Fetch and print the state of every file; those that no profile reads may stay away."""
    project = open_project(options)

    def bring(folder: Path) -> Answer:
        """Fetch the files of one scenario.

        Raises:
            HostError: a file that a profile reads cannot be had.
        """
        scenario = load(folder).scenario
        place = evidence_folder(cache_folder(), scenario.evidence)
        read = {file for model in scenario.profiles.values() for file in model.uses}
        for each in scenario.evidence:
            options.console.explain(f"{place / each.file}: {each.url or 'no address'}")
        fetch([each for each in scenario.evidence if each.file in read], place)
        with suppress(HostError):
            fetch([each for each in scenario.evidence if each.file not in read], place)
        rows = [
            (each.file, each.state.value, "read" if each.file in read else "optional")
            for each in statuses(scenario.evidence, place)
        ]
        if options.json:
            files = tuple(EvidenceAnswer(file=file, state=state, need=n) for file, state, n in rows)
            return Answer(document=FetchAnswer(files=files))
        if not rows:
            return Answer(text=f"{scenario.scenario} has no published raw data\n")
        table = tabulate(rows, headers=("file", "state", "by profiles"), tablefmt="simple")
        return Answer(text=f"{table}\nin {place}\n")

    return answer_each(find_all(project.scenarios, options.scenarios), bring, options)
