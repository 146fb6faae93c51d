"""Served adapters and kept connections, against a server that can be made to lie."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.workloads.inference.adapters import (
    Adapter,
    ServedModels,
    load_adapter,
    require_adapter,
    served_models,
    unload_adapter,
)
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.http import RefusedError, Server, SilentError

ONE = Adapter(name="policy", folder="/adapters/1")
TWO = Adapter(name="policy", folder="/adapters/2")


class Fake(http.server.ThreadingHTTPServer):
    """Stands for vLLM: lists a base model and what was loaded, unless told otherwise."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.loaded: dict[str, str] = {}
        self.keeps_old = False
        self.listing: bytes | None = None

    @property
    def server(self) -> Server:
        return Server(url=f"http://127.0.0.1:{self.server_port}", timeout_s=5.0)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        base = {"id": "base", "root": "/model", "parent": None}
        adapters = [
            {"id": name, "root": folder, "parent": "base"}
            for name, folder in self.server.loaded.items()
        ]
        listed = json.dumps({"data": [base, *adapters]}).encode()
        self.answer(200, self.server.listing or listed)

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        loaded, name = self.server.loaded, asked["lora_name"]
        match self.path:
            case "/v1/load_lora_adapter" if asked["load_inplace"]:
                if not self.server.keeps_old:
                    loaded[name] = asked["lora_path"]
                self.answer(200, b"Success")
            case "/v1/unload_lora_adapter" if loaded.pop(name, None):
                self.answer(200, b"Success")
            case _:
                self.answer(404, b"cannot be found")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_adapter_comes_is_replaced_and_goes(fake: Fake) -> None:
    for adapter in (ONE, TWO):
        load_adapter(fake.server, adapter)
        assert served_models(fake.server) == ServedModels(base="base", adapters=(adapter,))
    unload_adapter(fake.server, "policy")
    assert served_models(fake.server) == ServedModels(base="base", adapters=())


def test_a_load_that_changes_nothing_is_noticed(fake: Fake) -> None:
    load_adapter(fake.server, ONE)
    fake.keeps_old = True
    with pytest.raises(EngineError, match=r"'policy' of /adapters/2 .* from /adapters/1"):
        load_adapter(fake.server, TWO)


def test_a_folder_is_not_served_twice(fake: Fake) -> None:
    load_adapter(fake.server, ONE)
    with pytest.raises(EngineError, match=r"already served .* needs its own folder"):
        load_adapter(fake.server, ONE)


def test_what_is_not_served_is_said_with_what_is(fake: Fake) -> None:
    with pytest.raises(EngineError, match="serves no adapter"):
        require_adapter(fake.server, ONE)
    load_adapter(fake.server, Adapter(name="reference", folder="/adapters/0"))
    with pytest.raises(EngineError, match=r"serves \['reference'\]"):
        require_adapter(fake.server, ONE)


def test_a_refusal_carries_the_servers_words(fake: Fake) -> None:
    with pytest.raises(RefusedError, match="with 404: cannot be found"):
        unload_adapter(fake.server, "policy")


@pytest.mark.parametrize("listing", [b"<html>", b"{}", b'{"data": []}', b'{"data": [{"id": "x"}]}'])
def test_another_server_on_that_port_is_no_vllm(fake: Fake, listing: bytes) -> None:
    fake.listing = listing
    with pytest.raises(EngineError, match="does not list models as vLLM does"):
        served_models(fake.server)


def test_a_server_that_is_gone_is_said_to_be() -> None:
    with socket.socket() as silent:  # bound, so that nobody else can listen there
        silent.bind(("127.0.0.1", 0))
        gone = Server(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(SilentError, match="does not answer /v1/models: ConnectionRefusedError"):
            served_models(gone)
