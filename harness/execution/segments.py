"""The attempts at one run: each is a segment, and a run that was ended half-way has several.

A segment's record is on the disk before its work begins. It says how it ended where something could
still write that down; of a segment that was killed, the next call finds out what the machine knows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness import atomic
from harness.artefacts import DamagedError, read_record
from harness.errors import InputError, Interrupted, Problem, first_line
from harness.probes.channels import Channel
from harness.probes.reading import NotSupported
from harness.reading import read_json, read_regular_file
from harness.records import (
    Event,
    HostProbe,
    RunSpec,
    Segment,
    StepTaken,
    from_json,
    record,
    to_json,
)
from harness.results.store import HOST_PROBE_FILE, SEGMENT_FILE, RunStore, segment_folders
from harness.runtime.postmortem import Signs, signs_now, why_ended
from harness.telemetry.log import TELEMETRY_FILE, read_samples
from harness.workloads.api.context import CHECKPOINTS
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.api.steps import EARLIER_FILE, EarlierSegments

ACROSS, RESTART = "--continue-across-changes", "--restart"


@record
class _Begun:
    """What is written down of a segment.

    Attributes:
        signs: of the machine when it began.
        began_s: seconds since the epoch, by a clock that may be set.
        ended: None while it is at work, and until the next call where it was killed.
        goes_on: whether it left something to go on from; None until the next call.
        shared_with: how many other runs may be at work meanwhile.
        node: of a cluster, that it is at work on; empty for this machine.
        node_boot_id: of that node.
    """

    signs: Signs
    began_s: float
    ended: Segment | None = None
    goes_on: bool | None = None
    shared_with: int = 0
    node: str = ""
    node_boot_id: str = ""


@record
class Attempts:
    """What earlier attempts at a run have left.

    Attributes:
        segments: of them, those that left a step, a part of one, or a checkpoint to go on from.
        folders: of those, in the same order.
        steps: that they have made or taken, by name.
        last: how the last one ended, whether it left something or not; None where there was none.
    """

    segments: tuple[Segment, ...] = ()
    folders: tuple[Path, ...] = ()
    steps: tuple[StepTaken, ...] = ()
    last: Segment | None = None


def begin(staged: Path, around: RunStore, *, across: bool, shared_with: int = 0) -> Attempts:
    """Write down that an attempt begins, and return what those before it have left.

    Args:
        staged: the run's folder (`RunStore.stage`).
        around: the store, with its finished steps.
        across: whether steps of other code are taken too.
        shared_with: how many other runs may be at work meanwhile.
    """
    segments, folders = [], []
    steps: dict[str, StepTaken] = {}
    last = None
    for folder in segment_folders(staged):
        if (begun := _ended(folder)) is None:
            continue
        last = begun.ended
        assert last is not None
        if begun.goes_on is None:
            left = goes_on(folder, around) or (staged / CHECKPOINTS).is_dir()
            begun = replace(begun, goes_on=left)
            _write(folder, begun)
        if begun.goes_on:
            segments.append(last)
            folders.append(folder)
        steps.update({step.name: step for step in steps_of(folder)})
    own = tuple(step.key for step in steps.values() if not step.made_by)
    continued = {}
    for step in steps.values() if across else ():
        try:
            artefact = read_record(around.artefacts.root / step.key)
        except DamagedError:
            continue  # it will be made again
        continued[artefact.spec.identity] = step.key
    if steps:
        earlier = EarlierSegments(own=own, across=continued)
        atomic.write_text(staged / EARLIER_FILE, json.dumps(to_json(earlier)))
    _write(staged, _Begun(signs=signs_now(), began_s=time.time(), shared_with=shared_with))
    return Attempts(
        segments=tuple(segments), folders=tuple(folders), steps=tuple(steps.values()), last=last
    )


def placed(staged: Path, node: str, boot_id: str) -> None:
    """Write down which node of a cluster an attempt is at work on."""
    begun = _read(staged)
    assert begun is not None, "an attempt that is placed has begun"
    _write(staged, replace(begun, node=node, node_boot_id=boot_id))


def end(staged: Path, cause: str, wall_s: float | None = None) -> Segment:
    """Write down why the attempt in `staged` ends, and return it as a segment.

    Args:
        staged: the run's folder.
        cause: in one clause; empty where it has finished the run.
        wall_s: how long it was at work; None to look at its telemetry.
    """
    begun = _read(staged)
    assert begun is not None, "an attempt that ends has begun"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = _segment(staged, begun, now, cause, wall_s)
    _write(staged, replace(begun, ended=found))
    return found


def goes_on(attempt: Path, store: RunStore) -> bool:
    """Return whether an attempt left something that the next one goes on from."""
    if (attempt / CHECKPOINTS).is_dir() or any(step.made_now for step in steps_of(attempt)):
        return True
    begun = [each.payload for each in _events(attempt) if each.kind == "begun"]
    return any(each["keeps"] and store.artefacts.has_part(str(each["key"])) for each in begun)


def said_of(error: BaseException) -> str:
    """Return why an attempt ended that an exception has ended."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    if isinstance(error, Interrupted):
        return "ended by SIGTERM"
    return first_line(error) if isinstance(error, Exception) else type(error).__name__


def steps_of(attempt: Path) -> list[StepTaken]:
    """Return the steps that an attempt has made or taken, as far as its events can be read."""
    stored = [each.payload for each in _events(attempt) if each.kind == "stored"]
    return [from_json(StepTaken, dict(payload)) for payload in stored]


def keep_probes(attempt: Path, probes: Sequence[HostProbe]) -> None:
    """Write down the machine before an attempt, so that it is known of one that is killed."""
    if probes:
        atomic.write_text(attempt / HOST_PROBE_FILE, json.dumps(to_json(probes)))


def probes_of(attempt: Path) -> tuple[HostProbe, ...]:
    """Return what `keep_probes` wrote; nothing where it did not, or the disk damaged it."""
    try:
        return from_json(
            tuple[HostProbe, ...], read_json(read_regular_file(attempt / HOST_PROBE_FILE))
        )
    except (OSError, ValueError):
        return ()


def _events(attempt: Path) -> tuple[Event, ...]:
    try:
        return read_events(attempt / EVENTS_FILE)
    except ValueError:  # no more than what is told is lost: the steps are in their store
        return ()


def _ended(folder: Path) -> _Begun | None:
    """Return an earlier attempt; of one that was killed, find out why. None: it had not begun."""
    begun = _read(folder)
    if begun is None:
        return None
    if begun.ended is None:
        last_s = begun.began_s + _samples_s(folder)
        ended = datetime.fromtimestamp(last_s, UTC).isoformat(timespec="seconds")
        cause = why_ended(begun.signs, begun.began_s)
        if said := _last_sample(folder):
            cause += f"; the last sample: {said}"
        found = _segment(folder, begun, ended, cause, None)
        begun = replace(begun, ended=found)
        _write(folder, begun)
    return begun


def _segment(folder: Path, begun: _Begun, ended: str, cause: str, wall_s: float | None) -> Segment:
    return Segment(
        began=datetime.fromtimestamp(begun.began_s, UTC).isoformat(timespec="seconds"),
        ended=ended,
        boot_id=begun.node_boot_id or begun.signs.boot_id,
        cause=cause,
        steps=sum(step.made_now for step in steps_of(folder)),
        wall_s=round(_samples_s(folder) if wall_s is None else wall_s, 3),
        shared_with=begun.shared_with,
        node=begun.node,
    )


def _samples_s(folder: Path) -> float:
    """Return when the last sample of a segment was taken, seconds after it began."""
    try:
        samples = read_samples(folder / TELEMETRY_FILE)
    except ValueError:
        return 0.0
    return samples[-1].at_s if samples else 0.0


def _last_sample(folder: Path) -> str:
    """Return what a machine was like when it was last looked at, in words; empty if nobody did."""
    try:
        samples = read_samples(folder / TELEMETRY_FILE)
    except ValueError:
        return ""
    if not samples:
        return ""
    said = [
        f"{text} {value:.4g} {unit}"
        for channel, text, unit in (
            (Channel.MEMORY_AVAILABLE_GIB, "memory available", "GiB"),
            (Channel.GPU_TEMPERATURE_C, "GPU", "°C"),
            (Channel.GPU_POWER_W, "GPU", "W"),
            (Channel.HOST_TEMPERATURE_C, "host", "°C"),
        )
        if not isinstance(value := samples[-1].readings[channel], NotSupported)
    ]
    return ", ".join([f"after {samples[-1].at_s:.0f} s", *said])


def _read(folder: Path) -> _Begun | None:
    try:
        return from_json(_Begun, read_json(read_regular_file(folder / SEGMENT_FILE)))
    except (OSError, ValueError):  # cut before it was whole: nothing had begun
        return None


def _write(folder: Path, begun: _Begun) -> None:
    atomic.write_text(folder / SEGMENT_FILE, json.dumps(to_json(begun)))


# --- Code that has changed ------------------------------------------------------------------------


def go_on(store: RunStore, specs: Sequence[RunSpec], *, across: bool, restart: bool) -> None:
    """Make what was begun of runs the beginning of those that are asked for now.

    A change of code, image or published files makes another run of it. Where all its steps can
    be taken all the same, it simply goes on.

    Args:
        store: whose lock is held.
        specs: the runs that are owed.
        across: take steps of other code too.
        restart: begin anew; what was begun is forgotten, but not its finished steps.

    Raises:
        InputError: a step cannot be taken any more, and neither was asked for; names it.
    """
    refused = []
    for spec in specs:
        for before, folder in store.staged(spec.scenario, spec.profile):
            is_same_question = (before.point_id, before.seed, before.replicate) == (
                spec.point_id,
                spec.seed,
                spec.replicate,
            )
            if not is_same_question:
                continue
            if restart:
                store.forget(folder)
            elif before.run_id != spec.run_id:
                lost = _lost(store, before, spec, folder)
                if lost and not across:
                    refused.append(_refusal(spec, lost))
                elif store.is_staged(spec):  # an older attempt of other code beside it
                    continue
                else:
                    store.rename(folder, spec)
    if refused:
        raise InputError(refused)


def _lost(store: RunStore, before: RunSpec, spec: RunSpec, folder: Path) -> list[str]:
    """Return the steps of an attempt that the run that is asked for now cannot take."""
    steps = {
        step.name: step for each in (*segment_folders(folder), folder) for step in steps_of(each)
    }
    lost = []
    for step in steps.values():
        try:
            artefact = read_record(store.artefacts.root / step.key)
        except DamagedError:
            continue  # it is made again whatever the code is
        is_elsewhere = artefact.spec.place and before.image != spec.image
        if is_elsewhere or not artefact.is_current:
            lost.append(step.name)
    return lost


def _refusal(spec: RunSpec, lost: Sequence[str]) -> Problem:
    shown = ", ".join(lost[:4]) + (f" and {len(lost) - 4} more" if len(lost) > 4 else "")  # noqa: PLR2004 - a line's worth
    return Problem(
        message=(
            f"{spec.scenario} {spec.profile} {spec.label}, seed {spec.seed} was ended half-way, "
            f"and the code or image of what it had finished has changed since: {shown}"
        ),
        allowed=(
            f"{ACROSS} goes on with these steps, and nothing is judged; {RESTART} begins anew; or "
            "go back to the commit that began it"
        ),
    )
