"""``python -m tests.bench.pretrain``: what feeding a training loop costs, and the loop itself.

Waiting is measured by the clock, at a batch whose step takes a fifth of a second or more; what is
computed is measured in CPU seconds. Everything that is compared takes turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median

import torch
from tabulate import tabulate

from harness.experiments.a20.params import DATA_PATH, PathParams
from harness.experiments.a20.sweep import Timed
from harness.records import Profile, RunSpec
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.data.clean import Fate, FilterLimits, clean, first_of_each
from harness.workloads.data.loader import BatchShape, Prefetched, Shuffled, loader
from harness.workloads.data.pack import Packed, open_packed, pack
from harness.workloads.data.planted import planted
from harness.workloads.data.tokens import ByteTokenizer
from tests.bench import pretrain_loops as loops

WAIT_TARGET_PCT = 0.01
PACK_TARGET_MB_S = 20.0
TURNAROUND_TARGET_S = 2.0
PLAIN_TARGET, TRAINER_TARGET = 1.0, 1.1
_HEADERS = ("", "target", "median", "lowest", "highest", "verdict")
_CPU = torch.device("cpu")
_BIG = BatchShape(batch_size=32, seq_len=128)  # its step takes a fifth of a second and more
_BYTES_PER_MB = 1e6


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    documents = [each.text for each in planted(0)]
    kept = [each.text for each in clean(documents, FilterLimits()) if each.fate is Fate.KEPT]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packing = [_pack_mb_s(kept * 8, folder / f"pack-{n}") for n in range(options.rounds)]
        packed = open_packed(folder / "pack-0")
        rows = [
            _row("clean and deduplicate, documents / CPU s", _clean_rates(documents, options)),
            _row("tokenize and pack, MB / CPU s", packing, at_least=PACK_TARGET_MB_S),
            _row("wait for a batch made ahead, %", _waits(packed, options), WAIT_TARGET_PCT),
            _row("between configurations, s", _turnarounds(folder), TURNAROUND_TARGET_S),
            *_loop_rows(packed, options),
        ]
    print(tabulate(rows, _HEADERS, disable_numparse=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pretrain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of everything, in turns")
    parser.add_argument("--steps", type=int, default=20, help="of a loop in a round")
    return parser


# --- the corpus -----------------------------------------------------------------------------------


def _clean_rates(documents: Sequence[str], options: argparse.Namespace) -> list[float]:
    rates = []
    for _ in range(options.rounds):
        began = time.process_time()
        kept = [each.text for each in clean(documents, FilterLimits()) if each.fate is Fate.KEPT]
        assert any(first_of_each(kept))
        rates.append(len(documents) / (time.process_time() - began))
    return rates


def _pack_mb_s(documents: Sequence[str], folder: Path) -> float:
    tokenizer = ByteTokenizer()
    text_mb = sum(len(text.encode()) for text in documents) / _BYTES_PER_MB
    began = time.process_time()
    pack(tokenizer.encode(documents), folder, tokenizer.vocabulary)
    return text_mb / (time.process_time() - began)


# --- the loader -----------------------------------------------------------------------------------


def _waits(packed: Packed, options: argparse.Namespace) -> list[float]:
    """Return the share of the step time that the loop waited, round by round, percent."""
    training = loops.our_run(_BIG)
    order = Shuffled(shape=_BIG, num_tokens=packed.num_tokens, seed=0)
    make = loader(packed, order, _BIG, _CPU)
    shares = []
    for _ in range(options.rounds):
        with Prefetched(make, num_steps=options.steps, depth=2, device=_CPU) as ahead:
            batches = Timed(ahead, _CPU)
            taken = [
                (batches.taken_s, step.step_s)
                for step in replace(training, batch=batches).steps(options.steps)
            ][2:]  # the first were asked for before one could be ready
        shares.append(100 * fmean(wait for wait, _ in taken) / fmean(step for _, step in taken))
    return shares


def _turnarounds(folder: Path) -> list[float]:
    """Return the seconds between the configurations of a sweep of the cpu profile's model."""
    cell = loops.CELL
    params = {
        **defaults_of(PathParams),
        "datasets": ["planted"],
        "filters": ["own"],
        "tokenizer": "bytes",
        "device": "cpu",
        "num_hidden_layers": cell.num_hidden_layers,
        "hidden_size": cell.hidden_size,
        "num_attention_heads": cell.num_attention_heads,
        "intermediate_size": cell.intermediate_size,
        "vocab_size": cell.vocab_size,
        "dropout": 0.0,
        "precisions": ["fp32", "bf16"],
        "batch_sizes": [4] * 4,
        "seq_lens": [64] * 4,
        "max_steps": 3,
        "warmup_steps": 2,
        "round_precision": "fp32",
        "vocab_sizes": [258],
        "ab_rounds": 3,
        "steps_per_round": 2,
        "round_batch_size": 1,
        "round_seq_len": 8,
    }
    spec = RunSpec(scenario="bench", profile=Profile.CPU, workload=DATA_PATH.name, params=params)
    out = folder / "sweep"
    out.mkdir()
    run(spec.workload, spec, out)
    figures = [event.payload for event in read_events(out / EVENTS_FILE)]
    return [each["value"] for each in figures if each.get("metric") == "cell.turnaround"][1:]


# --- the loops ------------------------------------------------------------------------------------


def _loop_rows(packed: Packed, options: argparse.Namespace) -> list[tuple[str, ...]]:
    turns = {"ours": loops.ours(packed), "plain": loops.plain(packed)}
    if find_spec("transformers"):
        turns["HF Trainer"] = loops.trainer(packed)
    else:
        print("no HF Trainer here: nox -s bench-pretrain", file=sys.stderr)
    taken = loops.in_turns(turns, options.rounds, options.steps)
    tokens = loops.CELL.tokens_per_step
    rows = [
        _row(f"{name}, tokens / CPU s", [tokens / each for each in seconds])
        for name, seconds in taken.items()
    ]
    for name, target in (("plain", PLAIN_TARGET), ("HF Trainer", TRAINER_TARGET)):
        if name in taken:
            ratios = [other / one for one, other in zip(taken["ours"], taken[name], strict=True)]
            rows.append(_row(f"ours / {name}", ratios, at_least=target))
    return rows


def _row(
    what: str, values: Sequence[float], at_most: float | None = None, at_least: float | None = None
) -> tuple[str, ...]:
    middle = median(values)
    figures = tuple(f"{each:.4g}" for each in (middle, min(values), max(values)))
    if at_most is not None:
        return (what, f"<= {at_most:g}", *figures, "met" if middle <= at_most else "missed")
    if at_least is not None:
        return (what, f">= {at_least:g}", *figures, "met" if middle >= at_least else "missed")
    return (what, "", *figures, "")


if __name__ == "__main__":
    main()
