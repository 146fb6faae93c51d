"""``python -m tests.mutants.judge SCENARIO STORE``: verdicts and pins of a store, as JSON.

The runs may be a part of the plan: entries that need the others are MISSING, with a fault and
without.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.check.pins import check_pins, read_pins
from harness.check.verdicts import check
from harness.measure import metrics_by_name
from harness.records import Profile
from harness.results.store import RunStore
from harness.scenario.folders import find
from harness.scenario.load import load
from harness.session.selection import open_ledger

if __name__ == "__main__":
    folder = find(Path("scenarios"), sys.argv[1])
    loaded, store = load(folder), RunStore(Path(sys.argv[2]))
    runs = store.runs(folder.name, Profile.CPU)
    metrics = metrics_by_name(loaded.scenario)
    verdicts = check(open_ledger(loaded), runs, Profile.CPU, metrics)
    pins = check_pins(read_pins(folder), runs, store, metrics)
    answer = {
        "kinds": {each.expectation: each.kind.value for each in verdicts},
        "pinned": pins.compared,
        "moved": [str(each) for each in pins.differences[:3]],
    }
    print(json.dumps(answer))
