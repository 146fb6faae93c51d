"""What was published of each claim over time, read from the git history of the results."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.records import Profile, record

_TIMEOUT_S = 60.0


@record
class Publication:
    """What a commit published of a claim."""

    commit: str
    day: str
    profile: Profile
    measured: str
    verdict: str


def publications(
    project: Path, scenario: str, profiles: tuple[Profile, ...]
) -> Mapping[str, tuple[Publication, ...]]:
    """Return, for each claim, what was published of it, the oldest first; only where it changed.

    Empty where this is no git clone, and of a shallow one as far as it goes.
    """
    found: dict[str, list[Publication]] = {}
    for profile in profiles:
        path = f"results/{scenario}/{profile}.ledger.csv"
        log = _git(project, "log", "--reverse", "--format=%H %cs", "--", path)
        for line in log.splitlines():
            commit, _, day = line.partition(" ")
            for row in csv.DictReader(_git(project, "show", f"{commit}:{path}").splitlines()):
                each = Publication(
                    commit=commit[:10],
                    day=day,
                    profile=profile,
                    measured=(row.get("measured") or "").removeprefix("'"),
                    verdict=(row.get("verdict") or "").replace("_", " "),
                )
                before = found.setdefault(row.get("id") or "", [])
                same = [one for one in before if one.profile is profile][-1:]
                if not same or (same[0].measured, same[0].verdict) != (each.measured, each.verdict):
                    before.append(each)
    return {claim: tuple(several) for claim, several in found.items()}


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments],  # noqa: S607 - the user's own git
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")
