"""``harness artefacts``: the finished steps of runs, which later runs take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from harness.artefacts import Artefact, ArtefactStore, DamagedError, read_record, verified
from harness.errors import ExitCode, InputError, Problem, nearest
from harness.execution.segments import steps_of
from harness.records import Profile, record
from harness.results.store import RunStore
from harness.session.options import ArtefactsOptions
from harness.session.output import print_answer
from harness.session.project import open_project
from harness.units import counted, duration

_MIB = 2**20
_SHOWN_DIGITS = 10  # of a key in a list


@record
class StepAnswer:
    """A finished step; where it is damaged why in place of it."""

    key: str
    step: Artefact | None = None
    damaged: str = ""


@record
class ArtefactsAnswer:
    """The answer of ``harness artefacts --json``.

    Attributes:
        steps: what ``list`` and ``show`` are asked for.
        done: what another action did, in words.
        keys: the steps that it was done with.
    """

    steps: tuple[StepAnswer, ...] = ()
    done: str = ""
    keys: tuple[str, ...] = ()


def main(options: ArtefactsOptions) -> ExitCode:
    """Do what is asked for with the finished steps of the store."""
    _require_words(options)
    results = RunStore(open_project(options).store)
    store = results.artefacts
    match options.action:
        case "list":
            return _list(store, options)
        case "show":
            return _show(store, options)
        case "prune":
            return _prune(results, options)
        case "export":
            return _export(store, options)
        case _:
            return _import(store, options)


def _require_words(options: ArtefactsOptions) -> None:
    """Refuse words that the action has no use for, or lacks.

    Raises:
        InputError: all of them.
    """
    action = options.action
    wrong = [
        (options.out is not None and action != "export", "--out is of export"),
        (options.out is None and action == "export", "export needs --out FILE"),
        (options.all and action != "prune", "--all is of prune"),
        (options.dry_run and action != "prune", "--dry-run is of prune"),
        (not options.names and action == "import", "import needs a file that export wrote"),
        (not options.names and action == "show", "show needs a step; harness artefacts list"),
    ]
    if problems := [Problem(message=message) for is_so, message in wrong if is_so]:
        raise InputError(problems)


def _list(store: ArtefactStore, options: ArtefactsOptions) -> ExitCode:
    found = [(key, _read(store, key)) for key in _chosen(store, options.names)]
    if options.json:
        print_answer(options, ArtefactsAnswer(steps=tuple(_step(*each) for each in found)))
        return ExitCode.OK
    rows = []
    for key, each in found:
        size = f"{_bytes(store.root / key) / _MIB:.1f} MiB"
        if isinstance(each, DamagedError):
            rows.append((key[:_SHOWN_DIGITS], "damaged: is made again", size, "", "", ""))
        else:
            code = "" if each.is_current else "changed"
            cost = duration(each.cost.wall_s)
            rows.append((key[:_SHOWN_DIGITS], each.name, size, cost, each.made_by, code))
    headers = ("key", "step", "size", "took", "made by", "code")
    print(tabulate(rows, headers=headers, tablefmt="simple"))
    total = sum(_bytes(store.root / key) for key, _ in found)
    print(f"{counted(len(found), 'step')}, {total / _MIB:.1f} MiB, in {store.root}")
    return ExitCode.OK


def _show(store: ArtefactStore, options: ArtefactsOptions) -> ExitCode:
    found = [verified(store.root / key) for key in _chosen(store, options.names)]
    if options.json:
        steps = tuple(_step(each.key, each) for each in found)
        print_answer(options, ArtefactsAnswer(steps=steps))
        return ExitCode.OK
    for each in found:
        spec, cost = each.spec, each.cost
        facts = {
            "key": each.key,
            "folder": store.files(each.key),
            "made by": f"{each.made_by}, {each.made_at}, on {each.device}",
            "code": f"{spec.source[:12]} {'' if each.is_current else '(changed since) '}of "
            + ", ".join(each.code),
            "took": f"{duration(cost.wall_s)}"
            + (f", CPU {duration(cost.cpu_s)}" if cost.cpu_s is not None else "")
            + (f", {cost.energy_j:.0f} J" if cost.energy_j is not None else "")
            + (f", {cost.peak_rss_gib:.2f} GiB" if cost.peak_rss_gib is not None else ""),
            **{f"decides: {name}": json.dumps(value) for name, value in spec.decides.items()},
            **{f"reads: {name}": value[:12] for name, value in spec.reads.items()},
            **{f"place: {name}": value for name, value in spec.place.items()},
            **{f"file: {path}": sha[:12] for path, sha in each.files.items()},
        }
        print(each.name)
        width = max(map(len, facts))
        for name, value in facts.items():
            print(f"  {name:{width}}  {value}")
    return ExitCode.OK


def _prune(results: RunStore, options: ArtefactsOptions) -> ExitCode:
    """Delete steps that no run of this store has used, and what killed makers left."""
    store = results.artefacts
    used = set() if options.all else set(_used(results))
    gone = [key for key in _chosen(store, options.names) if key not in used]
    left = [] if options.names else store.unfinished()
    freed = sum(_bytes(store.root / key) for key in gone) + sum(map(_bytes, left))
    for key in gone:
        found = _read(store, key)
        name = "a damaged step" if isinstance(found, DamagedError) else found.name
        options.console.explain(f"{key[:_SHOWN_DIGITS]} {name}")
        if not options.dry_run:
            store.remove(key)
    if not options.dry_run:
        for folder in left:
            store.clear(folder)
    done = "would be deleted" if options.dry_run else "deleted"
    parts = [counted(len(gone), "step"), f"{len(left)} unfinished"]
    kept = len(store.keys()) - (len(gone) if options.dry_run else 0)
    text = f"{' and '.join(parts)} {done}, {freed / _MIB:.1f} MiB; {counted(kept, 'step')} kept"
    return _did(text, gone, options)


def _used(results: RunStore) -> Iterator[str]:
    """Yield the keys of the steps that stored runs, and runs that were ended half-way, name."""
    for scenario in sorted(results.root.glob("[!.]*/")):
        for profile in Profile:
            for run in results.runs(scenario.name, profile):
                yield from (step.key for step in run.outcome.steps)
    for folder in results.every_staged():
        yield from (step.key for step in steps_of(folder))


def _export(store: ArtefactStore, options: ArtefactsOptions) -> ExitCode:
    assert options.out is not None, "an export without a file was refused"
    keys = _chosen(store, options.names)
    if not keys:
        raise InputError([Problem(message="there is no step to export", path=store.root)])
    store.export(keys, options.out)
    return _did(f"{counted(len(keys), 'step')} written to {options.out}", keys, options)


def _import(store: ArtefactStore, options: ArtefactsOptions) -> ExitCode:
    lines, taken = [], []
    for name in options.names:
        new, known = store.take_in(Path(name))
        lines.append(f"{name}: {counted(len(new), 'step')} taken, {known} here before")
        taken += [each.key for each in new]
        for each in new:
            note = "" if each.is_current else ": of other code than this, so no run takes it"
            options.console.say(f"  {each.key[:_SHOWN_DIGITS]} {each.name} of {each.made_by}{note}")
    return _did("\n".join(lines), taken, options)


def _did(text: str, keys: Sequence[str], options: ArtefactsOptions) -> ExitCode:
    """Say what was done with some steps."""
    if options.json:
        print_answer(options, ArtefactsAnswer(done=text, keys=tuple(keys)))
    else:
        print(text)
    return ExitCode.OK


def _step(key: str, found: Artefact | DamagedError) -> StepAnswer:
    if isinstance(found, DamagedError):
        return StepAnswer(key=key, damaged=str(found))
    return StepAnswer(key=key, step=found)


def _chosen(store: ArtefactStore, words: Sequence[str]) -> list[str]:
    """Return the keys that words name, in the order in which they were made; all for no words.

    Raises:
        InputError: a word names no step; names the nearest.
    """
    every = store.keys()
    found = {key: _read(store, key) for key in every}
    names = {
        key: "" if isinstance(each, DamagedError) else each.name for key, each in found.items()
    }
    chosen, problems = set[str](), []
    for word in words:
        hits = [key for key, name in names.items() if word == name or key.startswith(word)]
        chosen.update(hits)
        if not hits:
            close = nearest(word, names.values())
            message, given = "no such step", ascii(word)
            problems.append(Problem(message=message, path=store.root, value=given, nearest=close))
    if problems:
        raise InputError(problems)
    made_at = {
        key: "" if isinstance(each, DamagedError) else each.made_at for key, each in found.items()
    }
    return sorted(chosen if words else found, key=lambda key: (made_at[key], names[key], key))


def _read(store: ArtefactStore, key: str) -> Artefact | DamagedError:
    try:
        return read_record(store.root / key)
    except DamagedError as error:
        return error


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
