from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from harness.errors import HostError
from harness.variables import KEY_VARIABLE
from harness.workloads.envs.files.author import AuthorFailedError
from harness.workloads.envs.files.llm_author import LlmAuthor, extract, prompt
from harness.workloads.envs.files.personas import PERSONAS, Slot
from harness.workloads.inference.chat import ChatSamplingParams, Endpoint, chat
from harness.workloads.inference.chat_template import Message, Role

SLOT = Slot(persona=PERSONAS[0], index=1, seed=43)
KEY = "sk-very-secret"
GOOD = {
    "intent": "Move the hero's image into a new directory player.",
    "skills_required": ["file.move", "shell.teleport"],
    "verifiable_assertions": [
        {"kind": "file_exists", "path": "player/hero.png"},
        {"kind": "file_not_exists", "path": "assets/hero.png"},
    ],
    "difficulty": "easy",
    "estimated_steps": 2,
    "task_id": "whatever the model likes",
}
HELLO = [Message(role=Role.USER, content="hello")]


class Model(HTTPServer):
    """Answers with what is queued: a status and a body, or a reply to wrap as a completion."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[str | tuple[int, str, dict[str, str]]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def endpoint(self, **changes: Any) -> Endpoint:
        return Endpoint(
            **{"base_url": self.url, "model": "m", "timeout_s": 5.0, "pause_s": 0.0, **changes}
        )


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        self._answer()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), {}))
        self._answer()

    def _answer(self) -> None:
        answer = self.server.answers.pop(0)
        if isinstance(answer, str):
            choice = {"message": {"role": "assistant", "content": answer}}
            answer = 200, json.dumps({"choices": [choice]}), {}
        status, text, headers = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    server = Model()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_reply_becomes_a_task_on_our_workspace(model: Model) -> None:
    model.answers = [f"<think>{{}} hm</think>Here it is:\n```json\n{json.dumps(GOOD)}\n```"]
    task = LlmAuthor(model.endpoint()).write(SLOT)
    assert task.task_id == "synth-indie-game-dev-01"
    assert task.seed == SLOT.files
    assert task.intent == GOOD["intent"]
    assert task.skills == ("file.move",)
    assert task.oracle == ()


def test_the_request_says_all_that_decides_the_reply(model: Model) -> None:
    model.answers = [json.dumps(GOOD)]
    LlmAuthor(model.endpoint()).write(SLOT)
    ((path, headers, body),) = model.requests
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.4, 1500)
    assert (body["top_p"], body["seed"]) == (1.0, 129)
    assert body["chat_template_kwargs"] == {"thinking": False}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    asked = body["messages"][1]["content"]
    for told in ("assets/enemy_koopa.png: binary, 2315 bytes", "extends CharacterBody2D", "2 to 6"):
        assert told in asked
    assert asked.index("shell.mkdir") < asked.index("file.copy")  # its focus comes first


def test_a_bad_reply_is_asked_for_again_with_another_seed(model: Model) -> None:
    model.answers = ["Sorry, no.", json.dumps({**GOOD, "difficulty": "trivial"}), json.dumps(GOOD)]
    assert LlmAuthor(model.endpoint()).write(SLOT).intent == GOOD["intent"]
    assert [body["seed"] for _, _, body in model.requests] == [129, 130, 131]


def test_a_slot_is_given_up_after_the_last_attempt_and_says_why(model: Model) -> None:
    model.answers = [json.dumps({**GOOD, "estimated_steps": 0})] * 2
    with pytest.raises(AuthorFailedError, match=r"2 replies.*estimated_steps: out of range"):
        LlmAuthor(model.endpoint(), attempts=2).write(SLOT)


def test_a_busy_server_is_asked_again(model: Model) -> None:
    model.answers = [(503, "loading", {}), (429, "slow down", {}), "hi"]
    assert (
        chat(model.endpoint(), HELLO, ChatSamplingParams(temperature=0.0, max_new_tokens=8)) == "hi"
    )


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (404, 1), (400, 1), (500, 3)])
def test_a_server_that_refuses_is_the_hosts_trouble(model: Model, status: int, asked: int) -> None:
    model.answers = [(status, "no such model", {})] * 3
    with pytest.raises(HostError, match=f"{status}: no such model"):
        LlmAuthor(model.endpoint()).write(SLOT)
    assert len(model.requests) == asked


@pytest.mark.parametrize("body", ["", "<html>", "{}", '{"choices": []}', "[1]"])
def test_a_server_of_another_protocol_is_named(model: Model, body: str) -> None:
    model.answers = [(200, body, {})]
    with pytest.raises(HostError, match="sends no chat completion"):
        chat(model.endpoint(), HELLO, ChatSamplingParams(temperature=0.0, max_new_tokens=8))


def test_a_server_that_is_not_there_is_named_with_the_next_command(model: Model) -> None:
    endpoint = model.endpoint(base_url="http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(HostError, match=r"does not answer.*\n.*curl http://127.0.0.1:9/v1/models"):
        chat(endpoint, HELLO, ChatSamplingParams(temperature=0.0, max_new_tokens=8))


def test_only_a_server_is_ever_opened() -> None:
    with pytest.raises(HostError, match="is no address of a server"):
        chat(
            Endpoint(base_url="file:///etc", model="m"),
            HELLO,
            ChatSamplingParams(temperature=0, max_new_tokens=1),
        )


def test_a_key_goes_to_its_server_and_into_no_message(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model.answers = [(401, f"bad key {KEY}", {})]
    with pytest.raises(HostError) as caught:
        chat(model.endpoint(), HELLO, ChatSamplingParams(temperature=0.0, max_new_tokens=8))
    assert model.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    assert "bad key ***" in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value) + repr(model.endpoint())


def test_a_key_does_not_follow_a_redirect(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    model.answers = [(302, "", {"Location": f"{model.url}/elsewhere"}), "caught"]
    chat(model.endpoint(), HELLO, ChatSamplingParams(temperature=0.0, max_new_tokens=8))
    assert ["Authorization" in headers for _, headers, _ in model.requests] == [True, False]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1} and {"a": 1, "b": 2} or {"c": 3}', {"a": 1, "b": 2}),
        ('```json\n{"a": "}{", "b": "\\"}"}\n```', {"a": "}{", "b": '"}'}),
        (
            '<think>{"a": 1, "b": 2}</think>{"c": {"d": 1, "e": 2, "f": 3}}',
            {"c": {"d": 1, "e": 2, "f": 3}},
        ),
        ("{ no } { json }", {}),
        ("", {}),
        ("[1, 2]", {}),
        ('{"a": ' * 5000, {}),
    ],
)
def test_the_object_is_found_in_what_stands_around_it(reply: str, found: dict[str, Any]) -> None:
    assert extract(reply) == found


def test_every_persona_has_a_prompt() -> None:
    for persona in PERSONAS:
        _, asked = prompt(Slot(persona=persona, index=0, seed=0))
        assert persona.context in asked.content
