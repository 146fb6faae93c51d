"""``python -m tests.bench.replay``: a thousand histories of each noise, replayed night by night.

The program itself is replayed, all three steps of it (`harness.history`): each night is looked at,
a suspicion gets a glance, what that shows is confirmed by pairs of runs of the same night, and what
came of it is remembered. Each history is played twice: as it is, where each alarm is false, and
with a loss of 3 % from its 51st night on. Noise that the machine's own state explains is played
with a probe too, whose readings repeat to 0.3 %. Known tools see the same histories, all sixty
nights at once.

No number of the program was chosen by these histories: that was done with seeds from 100,000 to
240,599, and these begin at `FIRST_SEED`.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from tabulate import tabulate

from harness import atomic
from harness.execution.confirm import Budget, PairBench, Wanted, confirm
from harness.execution.versions import Version
from harness.history.baseline import (
    FEWEST,
    GLANCES,
    LEAST,
    RECENT,
    RECORD,
    WINDOW,
    explained,
    look,
    normalised,
)
from harness.history.memory import Past, memory
from harness.history.pairs import Outcome
from harness.records import record
from harness.statistics import t_quantile
from harness.workloads.api.declare import Metric
from tests.bench.cost import ROOT
from tests.bench.nights import NIGHTS, Draw, History, Values, models
from tests.bench.table import machine

SHIFT, SHIFT_AT, WITHIN = float(np.log(0.97)), 50, 5
FILE = ROOT / "results" / "bench" / "regression-replay.json"
_PROBE_NOISE = 0.003
FIRST_SEED = 1_000_000
_FEWEST = 1000  # fewer do not show an error rate of 1 %
_METRIC = Metric(name="rate", unit="1", doc="a figure")
_KEY = ("rate", "{}")
_OLD, _NEW = (Version(name=name, root=Path(name)) for name in ("old", "new"))


@record
class Play:
    """What came of one history.

    Attributes:
        alarm: the night of the alarm; None for none.
        findings: what came of each suspicion, in order.
        told: nights in which a suspicion was told without being confirmed.
        runs: made for glances and confirmations.
        sees: of each INCONCLUSIVE confirmation, the loss that it would have seen.
        blind: the smallest loss that the nights before the last would have shown.
    """

    alarm: int | None
    findings: tuple[Past, ...]
    told: int
    runs: int
    sees: tuple[float, ...]
    blind: float


def play(  # noqa: C901 - the three steps, in order
    history: History,
    random: Draw,
    probe: Sequence[float] | None,
    shift: float = 0.0,
    before: Sequence[Past] = (),
    screened: Values | None = None,
) -> Play:
    """Play the nights of a history; with a shift, only those from it on.

    Args:
        history: the nights.
        random: for the coin's seed, and whatever the runs of a night need.
        probe: logarithm of what a probe measured, one a night; None for no probe.
        shift: of the figure, from `SHIFT_AT` on.
        before: what was found in the nights before a shift.
        screened: of each night, whether it can be suspected at all (`screen`); None: not known.
    """
    values = history.values.copy()
    values[SHIFT_AT:] += shift
    findings, told, made, blind = [*before], 0, 0, 0.0
    sees: list[float] = []
    alarm = None
    for night in range(SHIFT_AT if shift else 0, NIGHTS):
        seen = values[: night + 1].tolist()
        known = memory(seen, findings)
        # where no level is known, it is the plain comparison that the screen has made for all
        is_plain = known.cleared is None and night < NIGHTS - 1
        if is_plain and screened is not None and not screened[night]:
            continue
        host = None if probe is None else [*probe[: night + 1]]
        if host is not None:
            seen, _ = normalised(seen, host)
        found = look(seen, known.cleared, known.fresh)
        if found is None:
            continue
        blind = found.sees
        if found.p_value > GLANCES or found.shift > -LEAST:
            continue
        if host is not None and explained(found.shift, host, found.nights):
            continue
        runs = history.runs(night)

        def execute(version: Version, runs: Iterator[float] = runs) -> dict[tuple[str, str], float]:
            nonlocal made
            made += 1
            return {_KEY: math.exp(next(runs) + shift * (version is _NEW))}

        wanted = Wanted(key=_KEY, metric=_METRIC, shift=found.shift, may_confirm=known.may_confirm)
        bench = PairBench(execute=execute, budget=Budget(), say=lambda _: None)
        seed = random.bytes(8).hex()
        (said,) = confirm([wanted], _OLD, _NEW, bench, seed, glances=True)
        if said.test is None or said.old is None:
            told += 1
            continue
        outcome = said.test.outcome
        past = Past(
            night=night,
            outcome=outcome,
            nights=found.nights,
            is_costly=outcome is not Outcome.NOT_SEEN,
            level=math.log(said.old),
        )
        findings.append(past)
        if outcome is Outcome.REGRESSED:
            alarm = night
            break
        if outcome is Outcome.INCONCLUSIVE:
            sees.append(said.test.sees)
    return Play(
        alarm=alarm,
        findings=tuple(findings),
        told=told,
        runs=made,
        sees=tuple(sees),
        blind=blind,
    )


def screen(values: Values) -> Values:
    """Return of each history and night whether `look` can suspect a loss there.

    The same comparison for all histories at once, at 1.2 times the level: what it passes over,
    `look` does not suspect either, which a test holds it to.

    Args:
        values: (histories, nights).
    """
    may = np.zeros(values.shape, bool)
    for night in range(FEWEST, values.shape[1]):
        recent = min(RECENT, night + 1 - FEWEST)
        before = values[:, max(0, night + 1 - WINDOW - recent) : night + 1 - recent]
        level = np.median(before, axis=1, keepdims=True)
        scale = np.maximum(1.4826 * np.median(np.abs(before - level), axis=1, keepdims=True), 1e-9)
        near = np.clip((before - level) / scale, -2.5, 2.5)
        middle = near.mean(axis=1, keepdims=True)
        spread = near.var(axis=1, keepdims=True, ddof=1)
        level = level + scale * middle
        scale = np.maximum(scale * np.sqrt(spread / 0.978), 1e-9)
        unlike = np.clip((before - level) / scale, -3.0, 3.0)
        count = unlike.shape[1]
        off = unlike - unlike.mean(axis=1, keepdims=True)
        total = np.maximum((off * off).sum(axis=1), 1e-12)
        rho = (off[:, :-1] * off[:, 1:]).sum(axis=1) / total
        rho = np.clip((count * rho + 1) / (count - 3), 0.0, 0.9)
        last = (values[:, night - recent : night + 1] - level) / scale
        ever = (values[:, : night + 1 - recent] - level) / scale
        farthest = np.abs(ever[:, 1:] - rho[:, None] * ever[:, :-1]).max(axis=1)
        critical = t_quantile(1 - 1.2 * GLANCES / (2 * RECENT), count - 1)
        for nights in range(1, recent + 1):
            those = last[:, -nights - 1 :]
            those = those if nights == 1 else np.clip(those, -3.0, 3.0)
            z = those[:, 1] - rho * those[:, 0]
            z += ((1 - rho)[:, None] * (those[:, 2:] - rho[:, None] * those[:, 1:-1])).sum(axis=1)
            energy = 1 + (nights - 1) * (1 - rho) ** 2
            doubt = 1 / count / (1 - rho) ** 2
            z /= np.sqrt(1 - rho**2) * np.sqrt(energy * (1 + energy * doubt))
            suspected = z < -critical
            if nights == 1:
                suspected &= np.abs(those[:, 1] - rho * those[:, 0]) > 0.9 * RECORD * farthest
            lost = np.sort(values[:, night + 1 - nights : night + 1] - level, axis=1)
            may[:, night] |= suspected & (lost[:, nights // 2] < -0.9 * LEAST)
    return may


_Task = tuple[int, int, bool, Path, Values | None]


def _both(task: _Task) -> tuple[Play, Play]:
    number, seed, has_probe, telemetry, screened = task
    random = np.random.default_rng([number, FIRST_SEED + seed])
    history = models(telemetry)[number].make(random)
    probe = None
    if has_probe:
        probe = (history.host + _PROBE_NOISE * random.normal(size=NIGHTS)).tolist()
    of_still, of_lost = (None, None) if screened is None else screened
    still = play(history, random, probe, screened=of_still)
    earlier = [each for each in still.findings if each.night < SHIFT_AT]
    return still, play(history, random, probe, SHIFT, earlier, of_lost)


def _drawn(number: int, count: int, telemetry: Path) -> tuple[Values, Values]:
    """Return the values of a model's histories, without a loss and with it."""
    model = models(telemetry)[number]
    still = np.stack(
        [
            model.make(np.random.default_rng([number, FIRST_SEED + seed])).values
            for seed in range(count)
        ]
    )
    lost = still.copy()
    lost[:, SHIFT_AT:] += SHIFT
    return still, lost


def row_of(name: str, noise: str, plays: Sequence[tuple[Play, Play]]) -> dict[str, Any]:
    """Return what many histories of a model come to."""
    count = len(plays)
    still, lost = [each for each, _ in plays], [each for _, each in plays]
    costs = [sum(past.is_costly for past in each.findings) for each in still]
    glances = [len(each.findings) for each in still]
    within = [each.alarm is not None and each.alarm < SHIFT_AT + WITHIN for each in lost]
    said = Counter(past.outcome.value for each in still for past in each.findings)
    after = Counter(
        past.outcome.value for each in lost for past in each.findings if past.night >= SHIFT_AT
    )
    sees = [value for each in (*still, *lost) for value in each.sees if np.isfinite(value)]
    return {
        "model": name,
        "noise": noise,
        "histories": count,
        "false_alarms": sum(each.alarm is not None for each in still),
        "found_within_5": sum(within),
        "found_within_10": sum(each.alarm is not None for each in lost),
        "confirmations_mean": fmean(costs),
        "confirmations_most": max(costs),
        "glances_mean": fmean(glances),
        "glances_most": max(glances),
        "runs_mean": fmean(each.runs for each in still),
        "told_unconfirmed": sum(each.told > 0 for each in still),
        "without_change": dict(sorted(said.items())),
        "after_the_loss": dict(sorted(after.items())),
        "inconclusive_sees_median": median(sees) if sees else None,
        "nights_see_median": median(each.blind for each in still),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, print the table, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replay", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--telemetry", type=Path, required=True, help="gb10/telemetry.csv")
    parser.add_argument("--peers", type=Path, help="a Python with otava, asv and ruptures")
    parser.add_argument(
        "--peer-histories",
        type=int,
        default=100,
        help="the first so many; Otava takes seconds each",
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for number, has_probe in _parts(options.telemetry):
            model = models(options.telemetry)[number]
            count = options.histories // (4 if has_probe else 1)  # no screen knows the probe
            still, lost = _drawn(number, count, options.telemetry)
            screened = None if has_probe else np.stack([screen(still), screen(lost)], axis=1)
            tasks: list[_Task] = []
            for at in range(count):
                its = None if screened is None else screened[at]
                tasks.append((number, at, has_probe, options.telemetry, its))
            played = pool.map(_both, tasks, chunksize=20)
            name = f"{model.name}, probed" if has_probe else model.name
            row = {**row_of(name, model.noise, played), "must_be_found": model.quiet}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
            _keep(rows, options.histories)
    for row, (number, has_probe) in zip(rows, _parts(options.telemetry), strict=True):
        if options.peers and not has_probe:
            still, lost = _drawn(number, options.peer_histories, options.telemetry)
            row["peers"] = _peers(options.peers, np.exp(still).tolist(), np.exp(lost).tolist())
            print(json.dumps(row["peers"]), file=sys.stderr, flush=True)
            _keep(rows, options.histories)
    print(table(rows))
    return 0


def _parts(telemetry: Path) -> list[tuple[int, bool]]:
    """Return the number of each model, and whether it is played with a probe; with one last."""
    names = [each.name for each in models(telemetry)]
    with_host = [at for at, name in enumerate(names) if re.search("slow|thermal|hidden", name)]
    return [*((at, False) for at in range(len(names))), *((at, True) for at in with_host)]


def _keep(rows: Sequence[dict[str, Any]], histories: int) -> None:
    if histories >= _FEWEST:
        document = {"machine": machine(None), "histories": histories, "rows": rows}
        atomic.write_text(FILE, json.dumps(document, indent=1) + "\n")


def _peers(python: Path, still: list[list[float]], lost: list[list[float]]) -> dict[str, Any]:
    """Return false alarms and finds of each peer, which has packages of its own."""
    program = Path(__file__).with_name("replay_peers.py")
    given = json.dumps({"still": still, "lost": lost, "shift_at": SHIFT_AT, "within": WITHIN})
    done = subprocess.run(
        (python, program), input=given, check=True, capture_output=True, text=True
    )
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    peers = [*next((row["peers"] for row in rows if row.get("peers")), {})]
    head = ["noise", "histories", "false alarms %", "found %", "confirmations", "most"]
    head += ["glances", "runs", *peers]
    lines = []
    for row in rows:
        count = row["histories"]
        share = [f"{100 * row[key] / count:.1f}" for key in ("false_alarms", "found_within_5")]
        others = [
            " / ".join(f"{100 * each[key] / each['of']:.0f}" for key in ("false_alarms", "found"))
            for each in (row.get("peers") or {}).values()
        ]
        lines.append(
            [
                f"{row['model']}, {row['noise']}",
                count,
                *share,
                f"{row['confirmations_mean']:.2f}",
                row["confirmations_most"],
                f"{row['glances_mean']:.1f}",
                f"{row['runs_mean']:.0f}",
                *others,
            ]
        )
    return tabulate(lines, headers=head, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    sys.exit(main())
