"""Records and event files: what is written is what is read, and what is torn is told apart."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.records import (
    Event,
    FinishedRun,
    ImageRef,
    Limits,
    Measurement,
    Profile,
    RunOutcome,
    RunSpec,
    Status,
    Usage,
    Verdict,
    VerdictKind,
    canonical_json,
    digest,
    from_json,
    to_json,
)
from harness.workloads.api.emit import read_events

finite = st.floats(allow_nan=False, allow_infinity=False)
scalar = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=8)
plain = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.text(string.ascii_lowercase + "._", min_size=1, max_size=8)
where = st.dictionaries(names, scalar, max_size=3)
limits = st.builds(
    Limits,
    timeout_s=finite,
    memory_gib=st.none() | finite,
    shm_gib=finite,
    gpus=st.integers(),
    network=st.booleans(),
)
specs = st.builds(
    RunSpec,
    scenario=names,
    profile=st.sampled_from(Profile),
    workload=names,
    params=st.dictionaries(names, plain, max_size=3),
    axes=st.lists(names, max_size=2).map(tuple),
    seed=st.integers(),
    replicate=st.integers(),
    image=st.none() | st.builds(ImageRef, name=names, digest=names),
    source=names,
    evidence=st.dictionaries(names, names, max_size=2),
    limits=limits,
)
usages = st.builds(Usage, wall_s=finite, cpu_s=st.none() | finite, max_rss_gib=st.none() | finite)
outcomes = st.builds(
    RunOutcome,
    status=st.sampled_from(Status),
    runtime=names,
    device=st.text(),
    usage=usages,
    exit_code=st.none() | st.integers(),
    cause=st.text(),
    log_tail=st.lists(st.text(), max_size=3).map(tuple),
)
measurements = st.builds(
    Measurement,
    metric=names,
    value=scalar,
    unit=names,
    where=where,
    count=st.integers(),
    absent=st.text(),
)
kinds = st.sampled_from(VerdictKind)
verdicts = st.builds(
    Verdict,
    expectation=names,
    kind=kinds,
    metric=names,
    where=where,
    detail=st.text(),
    claim=st.none() | kinds,
)
finished = st.builds(
    FinishedRun,
    spec=specs,
    outcome=outcomes,
    measurements=st.lists(measurements, max_size=3).map(tuple),
    environment=st.dictionaries(names, plain, max_size=3),
)
events = st.builds(
    Event, kind=names, at_s=finite, payload=st.dictionaries(names, plain, max_size=3)
)


@given(record=st.one_of(specs, outcomes, measurements, verdicts, finished, events, limits, usages))
def test_a_record_comes_back_from_json_as_it_went_in(record: Any) -> None:
    text = json.dumps(to_json(record))
    back = from_json(type(record), json.loads(text))
    assert back == record
    assert json.dumps(to_json(back)) == text  # 1, 1.0 and true stay what they are


@given(value=st.dictionaries(st.text(max_size=6), plain, max_size=5), data=st.data())
def test_canonical_json_does_not_depend_on_the_order_of_keys(
    value: dict[str, Any], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations([*value.items()])))
    assert canonical_json(shuffled) == canonical_json(value)
    assert digest(shuffled) == digest(value)
    assert json.loads(canonical_json(value)) == value


@given(spec=specs, other=specs)
def test_ids_are_equal_only_where_everything_that_decides_is(spec: RunSpec, other: RunSpec) -> None:
    def asked(one: RunSpec) -> str:
        return canonical_json([one.scenario, one.profile, one.workload, one.params])

    def executed(one: RunSpec) -> str:
        image = one.image.digest if one.image else None
        return canonical_json([image, one.source, one.evidence, one.seed, one.replicate])

    assert (spec.point_id == other.point_id) == (asked(spec) == asked(other))
    same = spec.point_id == other.point_id and executed(spec) == executed(other)
    assert (spec.run_id == other.run_id) == same


# --- event files ----------------------------------------------------------------------------------

written = st.lists(events, min_size=1, max_size=6)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def lines_of(told: list[Event]) -> list[str]:
    return [json.dumps(to_json(event), ensure_ascii=False) + "\n" for event in told]


@in_one_folder
@given(told=written, data=st.data())
def test_a_torn_last_line_is_left_out(
    told: list[Event], data: st.DataObject, tmp_path: Path
) -> None:
    content = "".join(lines_of(told)).encode()
    cut = content[: data.draw(st.integers(0, len(content)))]
    (tmp_path / "events.jsonl").write_bytes(cut)
    assert read_events(tmp_path / "events.jsonl") == tuple(told[: cut.count(b"\n")])


@in_one_folder
@given(told=written, data=st.data())
def test_a_damaged_line_before_the_last_is_named(
    told: list[Event], data: st.DataObject, tmp_path: Path
) -> None:
    lines = lines_of(told)
    index = data.draw(st.integers(0, len(lines) - 1))
    kept = data.draw(st.integers(0, len(lines[index]) - 2))
    lines[index] = lines[index][:kept] + "\n"
    path = tmp_path / "events.jsonl"
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    with pytest.raises(ValueError, match=rf"events.jsonl:{index + 1}: damaged event"):
        read_events(path)


def test_a_run_that_wrote_nothing_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events.jsonl") == ()
