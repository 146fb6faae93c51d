"""Whatever a model, a server or a damaged disk says, its reader returns a value or a cause."""

from __future__ import annotations

import ast
import http.server
import io
import json
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.artefacts import verified
from harness.check.pins import PINS_FILE, read_pins
from harness.errors import HostError, InputError
from harness.experiments.a25.race import read_pick
from harness.follow.told import Progress
from harness.reading import MAX_DEPTH, objects_in, read_json, read_regular_file
from harness.records import Event, Measurement, RunOutcome, RunSpec, from_json, to_json
from harness.runtime.daemon import _version
from harness.sandbox.protocol import SandboxResponse, read_message
from harness.workloads.api.emit import read_events
from harness.workloads.api.progress import PROGRESS_FILE
from harness.workloads.autoresearch.guardrails import Gate, Guardrails, Passed, Refused
from harness.workloads.autoresearch.search_space import ARTICLE
from harness.workloads.autoresearch.trajectory import read_trajectory
from harness.workloads.envs.files.llm_author import extract
from harness.workloads.envs.files.task_json import parse_task, read_tasks
from harness.workloads.envs.search.retriever import RemoteRetriever
from harness.workloads.envs.search.retriever_server import understood
from harness.workloads.inference.adapters import served_models
from harness.workloads.inference.chat import ChatSamplingParams, Endpoint, address_problem, chat
from harness.workloads.inference.chat_template import Message, Role
from harness.workloads.inference.engine import EngineError, SamplingParams
from harness.workloads.inference.http import Server
from harness.workloads.inference.service import RunningService, Service
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype
from harness.workloads.inference.vllm_engine import VllmEngine
from harness.workloads.rl.rollout import RolloutLog

# what breaks whoever trusts it: depth, length, numbers that are none, halves of characters, types
ODD = [
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "0",
    "NaN",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "-" + "9" * 5000,
    "[" * 3000,
    "[" * 100 + "]" * 100,
    '{"a":' * 3000,
    '{"a":' * 100 + "1" + "}" * 100,
    '"\\ud800"',
    '{"\\udfff": 1}',
    '{"a": 1, "a": 2}',
    "[0.001]",
    '{"a": [0.001]}',
    '"\\u0000\\u001b[2J"',
    "\ufeff1",
    "",
    " ",
    "{",
    '"' + "a" * 100_000 + '"',
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["\ud800", "x" * 5000])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
texts = st.sampled_from(ODD) | values.map(json.dumps) | st.text(max_size=60)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


def caught(read: Callable[[], Any], *documented: type[Exception]) -> tuple[Any, str]:
    """Return what `read` returns, or the text of one of its documented errors."""
    try:
        return read(), ""
    except documented as error:
        return None, str(error) or type(error).__name__


@given(text=texts, mend=st.booleans())
def test_a_json_text_is_a_sound_value_or_a_cause(text: str, mend: bool) -> None:  # noqa: FBT001
    value, refusal = caught(lambda: read_json(text, mend=mend), ValueError)
    if refusal:
        assert "\n" not in refusal
        assert len(refusal) < 300
        return
    assert depth(value) <= MAX_DEPTH
    written = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert read_json(written.encode()) == value
    assert to_json(value) == value


@given(value=values)
def test_what_is_sound_is_read_as_it_is(value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return
    if "e" not in text.decode() and max(map(len, text.split()), default=0) < 300:
        assert read_json(text) == value


def test_the_limits() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="deeper than 64 levels"):
        read_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert math.isfinite(float(read_json("9" * 299)))
    with pytest.raises(ValueError, match="of 300 digits is too long"):
        read_json("9" * 300)
    with pytest.raises(ValueError, match="longer than 3 bytes"):
        read_json("1234", max_bytes=3)
    assert read_json('"\\ud83d\\ude00"') == "\U0001f600"
    assert read_json('["a\\ud800"]', mend=True) == ["a\ufffd"]
    with pytest.raises(ValueError, match="surrogate"):
        read_json('"\ud800"')


# what reads only what its own process, or its parent, has written a moment before
_OWN = {
    "export/templates/taskset.py": "a package of its own: what its grader wrote",
    "reading.py": "the reader",
    "results/index.py": "a cache with a checksum, read a thousand times a second",
    "results/measured.py": "rows that this process has packed",
    "workloads/autoresearch/guardrail_cases.py": "a text of its own",
    "workloads/envs/files/regex_child.py": "its parent's question, by the standard library alone",
}


def test_nothing_else_reads_json(project_root: Path) -> None:
    """A parser of one's own, under an `except` that is too narrow, is how a reply ends a run."""
    source = project_root / "harness"
    parsers = {"load", "loads", "JSONDecoder"}
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr in parsers) == ("json", True)
    }
    assert found == {*_OWN}


def test_names_of_files_are_read_as_python_writes_them() -> None:
    named = {"\udcff": ["\udcfe"]}
    assert read_json(json.dumps(named), holds_paths=True) == named
    with pytest.raises(ValueError, match="deeper than 64"):
        read_json("[" * 100 + json.dumps("\udcff") + "]" * 100, holds_paths=True)


def test_objects_are_found_in_what_stands_around_them() -> None:
    said = 'So: {"a": {"b": 1}} and {"c": "\\ud800"} {broken {"d": 2'
    assert objects_in(said) == [{"a": {"b": 1}}, {"c": "\ufffd"}]
    for odd in ("{" * 100_000, '{"a":' * 20_000, '{"a":[' * 20_000, '{"a":"' * 20_000):
        assert objects_in(odd) == []


# --- those who read -------------------------------------------------------------------------------


def written(read: Callable[[Path], object], path: Path) -> Callable[[str], object]:
    """Return the reader of a text from the reader of a file that holds it, on a line of its own."""

    def write(text: str) -> object:
        path.write_bytes(text.encode("utf-8", "surrogatepass") + b"\n")
        return read(path)

    return write


def judged(text: str) -> Passed | Refused:
    gates = [Gate(space=ARTICLE, guardrails=rules) for rules in Guardrails]
    answers = [gate.judge(text, ARTICLE.baseline) for gate in gates]
    for each in answers:
        assert isinstance(each, Passed | Refused)
        if each.proposal is not None:  # it goes into a journal, which others read
            json.dumps(each.proposal.reason, ensure_ascii=False).encode()
    return answers[0]


def rollouts(path: Path) -> object:
    log: RolloutLog[Any] = RolloutLog(path, Event)
    return log.read()


def progress(path: Path) -> object:
    told = Progress(path.parent)
    told.update()
    return told.lines


def message(text: str) -> object:
    header = in_utf_8(text)
    sent = io.BytesIO(struct.pack(">II", len(header), 0) + header)
    return from_json(SandboxResponse, read_message(sent.read, 0)[0])


def decoded(kind: Any, text: str) -> object:
    return from_json(kind, read_json(text))


def in_utf_8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def readers(folder: Path) -> dict[str, tuple[Callable[[str], object], tuple[type[Exception], ...]]]:
    """Return each reader, and the errors that it documents."""
    records = [RunSpec, RunOutcome, tuple[Measurement, ...]]
    return {
        **{str(kind): (partial(decoded, kind), (ValueError,)) for kind in records},
        "proposal": (judged, ()),
        "pick": (lambda text: read_pick(text, ARTICLE), ()),
        "task of a model": (lambda text: parse_task(extract(text)), (InputError,)),
        "tasks": (written(read_tasks, folder / "tasks.jsonl"), (InputError,)),
        "events": (written(read_events, folder / "events.jsonl"), (ValueError,)),
        "trajectory": (written(read_trajectory, folder / "trajectory.jsonl"), (InputError,)),
        "progress": (written(progress, folder / PROGRESS_FILE), ()),
        "pins": (written(lambda path: read_pins(path.parent), folder / PINS_FILE), (InputError,)),
        "step": (
            written(lambda path: verified(path.parent), folder / "manifest.json"),
            (InputError,),
        ),
        "message of a sandbox": (message, (ValueError,)),
        "rollouts": (written(rollouts, folder / "rollouts.jsonl"), (InputError,)),
        "retrieval request": (lambda text: understood(in_utf_8(text)), (ValueError,)),
        "engine": (lambda text: _version(b"HTTP/1.1 200 OK\r\n\r\n" + in_utf_8(text)), ()),
    }


FORMS = [
    "{}",
    '{{"knob": "lr", "new_value": {}, "reason": "because"}}',
    '{{"knob": {}, "new_value": 1, "reason": "because"}}',
    '{{"knob": "lr", "value": {}}}',
    '{{"kind": "measured", "at_s": {}, "payload": {{}}}}',
    '{{"kind": "measured", "at_s": 1, "payload": {}}}',
    '{{"policy": "a", "task_id": {}, "sample": 1}}',
    '{{"queries": ["a"], "topk": {}}}',
    '{{"queries": {}}}',
    '{{"task_id": {}, "intent": "", "skills_required": [], "estimated_steps": {}}}',
    '{{"Version": {}}}',
    '{{"at": {}, "phase": "a", "step": 1}}',
    '{{"at": 1, "phase": {}, "step": {}, "detail": {{"what": {}}}, "values": {{"a": {}}}}}',
    '{{"record.json": {}}}',
    '{{"result": {}, "paths": [{}]}}',
    '{{"stage": {}, "iter": {}}}',
]


@pytest.mark.parametrize("name", [*readers(Path())])
@given(form=st.sampled_from(FORMS), odd=texts)
def test_every_reader_returns_a_value_or_its_documented_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, form: str, odd: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    read, documented = readers(folder)[name]
    text = form.replace("{}", odd).replace("{{", "{").replace("}}", "}")
    _, refusal = caught(lambda: read(text), *documented)
    assert len(refusal) < 5000


class Server200(http.server.ThreadingHTTPServer):
    """Answers every request with the body that a test gives it."""

    daemon_threads = True
    body = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST  # noqa: N815 - http.server's

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server200]:
    with Server200(("127.0.0.1", 0), Answer) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


class Standing(RunningService):
    """A server that this test runs itself."""

    def __init__(self, port: int) -> None:
        super().__init__(Service(name="fake", argv=()), Path("/dev/null"))
        self.port, self._start_s = port, 0.0

    def check(self, within_s: float = 0.0) -> None:
        """Say nothing: it stands."""


SERVING = Serving(
    model_dir=Path("/models/tiny"),
    name="tiny",
    dtype=VllmDtype.FLOAT32,
    max_model_len=10,
    max_num_seqs=4,
    seed=0,
    place=OnCpu(kv_cache_gib=1),
)
SAMPLED = SamplingParams(temperature=0.5, max_new_tokens=4, seed=3, alternatives=2)
ASK = [Message(role=Role.USER, content="?")]
SAMPLING = ChatSamplingParams(temperature=0.0, max_new_tokens=1)
LOGPROBS = (
    '{{"choices": [{{"token_ids": [1], "finish_reason": "stop", "logprobs": {{LOGPROBS}}}}]}}'
)
ANSWERS = [
    "{}",
    '{{"choices": {}}}',
    '{{"choices": [{}]}}',
    '{{"choices": [{{"message": {}}}]}}',
    '{{"choices": [{{"message": {{"content": {}}}}}]}}',
    '{{"choices": [{{"token_ids": {}, "logprobs": {{"token_logprobs": [0.0]}}}}]}}',
    '{{"choices": [{{"token_ids": [1], "logprobs": {}}}]}}',
    LOGPROBS.replace("LOGPROBS", '"token_logprobs": {}, "top_logprobs": []'),
    LOGPROBS.replace("LOGPROBS", '"token_logprobs": [0], "top_logprobs": {}'),
    '{{"data": {}}}',
    '{{"data": [{}]}}',
    '{{"data": [{{"id": {}, "parent": null}}]}}',
    '{{"data": [{{"id": "a", "parent": null}}, {{"id": "b", "root": {}, "parent": "a"}}]}}',
    '{{"result": {}}}',
    '{{"result": [{}]}}',
    '{{"result": [[{}]]}}',
    '{{"result": [[{{"document": {{"contents": {}}}, "score": {}}}]]}}',
]


@pytest.mark.parametrize("form", ANSWERS)
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_whatever_a_server_answers_is_a_value_or_its_fault(
    server: Server200, form: str, odd: str
) -> None:
    text = form.replace("{}", odd).replace("{{", "{").replace("}}", "}")
    server.body = text.encode("utf-8", "surrogatepass")
    client = Server(server.url, timeout_s=10.0)
    engine = VllmEngine(Standing(server.server_port), SERVING, 7)
    asked: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: chat(Endpoint(base_url=server.url, model="m"), ASK, SAMPLING), HostError),
        (lambda: served_models(client), EngineError),
        (lambda: RemoteRetriever(server.url).search("?", 3), EngineError),
        (lambda: engine.reply([1], SAMPLED), EngineError),
        (lambda: engine.score([1, 2]), EngineError),
    ]
    for ask, documented in asked:
        value, refusal = caught(ask, documented)
        assert len(refusal) < 2000
        json.dumps(to_json(value), allow_nan=False, ensure_ascii=False).encode()
    client.close()
    engine.close()


# --- addresses and keys ---------------------------------------------------------------------------

BAD = [
    "",
    "localhost:8000/v1",
    "ftp://host/v1",
    "http://",
    "http:///v1",
    "http://[::1",
    "http://[nonsense]/v1",
    "http://höst/v1",
    "http://host/vä",
    "http://host:99999/v1",
    "http://host:port/v1",
    "http://host:0/v1",
    "http://host/v1 ",
    "http://ho st/v1",
    "http://host\n/v1",
    "http://host/\x00",
    "http://user:secret@host/v1",
    "http://" + "a" * 64 + ".example/v1",
    "http://..example/v1",
]


@pytest.mark.parametrize("url", BAD)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    assert address_problem(url)
    with pytest.raises(HostError, match="is no address of a server") as refused:
        chat(Endpoint(base_url=url, model="m"), ASK, SAMPLING)
    assert refused.value.remedy


@given(rest=st.text(max_size=20), scheme=st.sampled_from(["http://", "https://[", "http://a:", ""]))
def test_any_text_is_an_address_or_not(rest: str, scheme: str) -> None:
    problem = address_problem(scheme + rest)
    assert isinstance(problem, str)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://[::1]:8000/v1", "http://a-b.c"]
)
def test_an_address_is_taken(url: str) -> None:
    assert address_problem(url) == ""


# --- files ----------------------------------------------------------------------------------------


def test_nothing_but_a_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"12345")
    for name, said in (("pipe", "is not a file"), ("folder", "directory"), ("gone", "No such")):
        with pytest.raises(OSError, match=said):
            read_regular_file(tmp_path / name)
    with pytest.raises(OSError, match="is not a file"):
        read_regular_file(Path("/dev/zero"))
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular_file(tmp_path / "large", max_bytes=4)
    assert read_regular_file(tmp_path / "large", max_bytes=5) == b"12345"
