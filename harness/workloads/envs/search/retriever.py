"""What a retriever is, and one that is asked over HTTP. Loads nothing but the standard library.

The contract is that of the server which the paper's code trains against::

    POST /retrieve  {"queries": ["..."], "topk": 3, "return_scores": true}
    200             {"result": [[{"document": {"contents": "..."}, "score": 9.1}, ...]]}

with one list for each query. Without ``return_scores`` the documents stand in it alone.
"""

from __future__ import annotations

from typing import Any, Protocol

from harness.reading import read_json
from harness.records import from_json, record
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.http import Server, SilentError
from harness.workloads.inference.service import RunningService

_DEATH_S = 5.0  # what a server that breaks down may take from its last answer to its end


@record
class Hit:
    """A passage that was found; of two scores of one query the higher is better."""

    contents: str
    score: float


class Retriever(Protocol):
    """Whoever finds passages; may be asked by several threads at once."""

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        """Return at most `count` passages, best first.

        Raises:
            EngineError: a server that is asked does not answer, or answers something else.
        """
        ...


class RemoteRetriever:
    """A retriever behind the contract above.

    Args:
        url: where it answers, without path.
        service: the server, where it is this run's own: its end is then the run's.
    """

    def __init__(self, url: str, service: RunningService | None = None) -> None:
        self._server = Server(url)
        self._service = service

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        """Return at most `count` passages, best first; raises as `Retriever.search`.

        Raises:
            ServiceDied: this run's own server has ended.
        """
        body = {"queries": [query], "topk": count, "return_scores": True}
        try:
            answer = self._server.ask("POST", "/retrieve", body)
        except SilentError:
            if self._service is not None:
                self._service.check(within_s=_DEATH_S)
            raise
        try:
            (found,) = read_json(answer, mend=True)["result"]
            return tuple(map(_hit, found))
        except (ValueError, LookupError, TypeError) as error:
            message = f"{self._server.url} answers with something else than passages: {error!r}"
            raise EngineError(message) from None

    def close(self) -> None:
        """Close the connections."""
        self._server.close()


def _hit(found: Any) -> Hit:
    given = {"contents": found["document"]["contents"], "score": found["score"]}
    return from_json(Hit, given)
