"""The client of vLLM, against a server that answers what a test tells it to."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.workloads.inference.engine import EngineError, Finish, SamplingParams
from harness.workloads.inference.http import RefusedError, SilentError
from harness.workloads.inference.service import RunningService, Service
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype
from harness.workloads.inference.vllm_engine import VllmEngine

SERVING = Serving(
    model_dir=Path("/models/tiny"),
    name="tiny",
    dtype=VllmDtype.FLOAT32,
    max_model_len=10,
    max_num_seqs=4,
    seed=0,
    place=OnCpu(kv_cache_gib=1),
)
END_TOKEN = 7
SAMPLING = SamplingParams(temperature=0.5, max_new_tokens=4, seed=3, top_p=0.9, top_k=5)
CHOICE = {
    "token_ids": [5, 7],
    "logprobs": {
        "token_logprobs": [-1.5, -0.25],
        # a token that was drawn is listed also where others are likelier
        "top_logprobs": [
            {"token_id:5": -1.5, "token_id:1": -0.5, "token_id:2": -1.0},
            {"token_id:7": -0.25, "token_id:2": -3.0},
        ],
    },
    "finish_reason": "stop",
}


class Fake(http.server.ThreadingHTTPServer):
    """Stands for vLLM; counts the connections that are made."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.answer = json.dumps({"choices": [CHOICE]}).encode()
        self.asked: list[Any] = []
        self.connections = 0
        self.hangs_up_after = 10**6  # requests on one connection

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def setup(self) -> None:
        super().setup()
        self.served = 0

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)
        self.served += 1
        if self.served == self.server.hangs_up_after:  # as an idle connection ends: unannounced
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Standing(RunningService):
    """A service that somebody else started, and that does not end."""

    def __init__(self, port: int) -> None:
        super().__init__(Service(name="fake", argv=()), Path("/dev/null"))
        self.port, self._start_s = port, 0.0

    def check(self, within_s: float = 0.0) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def engine(fake: Fake) -> Iterator[VllmEngine]:
    engine = VllmEngine(Standing(fake.server_port), SERVING, END_TOKEN)
    yield engine
    engine.close()


def test_a_request_names_all_that_decides_the_reply(fake: Fake, engine: VllmEngine) -> None:
    engine.reply([1, 2, 3], SAMPLING)
    assert fake.asked == [
        {
            "model": "tiny",
            "prompt": [1, 2, 3],
            "temperature": 0.5,
            "max_tokens": 4,
            "seed": 3,
            "top_p": 0.9,
            "top_k": 5,
            "min_p": 0.0,
            "min_tokens": 0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "n": 1,
            "stream": False,
            "echo": False,
            "logprobs": 0,
            "stop_token_ids": [END_TOKEN],
            "ignore_eos": True,
            "add_special_tokens": False,
            "skip_special_tokens": False,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
    ]


def test_a_reply_asks_for_no_more_than_fits(fake: Fake, engine: VllmEngine) -> None:
    engine.reply([1] * 8, SAMPLING)
    assert fake.asked[0]["max_tokens"] == 2


def test_the_likeliest_come_in_order_and_as_many_as_asked_for(engine: VllmEngine) -> None:
    reply = engine.reply(
        [1], SamplingParams(temperature=1.0, max_new_tokens=4, seed=0, alternatives=2)
    )
    assert (reply.tokens, reply.logprobs) == ((5, 7), (-1.5, -0.25))
    assert reply.alternatives == ((-0.5, -1.0), (-0.25, -3.0))
    assert reply.finish is Finish.STOP


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"{}",
        b'{"choices": []}',
        json.dumps({"choices": [{**CHOICE, "token_ids": [5]}]}).encode(),
        json.dumps({"choices": [{**CHOICE, "logprobs": None}]}).encode(),
        json.dumps({"choices": [{**CHOICE, "finish_reason": "abort"}]}).encode(),
    ],
)
def test_another_protocol_is_an_error(fake: Fake, engine: VllmEngine, answer: bytes) -> None:
    fake.answer = answer
    with pytest.raises(EngineError, match="vLLM answers with something else than a completion"):
        engine.reply([1], SAMPLING)


def test_a_server_that_lives_is_blamed_in_its_own_words(fake: Fake, engine: VllmEngine) -> None:
    fake.status, fake.answer = 500, b"worker is stuck"
    with pytest.raises(RefusedError, match="refuses /v1/completions with 500: worker is stuck"):
        engine.reply([1], SAMPLING)


def test_connections_are_kept_and_shared_by_threads(fake: Fake, engine: VllmEngine) -> None:
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda _: engine.reply([1], SAMPLING), range(100)))
    assert len(set(replies)) == 1
    assert 1 <= fake.connections <= 4


def test_a_kept_connection_that_the_server_closed_is_made_anew(
    fake: Fake, engine: VllmEngine
) -> None:
    fake.hangs_up_after = 1
    for _ in range(5):
        engine.reply([1], SAMPLING)
    assert fake.connections == 5
    assert len(fake.asked) == 5


def test_nobody_there_is_said() -> None:
    gone = VllmEngine(Standing(1), SERVING, END_TOKEN)  # nothing may listen there
    with pytest.raises(SilentError, match="does not answer /v1/completions: ConnectionRefused"):
        gone.reply([1], SAMPLING)
