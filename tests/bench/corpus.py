"""Generated projects to measure on: many scenarios, many cells, a long ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.measure import usage_measurements
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import (
    FinishedRun,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    to_json,
)
from harness.results.environment import capture
from harness.results.store import (
    ENVIRONMENT_FILE,
    MEASUREMENTS_FILE,
    OUTCOME_FILE,
    SPEC_FILE,
    RunStore,
)
from harness.runtime.host import Host, probe_host
from harness.scenario.load import load
from harness.telemetry.reduce import run_measurements

NUM_SCENARIOS = 1000
NUM_CELLS = 100
NUM_ENTRIES = 1000
CELLS_ID = "b1-cells"
LEDGER_ID = "b2-ledger"
GROWTH_ID = "b3-growth"
# what each command prints of that store, where it has read the runs
GROWTH_SAYS = {"check": "50 REPRODUCED", "report": "finished", "compare": "identical"}
_GROWTH_REPLICATES = 2
_GROWTH_ROWS = 4
_LEDGER_CELLS = 50
_ROWS_PER_CELL = NUM_ENTRIES // _LEDGER_CELLS

# 44 lines, the length of the published ones without their ledgers and evidence
_SCENARIO = """\
# A generated scenario, of the length and the parts that a real one has.
scenario: {id}
title: Nothing, done in question {number}
question: >-
  What does it cost to ask for nothing at all, in four cells, on a machine that does nothing else?
  The answer is the value it was given.
article: {{number: {number}, title: nothing-{number}, date: 2026-01-01}}
environment: base
workload: noop
seed: {number}
replicates: 1

params:
  value: {number}.5
  sleep_s: 0.0

sweep:
  product:
    index: [0, 1, 2]
    exit_code: [0, 1]
  exclude:
    - {{index: 2, exit_code: 1}}

profiles:
  cuda:
    summary: the same on a machine with a GPU
    params: {{value: 1e-4}}
    limits: {{timeout_s: 60.0, gpus: 1}}
  cpu:
    summary: nothing, in every cell
    seed: 7
    limits:
      timeout_s: 60.0
      memory_gib: 1.0
    estimate:
      hours: 0.01
      peak_memory_gib: 0.1
      source: counted

report:
  metrics:
    - noop.value
  plots:
    - {{file: value, title: The value, x: index, y: noop.value}}
"""

_CELLS = """\
scenario: {id}
title: Nothing, many times
question: What does the harness add to a process that does nothing?
article: {{number: 1, title: nothing}}
workload: noop
params: {{value: 1.5}}
sweep:
  product:
    index: [{indices}]
profiles:
  cpu:
    summary: nothing, in every cell
report:
  metrics: [noop.value]
"""

_FIRST_CELL = """
  - id: value
    metric: noop.value
    where: {index: 0}
    unit: "1"
    kind: exact
    class: arithmetic
    expect: {value: 1.5}
    source: generated
"""
_ENTRY = """
  - id: value.{cell}.{row}
    metric: noop.value
    where: {{index: {cell}, row: {row}}}
    unit: "1"
    class: invariant
    claimed: {value}
    derived: {value}
    binds: {{profile: [cpu]}}
    source: generated
"""
_RATIO = """\
    kind: ratio
    expect:
      {{value: 1.0, abs: 0.01, to: {{metric: noop.value, where: {{index: {cell}, row: {row}}}}}}}
    reason: generated
"""
_TARGETS = (
    "    kind: exact\n    expect: {{value: {value}}}\n",
    "    kind: bound\n    expect: {{value: {value}, rel: 0.01}}\n    reason: generated\n",
    _RATIO,
    "    kind: bound\n    expect: {{low: 0.0, high: {value}}}\n    reason: generated\n",
)


def write_scenarios(root: Path) -> None:
    """Write a project of many scenarios, each with a short ledger."""
    for number in range(NUM_SCENARIOS):
        name = f"b{number:04d}-nothing"
        _write(root, name, _SCENARIO.format(id=name, number=number), _entries(range(1), range(8)))


def write_cells(root: Path) -> None:
    """Write a project whose one scenario asks for nothing in many cells."""
    _write(root, CELLS_ID, _cells(CELLS_ID, NUM_CELLS), _FIRST_CELL)


def write_ledger(root: Path) -> None:
    """Write a project with one long ledger, and the finished runs that it is about."""
    ledger = _entries(range(_LEDGER_CELLS), range(_ROWS_PER_CELL))
    _write(root, LEDGER_ID, _cells(LEDGER_ID, _LEDGER_CELLS), ledger)
    plan = expand(load(root / "scenarios" / LEDGER_ID), Profile.CPU, Overrides())
    store, host = RunStore(root / "results" / "local"), probe_host()
    with store.locked(LEDGER_ID, Profile.CPU):
        for spec in plan.runs:
            store.commit(store.stage(spec), _finished(spec, host, root))


def write_growth(root: Path, num_runs: int) -> None:
    """Write a project with two stores of the same scenario, each with many finished runs.

    Two replicates a cell; a run has a figure of its own, four rows and what every run has. Their
    files are written as the store writes them, but not synced: that would take minutes.
    """
    scenario = _cells(GROWTH_ID, num_runs // _GROWTH_REPLICATES)
    scenario = scenario.replace("profiles:", f"replicates: {_GROWTH_REPLICATES}\nprofiles:")
    ledger = _entries(range(_LEDGER_CELLS), range(1))
    _write(root, GROWTH_ID, scenario, ledger)
    plan = expand(load(root / "scenarios" / GROWTH_ID), Profile.CPU, Overrides())
    host, environments = probe_host(), dict[int, Any]()
    for number, name in enumerate(("local", "other")):
        store = RunStore(root / "results" / name)
        for spec in plan.runs:
            folder = store.folder(spec)
            folder.mkdir(parents=True)
            if spec.seed not in environments:
                environments[spec.seed] = to_json(capture(spec, host, project=root))
            run = _grown(spec, number, environments[spec.seed])
            for file, records in (
                (SPEC_FILE, run.spec),
                (OUTCOME_FILE, run.outcome),
                (MEASUREMENTS_FILE, run.measurements),
                (ENVIRONMENT_FILE, run.environment),
            ):
                text = json.dumps(to_json(records), indent=1, ensure_ascii=False)
                (folder / file).write_text(text + "\n", encoding="utf-8")


def _grown(spec: RunSpec, number: int, environment: dict[str, Any]) -> FinishedRun:
    cell, usage = spec.params["index"], Usage(wall_s=1.0 + number, cpu_s=0.5, max_rss_gib=0.1)
    # row 0 is what the ledger knows; the others differ between replicates and stores
    rows = (
        Measurement(
            metric="noop.value",
            value=_value(cell, 0) + row * (1 + spec.replicate + number / 8),
            unit="1",
            where={"row": row},
        )
        for row in range(_GROWTH_ROWS)
    )
    return FinishedRun(
        spec=spec,
        outcome=RunOutcome(
            status=Status.FINISHED,
            runtime="local",
            device="no device",
            usage=usage,
            exit_code=0,
            started_at="2026-01-01T00:00:00+00:00",
        ),
        measurements=(*rows, *usage_measurements(usage), *run_measurements(())),
        environment=environment,
    )


def _write(root: Path, name: str, scenario: str, ledger: str) -> None:
    folder = root / "scenarios" / name
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(scenario, encoding="utf-8")
    text = f"scenario: {name}\n\nsections:\n- title: Values\n  entries:\n{ledger}"
    (folder / "expectations.yaml").write_text(text, encoding="utf-8")


def _cells(name: str, number: int) -> str:
    return _CELLS.format(id=name, indices=", ".join(str(index) for index in range(number)))


def _entries(cells: range, rows: range) -> str:
    return "".join(
        (_ENTRY + _TARGETS[row % len(_TARGETS)]).format(cell=cell, row=row, value=_value(cell, row))
        for cell in cells
        for row in rows
    )


def _value(cell: int, row: int) -> float:
    return 1.0 + 100 * cell + row / 4


def _finished(spec: RunSpec, host: Host, project: Path) -> FinishedRun:
    cell = spec.params["index"]
    rows = tuple(
        Measurement(metric="noop.value", value=_value(cell, row), unit="1", where={"row": row})
        for row in range(_ROWS_PER_CELL)
    )
    outcome = RunOutcome(
        status=Status.FINISHED, runtime="local", device="no device", usage=Usage(wall_s=0.0)
    )
    environment = to_json(capture(spec, host, project=project))
    return FinishedRun(spec=spec, outcome=outcome, measurements=rows, environment=environment)
