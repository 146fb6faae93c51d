"""The runs of a profile as its file has them, but for sizes, counts, and where its servers answer.

A run takes place in this process, on the CPU, with the stand-ins of `tests.spark.stand_ins` in the
place of published models and those of `tests.spark.published_files` in that of published files.
Nothing else is exchanged: prompts, sandboxes, samplers, losses, dtypes
and schedules are those of the profile.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.measure import measure
from harness.plan.expand import expand
from harness.plan.overrides import read_overrides
from harness.records import Profile, RunSpec, Status
from harness.scenario.folders import find
from harness.scenario.load import load
from harness.variables import EVIDENCE_VARIABLE, MODELS_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.emit import EVENTS_FILE, read_events
from tests.spark.published_files import VOCABULARY

SCENARIOS = Path(__file__).parents[2] / "scenarios"

_FILE_AGENT = {"per_persona": 2, "num_eval_examples": 8}
_FILE_TRAINING = {**_FILE_AGENT, "max_steps": 2, "prompts_per_step": 2}
_GPT = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1021,  # odd, as the article's: a padded table has more rows
    "max_steps": 6,
    "warmup_steps": 2,
}
_SEARCH = {
    # the article's menu to scale; its baseline in 32 bits, as in eight each evaluation takes a
    # processor six seconds, and article 19's take that way too
    "search_space": "small",
    "num_noise_samples": 2,
    "iterations": 3,
}
SMALLER: Mapping[str, Mapping[str, Any]] = {
    "a18": {**_GPT, "seq_len": 64},
    "a19": {**_GPT, "max_steps": 3},
    "a20": {
        **{name: value for name, value in _GPT.items() if name != "vocab_size"},
        "max_steps": 3,
        "seq_lens": [32, 32, 32, 64],
        "round_seq_len": 32,
        "ab_rounds": 3,
        "steps_per_round": 2,
        "vocab_size": VOCABULARY + 1,  # one too many, as the article's
        "vocab_sizes": [VOCABULARY, VOCABULARY + 1, VOCABULARY + 48],
    },
    "a22": _SEARCH,
    "a35": {**_SEARCH, "iterations": 2},
    "a25": {
        "num_eval_examples": 1,
        "num_train_epochs": 1,
        "num_samples": 1,
        "max_length": 4096,  # a token of a stand-in is shorter
        "max_new_tokens": 32,
    },
    "a32": _FILE_AGENT,
    "a33": _FILE_TRAINING,
    "a34": _FILE_TRAINING,
    "a36": {
        "num_entities_per_type": 10,
        "train_questions": 4,
        "num_eval_examples": 2,
        "prompts_per_step": 2,
        "num_generations": 4,
        "num_minibatches": 2,
        "max_steps": 1,
        "eval_steps": 1,
        "max_new_tokens": 16,
    },
}
"""Sizes and counts of each scenario that are made smaller."""
_SWEPT_SHARE = {"seq_len": 32}
"""What swept sizes are divided by."""

Rows = dict[tuple[str, frozenset[tuple[str, Any]]], Any]


def planned(scenario: str, profile: Profile = Profile.SPARK, /, **elsewhere: Any) -> list[RunSpec]:
    """Return a profile's runs, made smaller.

    Args:
        scenario: its short name.
        profile: one for a GPU.
        elsewhere: params that say on what and beside what a run takes place.
    """
    params = {**SMALLER.get(scenario, {}), **elsewhere}
    asked = [f"{name}={json.dumps(value)}" for name, value in params.items()]
    overrides = read_overrides(asked, replicates=1)
    specs = expand(load(find(SCENARIOS, scenario)), profile, overrides).runs
    return [replace(spec, params={**spec.params, **_shrunk(spec)}) for spec in specs]


def _shrunk(spec: RunSpec) -> Mapping[str, int]:
    return {
        axis: spec.params[axis] // share
        for axis, share in _SWEPT_SHARE.items()
        if axis in spec.axes
    }


def played(
    spec: RunSpec,
    out: Path,
    published: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Rows:
    """Do a run; return metric and where -> value.

    Args:
        spec: the run.
        out: its folder, which is made.
        published: holds the stand-ins of models, and of published files where it reads any.
        monkeypatch: of the test.
    """
    monkeypatch.setenv(MODELS_VARIABLE, str(published))
    if spec.evidence:
        monkeypatch.setenv(EVIDENCE_VARIABLE, str(published))
    out.mkdir()
    run(spec.workload, spec, out)
    events = read_events(out / EVENTS_FILE)
    assert events[-1].kind == Status.FINISHED.value
    return {
        (each.metric, frozenset(each.where.items())): each.value for each in measure(spec, events)
    }


def of(rows: Rows, metric: str, **where: Any) -> Any:
    """Return one figure."""
    return rows[metric, frozenset(where.items())]


def values(rows: Rows, metric: str) -> Sequence[Any]:
    """Return all figures of one name."""
    return [value for (name, _), value in rows.items() if name == metric]


@contextmanager
def answering(*replies: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a model of OpenAI's protocol that gives its replies in turn, again and again.

    Yields:
        Its address, and what it has been asked.
    """
    asked: list[dict[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            said = replies[(len(asked) - 1) % len(replies)]
            self._send({"choices": [{"message": {"role": "assistant", "content": said}}]})

        def do_GET(self) -> None:
            self._send({"data": [{"id": "stand-in"}]})

        def _send(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
