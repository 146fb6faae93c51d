"""``python -m tests.bench.replay``: a thousand histories of each noise, replayed night by night.

The program itself is replayed, all three steps of it (`harness.history`): each night is looked at,
a suspicion is confirmed by pairs of runs of the same night, and what that found is remembered.
Each history is played twice: as it is, where each alarm is false, and with a loss of 3 % from its 51st
night on. Noise that the machine's own state explains is played with a probe too, whose readings
repeat to 0.3 %. Three known tools see the same histories, all sixty nights at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from tabulate import tabulate

from harness import atomic
from harness.execution.confirm import Wanted
from harness.history.baseline import FALSE_DISCOVERIES, LEAST, explained, look, normalised
from harness.history.memory import Past, memory
from harness.history.pairs import MOST_PAIRS, Outcome, answer, decide
from harness.records import record
from harness.workloads.api.declare import Metric
from tests.bench.cost import ROOT
from tests.bench.nights import NIGHTS, Draw, History, models
from tests.bench.table import machine

SHIFT, SHIFT_AT, WITHIN = float(np.log(0.97)), 50, 5
FILE = ROOT / "results" / "bench" / "regression-replay.json"
_PROBE_NOISE = 0.003
_METRIC = Metric(name="rate", unit="1", doc="a figure")


@record
class Play:
    """What came of one history.

    Attributes:
        alarm: the night of the alarm; None for none.
        findings: what was confirmed, in order.
        told: nights in which a suspicion was told without being confirmed.
        sees: of each INCONCLUSIVE confirmation, the loss that it would have seen.
        blind: the smallest loss that the nights before the last would have shown.
    """

    alarm: int | None
    findings: tuple[Past, ...]
    told: int
    sees: tuple[float, ...]
    blind: float


def play(
    history: History,
    random: Draw,
    probe: Sequence[float] | None,
    shift: float = 0.0,
    before: Sequence[Past] = (),
) -> Play:
    """Play the nights of a history; with a shift, only those from it on.

    Args:
        history: the nights.
        random: for the coin, and whatever the runs of a night need.
        probe: logarithm of what a probe measured, one a night; None for no probe.
        shift: of the figure, from `SHIFT_AT` on.
        before: what was found in the nights before a shift.
    """
    values = history.values.copy()
    values[SHIFT_AT:] += shift
    findings, told, sees, blind = [*before], 0, [], 0.0
    for night in range(SHIFT_AT if shift else 0, NIGHTS):
        seen = values[: night + 1].tolist()
        known = memory(seen, findings)
        host = None if probe is None else [*probe[: night + 1]]
        if host is not None:
            seen, _ = normalised(seen, host)
        found = look(seen, known.cleared)
        if found is None:
            continue
        blind = found.sees
        if found.p_value > FALSE_DISCOVERIES or found.shift > -LEAST:
            continue
        if host is not None and explained(found.shift, host, found.nights):
            continue
        if not known.may_confirm:
            told += 1
            continue
        wanted = Wanted(key=("rate", ""), metric=_METRIC, shift=found.shift)
        differences, runs = list[float](), history.runs(night)
        outcome = Outcome.INCONCLUSIVE
        while len(differences) < MOST_PAIRS and outcome is Outcome.INCONCLUSIVE:
            one, other = next(runs), next(runs)
            is_new_first = random.random() < 0.5
            new, old = (one, other) if is_new_first else (other, one)
            differences.append(new + shift - old)
            outcome = decide(differences, wanted.margin)
        findings.append(Past(night=night, outcome=outcome, nights=found.nights))
        if outcome is Outcome.REGRESSED:
            return Play(
                alarm=night,
                findings=tuple(findings),
                told=told,
                sees=tuple(sees),
                blind=blind,
            )
        if outcome is Outcome.INCONCLUSIVE:
            sees.append(answer(differences, wanted.margin).sees)
    return Play(alarm=None, findings=tuple(findings), told=told, sees=tuple(sees), blind=blind)


def _both(task: tuple[int, int, bool, Path]) -> tuple[Play, Play, list[float], list[float]]:
    number, seed, has_probe, telemetry = task
    model, random = models(telemetry)[number], np.random.default_rng([number, seed])
    history = model.make(random)
    probe = None
    if has_probe:
        probe = (history.host + _PROBE_NOISE * random.normal(size=NIGHTS)).tolist()
    still = play(history, random, probe)
    earlier = [each for each in still.findings if each.night < SHIFT_AT]
    shifted = play(history, random, probe, SHIFT, earlier)
    lost = history.values.copy()
    lost[SHIFT_AT:] += SHIFT
    return still, shifted, np.exp(history.values).tolist(), np.exp(lost).tolist()


def row_of(name: str, noise: str, plays: Sequence[tuple[Play, Play]]) -> dict[str, Any]:
    """Return what many histories of a model come to."""
    count = len(plays)
    still, lost = [each for each, _ in plays], [each for _, each in plays]
    costs = [len(each.findings) for each in still]
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
    every = models(options.telemetry)
    rows = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for number, model in enumerate(every):
            has_host = any(word in model.name for word in ("slow", "thermal", "hidden"))
            for has_probe in (False, True) if has_host else (False,):
                tasks = [
                    (number, seed, has_probe, options.telemetry)
                    for seed in range(options.histories)
                ]
                played = pool.map(_both, tasks, chunksize=20)
                name = f"{model.name}, probed" if has_probe else model.name
                row = row_of(name, model.noise, [(still, lost) for still, lost, *_ in played])
                row["must_be_found"] = model.quiet
                if options.peers and not has_probe:
                    some = played[: options.peer_histories]
                    still, lost = [each[2] for each in some], [each[3] for each in some]
                    row["peers"] = _peers(options.peers, still, lost)
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(table(rows))
    if options.histories >= 1000:
        document = {"machine": machine(None), "histories": options.histories, "rows": rows}
        atomic.write_text(FILE, json.dumps(document, indent=1) + "\n")
    return 0


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
    head = ["noise", "false alarms %", "found %", "confirmations", "most", *peers]
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
                *share,
                f"{row['confirmations_mean']:.2f}",
                row["confirmations_most"],
                *others,
            ]
        )
    return tabulate(lines, headers=head, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    sys.exit(main())
