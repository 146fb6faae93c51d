"""``python -m tests.bench.curator``: our cleaning and NeMo Curator's, documents a second.

Curator's time is that of its process on all cores, start of its cluster among it; how long that
takes stands beside it, as a corpus of many gigabytes would not notice. Ours is one core's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tabulate import tabulate

from harness.workloads.data.by_curator import curated, write_jsonl
from harness.workloads.data.clean import Fate, FilterLimits, clean
from harness.workloads.data.corpus import standard_library
from harness.workloads.data.planted import planted

_HEADERS = ("", "median", "lowest", "highest")


def main() -> None:
    """Clean one corpus with both, in turns, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curator", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of both, in turns")
    parser.add_argument("--scale", type=int, default=4, help="of the planted corpus")
    options = parser.parse_args()
    documents = [*(each.text for each in planted(0, options.scale)), *standard_library().documents]
    taken_s: dict[str, list[float]] = {"ours": [], "Curator": [], "Curator, one document": []}
    kept: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds):
            folder = Path(name) / str(number)
            folder.mkdir()
            kept, ours_s = _ours(documents)
            theirs, theirs_s = _curator(documents, folder / "all")
            _, start_s = _curator(documents[-1:], folder / "one")
            assert Counter(kept) == Counter(theirs), "the two keep different documents"
            for each, seconds in zip(taken_s, (ours_s, theirs_s, start_s), strict=True):
                taken_s[each].append(seconds)
    rows = [
        ("documents", str(len(documents)), "", ""),
        ("kept by both", str(len(kept)), "", ""),
        _row("ours, documents/s", [len(documents) / each for each in taken_s["ours"]]),
        _row("Curator, documents/s", [len(documents) / each for each in taken_s["Curator"]]),
        _row("Curator on one document, s", taken_s["Curator, one document"]),
    ]
    print(tabulate(rows, _HEADERS, disable_numparse=True))


def _ours(documents: Sequence[str]) -> tuple[list[str], float]:
    began = time.perf_counter()
    kept = [each.text for each in clean(documents, FilterLimits()) if each.fate is Fate.KEPT]
    return kept, time.perf_counter() - began


def _curator(documents: Sequence[str], folder: Path) -> tuple[list[str], float]:
    folder.mkdir()
    raw = write_jsonl(documents, folder / "raw.jsonl")
    began = time.perf_counter()
    kept = curated([raw], folder / "clean", FilterLimits(), "ray-data")
    return kept, time.perf_counter() - began


def _row(what: str, values: Sequence[float]) -> tuple[str, ...]:
    return (what, *(f"{each:.0f}" for each in (median(values), min(values), max(values))))


if __name__ == "__main__":
    main()
