"""A model server is asked before a run: one that answers, and all that may answer instead."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.commands import doctor
from harness.errors import InputError
from harness.execution import services
from harness.execution.services import ask, ask_services
from harness.plan.overrides import Overrides
from harness.records import Profile
from harness.runtime.host import probe_host
from harness.scenario.load import load
from harness.scenario.services import NeededService
from harness.variables import KEY_VARIABLE

MODEL = "meta/llama-3.1-8b-instruct"
START = "docker run the-server"
COMMAND = "harness run a22 --profile spark"
LIST = {"data": [{"id": MODEL}]}
REPLY = {"choices": [{"message": {"content": "r"}}]}
Say = Callable[[BaseHTTPRequestHandler], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as its server was told; what it was asked is kept."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server: Any = self.server
        server.asked.append((method, self.path, body, self.headers.get("Authorization")))
        server.says[method](self)

    def log_message(self, *_: object) -> None:
        pass


def say(content: bytes | object, status: int = 200, headers: dict[str, str] | None = None) -> Say:
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        with suppress(OSError):  # it is cut where it says too much
            handler.wfile.write(sent)

    return answer


@contextmanager
def server(get: Say | None = None, post: Say | None = None) -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.says = {"GET": get or say(LIST), "POST": post or say(REPLY)}
    made.asked = []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def needed(port: int) -> NeededService:
    return NeededService(
        role="proposer",
        model=MODEL,
        address=f"http://127.0.0.1:{port}/v1",
        address_param="proposer_base_url",
        model_param="proposer_model",
        memory_gib=59.2,
        start=START,
    )


def test_a_server_answers_where_it_lists_the_model_and_completes_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sesame")
    with server() as real:
        answer = ask(needed(real.server_port), COMMAND)
        (get, post) = real.asked
    assert (answer.problem, answer.remedy, answer.error) == ("", "", None)
    assert get == ("GET", "/v1/models", b"", "Bearer sesame")
    assert post[:2] == ("POST", "/v1/chat/completions")
    assert json.loads(post[2])["max_tokens"] == 1
    assert json.loads(post[2])["model"] == MODEL


def test_where_nothing_listens_the_start_command_is_the_remedy() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = ask(needed(free.getsockname()[1]), COMMAND)
    assert "nothing answers there" in answer.problem
    assert answer.remedy == START
    assert answer.error is not None
    assert f"the proposer ({MODEL} at http://127.0.0.1:" in str(answer.error)


def test_a_server_of_another_name_is_asked_for_by_that_name() -> None:
    near = "meta/llama-3.1-8b-instruct-dgx-spark"
    with server(say({"data": [{"id": "whisper"}, {"id": near}]})) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert answer.problem == f"it serves whisper, {near}, not this model"
    assert answer.remedy == f"{COMMAND} --set proposer_model={near}"


def test_a_server_without_the_model_is_not_the_one_and_one_that_is_asked_nothing_more() -> None:
    with server(say({"data": [{"id": f"m{number}"} for number in range(9)]})) as real:
        answer = ask(needed(real.server_port), COMMAND)
        assert len(real.asked) == 1
    assert answer.problem == "it serves m0, m1, m2, m3, m4 and 4 more, not this model"
    assert answer.remedy == START


def test_the_name_that_a_server_gives_is_no_command_and_no_escape() -> None:
    evil = f"{MODEL}; rm -rf $HOME \x1b[2J"
    with server(say({"data": [{"id": evil}]})) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert answer.remedy == START
    assert "\x1b" not in answer.problem


HTML = b"<!DOCTYPE html><title>Router</title>" + b"<p>" * 1000
DEEP = b"[" * 100_000
MISTAKEN = [
    pytest.param(say(HTML), None, "sends no list of models but '<!DOCTYPE", id="page"),
    pytest.param(say(b""), None, "sends no list of models but ''", id="nothing"),
    pytest.param(say(DEEP), None, "sends no list of models", id="brackets"),
    pytest.param(say({"data": {"id": MODEL}}), None, "sends no list of models", id="no-list"),
    pytest.param(say([MODEL]), None, "sends no list of models", id="another-list"),
    pytest.param(say(b"\xff\xfe\x00"), None, "sends no list of models", id="bytes"),
    pytest.param(say(b"", 404), None, "has no /models: its address should end in /v1", id="404"),
    pytest.param(say(b"later", 503), None, "answers /models with 503: later", id="503"),
    pytest.param(say(b"\x1b[31mno", 500), None, "answers /models with 500: no", id="500"),
    pytest.param(say(b"", 401), None, "refuses the key in HARNESS_CHAT_API_KEY", id="key"),
    pytest.param(None, say(b"oops", 500), "answers /chat/completions with 500: oops", id="oops"),
    pytest.param(None, say({"choices": []}), "completes no chat but sends", id="no-choice"),
    pytest.param(None, say({"choices": [{"message": 3}]}), "completes no chat", id="no-message"),
    pytest.param(None, say(HTML), "completes no chat but sends '<!DOCTYPE", id="chat-page"),
]


@pytest.mark.parametrize(("get", "post", "problem"), MISTAKEN)
def test_what_is_no_answer_is_said_in_one_short_line(
    get: Say | None, post: Say | None, problem: str
) -> None:
    with server(get, post) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert problem in answer.problem
    assert "\n" not in answer.problem
    assert "\x1b" not in answer.problem
    assert len(answer.problem) < 400
    assert answer.remedy


def test_a_server_that_sends_elsewhere_is_not_followed_and_the_key_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sesame")
    with server() as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.server_port}/v1/models"
        with server(say(b"", 302, {"Location": target})) as real:
            answer = ask(needed(real.server_port), COMMAND)
        assert elsewhere.asked == []
    assert f"sends /models elsewhere, to {target}, which is not followed" in answer.problem


def test_a_key_that_a_server_repeats_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sesame")
    with server(say(b"bad key sesame", 500)) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert answer.problem == "it answers /models with 500: bad key ***"


def test_an_answer_of_megabytes_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_MAX_BYTES", 2**16)
    sent: list[int] = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while True:
                sent.append(handler.wfile.write(b"x" * 2**16))

    with server(endless) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert "breaks its answer to /models off: more than 65536 bytes" in answer.problem
    assert sum(sent) < 64 * 2**20  # what the sockets hold, and no more


def slowly(begin: bytes) -> Say:
    """Say a byte now and then, for ever: no time-out of a single read ever ends it."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(begin)
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)

    return answer


_OK = b"HTTP/1.0 200 OK\r\n"


@pytest.mark.parametrize(
    "begin",
    [_OK + b"X-", _OK + b"\r\n", _OK + b"Content-Length: 9999\r\n\r\n"],
    ids=["header", "body", "body-of-a-length"],
)
def test_an_answer_that_never_ends_is_cut_in_time(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_LIST_S", 0.3)
    with server(slowly(begin)) as real:
        answer = ask(needed(real.server_port), COMMAND)
    assert answer.problem == "it does not answer /models within 0.3 s"
    assert answer.remedy.startswith("curl ")


def test_a_server_that_accepts_and_says_nothing_is_cut_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "_LIST_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        answer = ask(needed(mute.getsockname()[1]), COMMAND)
    assert answer.problem == "it does not answer /models within 0.2 s"


# --- which servers a profile needs --------------------------------------------------------------

SCENARIO = """\
scenario: a99-services
title: A loop that asks a model
question: Who answers?
article: {number: 99, title: Nothing}
environment: torch
workload: autoresearch.loop
params: {search_space: small, device: cpu}
profiles:
  cpu:
    summary: here
    sweep: {product: {proposer: [random, llm]}}
    services:
      proposer:
        model: a/model
        address: http://127.0.0.1:PORT/v1
        memory_gib: 3.5
        start: serve it
        source: this test
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a99-services"
    place.mkdir()
    return place


def write(folder: Path, text: str, port: int = 9) -> Path:
    (folder / "scenario.yaml").write_text(text.replace("PORT", str(port)), encoding="utf-8")
    return folder


def test_a_profile_asks_each_server_once_at_the_declared_address(folder: Path) -> None:
    with server(say({"data": [{"id": "a/model"}]})) as real:
        loaded = load(write(folder, SCENARIO, real.server_port))
        (answer,) = ask_services(loaded, Profile.CPU)
        assert len(real.asked) == 2
    assert answer.error is None
    assert (answer.service.memory_gib, answer.service.start) == (3.5, "serve it")


def test_another_address_is_another_server_whose_start_nobody_declared(folder: Path) -> None:
    loaded = load(write(folder, SCENARIO))
    with server(say({"data": [{"id": "a/model"}]})) as real:
        url = f"http://127.0.0.1:{real.server_port}/v1"
        origins = {"proposer_base_url": "--set"}
        (answer,) = ask_services(
            loaded, Profile.CPU, Overrides(params={"proposer_base_url": url}, origins=origins)
        )
    assert answer.error is None
    service = answer.service
    assert (service.address, service.memory_gib, service.start) == (url, None, "")
    at_nobody = replace(answer.service, address="http://127.0.0.1:9/v1")
    assert ask(at_nobody, COMMAND).remedy == "curl http://127.0.0.1:9/v1/models"


def test_runs_that_ask_nobody_need_nobody(folder: Path) -> None:
    loaded = load(write(folder, SCENARIO))
    asked = Overrides(only={"proposer": ("random",)})
    assert ask_services(loaded, Profile.CPU, asked) == ()


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("      proposer:\n", "      propser:\n", "services.propser", "asks no such service"),
        ("[random, llm]", "[random]", "services.proposer", "no run of this profile asks it"),
        ("device: cpu}", "device: cpu, proposer_model: b}", "params.proposer_model", "said twice"),
        ("127.0.0.1:PORT/v1", "name@host/v1", "proposer.address", "is not written so"),
        ("memory_gib: 3.5", "memory_gib: 0.0", "proposer.memory_gib", "greater than 0"),
        ("        start: serve it\n", "", "proposer.start", "key is required"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(
    old: str, new: str, key: str, message: str, folder: Path
) -> None:
    assert old in SCENARIO
    with pytest.raises(InputError) as refused:
        load(write(folder, SCENARIO.replace(old, new)))
    found = [each for each in refused.value.problems if each.key.endswith(key)]
    assert [message in each.message for each in found] == [True]
    assert found[0].line is not None


def test_a_server_that_is_asked_must_be_declared(folder: Path) -> None:
    with pytest.raises(InputError, match="ask a service that it does not declare: proposer"):
        load(write(folder, SCENARIO[: SCENARIO.index("    services:")]))


def test_a_container_without_a_network_reaches_no_server(folder: Path) -> None:
    text = SCENARIO.replace("    services:", "    image: cpu\n    services:")
    with pytest.raises(InputError, match=r"limits: a container without a network"):
        load(write(folder, text))


def test_doctor_on_a_spark_prints_what_starts_each_server(
    spark: Path,
    fake_nvml: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    project_root: Path,
) -> None:
    host = probe_host(spark, nvml_api=fake_nvml(), docker_socket=spark / "none")
    monkeypatch.setattr(doctor, "probe_host", lambda: host)
    assert main(["doctor", "--project", str(project_root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "service proposer" in line]
    assert "meta/llama-3.1-8b-instruct at http://127.0.0.1:8000/v1, for a22 spark" in lines[at]
    assert "next: docker run --rm --gpus all" in lines[at + 1]
    (profile,) = [line for line in lines if "  profile spark " in line]
    assert "no server answers as proposer" in profile
