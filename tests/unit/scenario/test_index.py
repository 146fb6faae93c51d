"""The remembered summaries: a cache that is damaged, or of another branch, is made again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.scenario.index import summaries

SCENARIO = """\
scenario: a99-example
title: An example
question: Is it remembered?
article: {number: 99, title: Nothing}
workload: noop
profiles: {cpu: {summary: here}}
"""
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "scenarios" / "a99-example"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    return folder.parent


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@few
@given(data=st.data(), junk=values)
def test_whatever_a_cache_holds_the_list_is_right(
    root: Path, tmp_path: Path, data: st.DataObject, junk: Any
) -> None:
    cache = tmp_path / "cache"
    right = summaries(root, cache)
    assert [each.scenario for each in right] == ["a99-example"]
    (file,) = cache.glob("index-*.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    place = data.draw(st.sampled_from(["top", "entries", "entry", "stamp", "summary", "title"]))
    entry = document["entries"]["a99-example"]
    if place == "top":
        document = junk
    elif place == "entries":
        document["entries"] = junk
    elif place == "entry":
        document["entries"]["a99-example"] = junk
    elif place == "stamp":
        entry.pop("stamp") if junk is None else entry.update(stamp=junk)
    elif place == "summary":
        entry["summary"] = {**entry["summary"], "a field of another branch": junk}
    else:
        entry["summary"].pop("title")
    file.write_text(json.dumps(document), encoding="utf-8")
    assert summaries(root, cache) == right
    assert json.loads(file.read_text(encoding="utf-8"))["entries"]["a99-example"]["summary"][
        "title"
    ]


def test_a_pipe_in_place_of_the_cache_is_not_waited_for(root: Path, tmp_path: Path) -> None:
    right = summaries(root, tmp_path)
    (file,) = tmp_path.glob("index-*.json")
    file.unlink()
    os.mkfifo(file)
    assert summaries(root, tmp_path) == right
