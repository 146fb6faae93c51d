from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from harness.workloads.envs.search.retriever import RemoteRetriever
from harness.workloads.envs.search.retriever_server import new_server, understood
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.http import RefusedError

from .fakes import Shelf

_PASSAGES = ("one\nsun", "two\nmoon", "three\nsun and moon")


@pytest.fixture
def port() -> Iterator[int]:
    server = new_server(Shelf(_PASSAGES), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ask(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_contract_with_scores(port: int) -> None:
    body = json.dumps({"queries": ["sun", "star"], "topk": 3, "return_scores": True}).encode()
    status, answer = _ask(port, "POST", "/retrieve", body)
    found = [{"document": {"contents": _PASSAGES[at]}, "score": 1.0} for at in (0, 2)]
    assert (status, answer) == (200, {"result": [found, []]})


def test_the_contract_without_scores(port: int) -> None:
    body = json.dumps({"queries": ["sun"], "topk": 1}).encode()
    assert _ask(port, "POST", "/retrieve", body)[1] == {"result": [[{"contents": _PASSAGES[0]}]]}


def test_the_remote_retriever_finds_what_the_one_behind_it_finds(port: int) -> None:
    with closing(RemoteRetriever(f"http://127.0.0.1:{port}")) as retriever:
        for query in ("sun", "moon", "sun moon", "star", "Ünïcode"):
            assert retriever.search(query, 2) == Shelf(_PASSAGES).search(query, 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        *(("[", "Expecting"), ("[]", "not an object"), ('{"topk": 3}', "queries: a list")),
        *(('{"queries": "sun"}', "queries: a list"), ('{"queries": [1]}', "queries: a list")),
        *(('{"queries": [], "topk": 0}', "topk"), ('{"queries": [], "topk": true}', "topk")),
        ('{"queries": [], "top_k": 3}', "unknown: .'top_k'."),
    ],
)
def test_what_is_not_of_the_contract_is_refused(port: int, body: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        understood(body.encode())
    assert _ask(port, "POST", "/retrieve", body.encode())[0] == 400


def test_nothing_else_is_there(port: int) -> None:
    assert _ask(port, "GET", "/health") == (200, {})
    assert _ask(port, "GET", "/retrieve")[0] == 404
    assert _ask(port, "POST", "/other", b"{}")[0] == 404


def test_a_server_that_refuses_or_is_silent_says_so(port: int) -> None:
    with (
        closing(RemoteRetriever(f"http://127.0.0.1:{port}")) as retriever,
        pytest.raises(RefusedError, match="topk: 1 to 1000"),
    ):
        retriever.search("sun", 1001)
    with pytest.raises(EngineError, match="does not answer"):
        RemoteRetriever("http://127.0.0.1:9").search("sun", 1)
