"""A retriever behind HTTP on loopback: ``python -m ....retriever_server PASSAGES PORT``.

PASSAGES is a file with one JSON object a line, each with ``contents``. A third argument names the
folder of an encoder; without one, words are searched for. `retriever_service` starts it beside a
workload.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import harness
from harness.reading import read_json
from harness.records import record
from harness.workloads.envs.search.retriever import Hit, RemoteRetriever, Retriever
from harness.workloads.inference.service import PORT, RunningService, Service

_LARGEST_BYTES = 2**20  # of a request: some hundred queries
_MOST = 1000  # passages for one query


@contextmanager
def retriever_service(
    passages: Sequence[str], folder: Path, encoder: Path | None = None
) -> Iterator[RemoteRetriever]:
    """Serve passages to this process; the server ends with the block.

    Args:
        passages: what is searched.
        folder: of the run; takes the passages and the server's log.
        encoder: the folder of a model that makes vectors of texts; None for search by words.

    Raises:
        ServiceDied: the server ended, or came to a standstill before.
    """
    path = folder / "passages.jsonl"
    lines = (json.dumps({"contents": contents}, ensure_ascii=False) for contents in passages)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    service = Service(
        name="retriever",
        argv=(
            sys.executable,
            "-m",
            __name__,
            str(path),
            PORT,
            *([str(encoder)] if encoder else []),
        ),
        env={"PYTHONPATH": str(Path(harness.__file__).parents[1])},
    )
    with RunningService(service, folder / "retriever.log") as running:
        retriever = RemoteRetriever(running.url, running)
        try:
            yield retriever
        finally:
            retriever.close()


@record
class RetrievalRequest:
    """What is asked.

    Attributes:
        topk: passages for each query.
        return_scores: whether each comes with its score.
    """

    queries: tuple[str, ...]
    topk: int
    return_scores: bool


def new_server(retriever: Retriever, port: int) -> ThreadingHTTPServer:
    """Return a server of `retriever` on loopback, which does not answer yet; 0 takes any port."""

    class Handler(_Handler):
        asked = retriever

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    wbufsize = -1  # an answer is one write: two would wait for each other's acknowledgement
    asked: Retriever

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(HTTPStatus.OK, {})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"there is no {self.path}"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/retrieve" or length > _LARGEST_BYTES:
            self.close_connection = True  # what was sent is not read
            self._answer(HTTPStatus.NOT_FOUND, {"error": "POST /retrieve, at most 1 MiB"})
            return
        try:
            request = understood(self.rfile.read(length))
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return
        found = [self.asked.search(query, request.topk) for query in request.queries]
        documents = [[_document(hit, request) for hit in hits] for hits in found]
        self._answer(HTTPStatus.OK, {"result": documents})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's
        """Say nothing of a request: there are thousands."""

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def understood(body: bytes) -> RetrievalRequest:
    """Return what a request asks for.

    Raises:
        ValueError: it is not of the contract; says how.
    """
    given = read_json(body)
    if not isinstance(given, dict) or (
        more := given.keys() - RetrievalRequest.__dataclass_fields__.keys()
    ):
        message = f"unknown: {sorted(more)}" if isinstance(given, dict) else "not an object"
        raise ValueError(message)
    queries, topk, scores = given.get("queries"), given.get("topk", 3), given.get("return_scores")
    if not isinstance(queries, list) or not all(isinstance(each, str) for each in queries):
        message = "queries: a list of texts"
        raise ValueError(message)
    if type(topk) is not int or not 1 <= topk <= _MOST:
        message = f"topk: 1 to {_MOST}"
        raise ValueError(message)
    return RetrievalRequest(queries=tuple(queries), topk=topk, return_scores=scores is True)


def _document(hit: Hit, request: RetrievalRequest) -> dict[str, Any]:
    document = {"contents": hit.contents}
    return {"document": document, "score": hit.score} if request.return_scores else document


def main(arguments: Sequence[str]) -> None:
    """Answer until somebody ends the process."""
    path, port, *encoder = arguments
    with Path(path).open(encoding="utf-8") as file:
        passages = [read_json(line, mend=True)["contents"] for line in file]
    new_server(_open(passages, *map(Path, encoder)), int(port)).serve_forever()


def _open(passages: Sequence[str], encoder: Path | None = None) -> Retriever:
    if encoder is None:
        from harness.workloads.envs.search.bm25 import Bm25  # noqa: PLC0415 - nobody else needs bm25s

        return Bm25(passages)
    from harness.workloads.envs.search.dense import Dense  # noqa: PLC0415 - nobody else needs torch

    return Dense(passages, encoder)


if __name__ == "__main__":
    main(sys.argv[1:])
