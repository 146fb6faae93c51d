"""Ask the model servers that a profile needs one real question each, before anything is fetched.

A server is another program's word: its answer is bounded in time and bytes, is never followed
elsewhere, and is shown as plain text. It answers where it lists the model and completes one token.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from harness.errors import HostError, nearest
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.printable import plain
from harness.reading import read_json
from harness.records import Profile, record
from harness.scenario.load import Loaded
from harness.scenario.services import NeededService, needed_services
from harness.variables import KEY_VARIABLE, chat_key
from harness.workloads.api.registry import workload
from harness.workloads.inference.chat import address_problem

_CONNECT_S = 3.0
_LIST_S = 10.0
_REPLY_S = 60.0  # one token: a large model that is busy, or compiles at its first request
_MAX_BYTES = 4 * 2**20  # the longest lists of models, of services that sell hundreds, have one MiB
_CHUNK_BYTES = 64 * 2**10
_SHOWN = 200  # characters of what a server says
_SHOWN_MODELS = 5
_REFUSED = {401, 403}
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")


@record
class ServiceAnswer:
    """What a server that a profile needs says.

    Attributes:
        service: whom the run will ask.
        problem: why it cannot; empty where it can.
        remedy: the next command to type.
        took_s: until it had answered, seconds.
    """

    service: NeededService
    problem: str
    remedy: str
    took_s: float

    @property
    def error(self) -> HostError | None:
        """What keeps the run from starting; None where it answers."""
        if not self.problem:
            return None
        asked = f"the {self.service.role} ({self.service.model} at {self.service.address})"
        return HostError(f"{asked}: {self.problem}", self.remedy)


class _AnswerError(Exception):
    """A server does not do what a run needs.

    Args:
        problem: why not.
        remedy: the next command; empty for the one that starts the server.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(problem)


def ask_services(
    loaded: Loaded, profile: Profile, overrides: Overrides | None = None
) -> tuple[ServiceAnswer, ...]:
    """Return what each model server says that the runs of a profile ask and do not start.

    Args:
        loaded: the scenario.
        profile: one that it has.
        overrides: what the command line changes.

    Raises:
        InputError: the profile cannot be planned.
    """
    model = loaded.scenario.profiles[profile]
    declared = workload(loaded.scenario.workload_of(profile))
    if not declared.services:
        return ()
    runs = expand(loaded, profile, overrides or Overrides()).runs
    needed = dict.fromkeys(
        each for spec in runs for each in needed_services(model, declared, spec.params)
    )
    command = f"harness run {loaded.scenario.scenario} --profile {profile}"
    return tuple(ask(each, command) for each in needed)


def ask(service: NeededService, command: str) -> ServiceAnswer:
    """Ask one server for its models, and for one token.

    Args:
        service: whom.
        command: what runs the scenario, for a remedy that names another model or address.
    """
    began = time.monotonic()
    start = service.start or f"curl {service.address}/models"
    problem = remedy = ""
    if wrong := address_problem(service.address):
        problem = f"that is no address of a server: {wrong}"
        remedy = f"{command} --set {service.address_param}=http://127.0.0.1:8000/v1"
        return ServiceAnswer(service=service, problem=problem, remedy=remedy, took_s=0.0)
    try:
        _require_model(service, command)
        _require_reply(service)
    except _AnswerError as error:
        problem, remedy = error.problem, error.remedy or start
    return ServiceAnswer(
        service=service, problem=problem, remedy=remedy, took_s=time.monotonic() - began
    )


def _require_model(service: NeededService, command: str) -> None:
    content = _answer(service, "GET", "/models", None, _LIST_S)
    try:
        listed = [str(each["id"]) for each in read_json(content, mend=True)["data"]]
    except (ValueError, LookupError, TypeError):
        message = f"it sends no list of models but {_shown(content)!r}"
        raise _AnswerError(message, f"curl {service.address}/models") from None
    if service.model in listed:
        return
    shown = ", ".join(_shown(each) for each in listed[:_SHOWN_MODELS]) or "no model"
    more = f" and {len(listed) - _SHOWN_MODELS} more" if len(listed) > _SHOWN_MODELS else ""
    # a name from a server goes into a command only where the shell reads it as one word
    near = nearest(service.model, filter(_WORD.fullmatch, listed))
    message = f"it serves {shown}{more}, not this model"
    raise _AnswerError(message, f"{command} --set {service.model_param}={near}" if near else "")


def _require_reply(service: NeededService) -> None:
    body = {
        "model": service.model,
        "messages": [{"role": "user", "content": "Answer with the word ready."}],
        "max_tokens": 1,
        "temperature": 0.0,
    }
    content = _answer(service, "POST", "/chat/completions", json.dumps(body).encode(), _REPLY_S)
    try:
        said = read_json(content, mend=True)["choices"][0]["message"]
        is_reply = isinstance(said, dict)
    except (ValueError, LookupError, TypeError):
        is_reply = False
    if not is_reply:
        message = f"it completes no chat but sends {_shown(content)!r}"
        raise _AnswerError(message, f"curl {service.address}/models")


def _answer(
    service: NeededService, method: str, path: str, body: bytes | None, limit_s: float
) -> bytes:
    """Return the body of an answer with status 200.

    Raises:
        _AnswerError: there is none, or not in time, or it is too long.
    """
    key = chat_key(os.environ)
    if not (key.isascii() and key.isprintable()):
        message = f"the key in {KEY_VARIABLE} holds characters that no header can"
        raise _AnswerError(message, f"export {KEY_VARIABLE}=... again, without line ends in it")
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    address = urlsplit(service.address)
    made = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = made(address.hostname or "", address.port, timeout=_CONNECT_S)
    try:
        connection.connect()
        with _within(connection, limit_s) as is_late:
            try:
                connection.request(method, f"{address.path.rstrip('/')}{path}", body, headers)
                reply = connection.getresponse()
                content = _bounded(reply)
                if is_late.is_set():  # a body without a length ends where it is cut
                    raise TimeoutError
            except (OSError, http.client.HTTPException, ValueError) as error:
                # the socket's own time-out may come before the timer's
                if is_late.is_set() or isinstance(error, TimeoutError):
                    message = f"it does not answer {path} within {limit_s:g} s"
                    raise _AnswerError(message, f"curl {service.address}/models") from None
                message = f"it breaks its answer to {path} off: {_shown(str(error))}"
                raise _AnswerError(message, f"curl {service.address}/models") from None
    except (OSError, http.client.HTTPException) as error:
        message = f"nothing answers there ({_shown(str(error))})"
        raise _AnswerError(message) from None
    finally:
        connection.close()
    if reply.status != http.HTTPStatus.OK:
        raise _refusal(service, path, reply, content)
    return content


def _bounded(reply: http.client.HTTPResponse) -> bytes:
    """Return the body, unless it is too long.

    Raises:
        HTTPException: it is.
    """
    content = bytearray()
    while chunk := reply.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > _MAX_BYTES:
            message = f"more than {_MAX_BYTES} bytes"
            raise http.client.HTTPException(message)
    return bytes(content)


@contextmanager
def _within(connection: http.client.HTTPConnection, limit_s: float) -> Iterator[threading.Event]:
    """Cut the connection once the time is over: a byte now and then keeps no socket's time-out."""
    is_late = threading.Event()
    cut = connection.sock

    def end() -> None:
        is_late.set()
        with suppress(OSError):
            cut.shutdown(socket.SHUT_RDWR)

    cut.settimeout(limit_s)
    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _refusal(
    service: NeededService, path: str, reply: http.client.HTTPResponse, content: bytes
) -> _AnswerError:
    status, asks = reply.status, f"curl {service.address}/models"
    if http.HTTPStatus.MULTIPLE_CHOICES <= status < http.HTTPStatus.BAD_REQUEST:
        target = _shown(reply.headers.get("Location", "nowhere"))
        message = f"it sends {path} elsewhere, to {target}, which is not followed"
        return _AnswerError(message, asks)
    if status in _REFUSED:
        message = f"it refuses the key in {KEY_VARIABLE} with {status}"
        return _AnswerError(message, f"export {KEY_VARIABLE}=...  # the key of {service.address}")
    if status == http.HTTPStatus.NOT_FOUND:
        return _AnswerError(f"it has no {path}: its address should end in /v1", asks)
    return _AnswerError(f"it answers {path} with {status}: {_shown(content)}", asks)


def _shown(said: Any) -> str:
    """Return what a server says, short, on one line, and without the key."""
    text = said[: 4 * _SHOWN].decode(errors="replace") if isinstance(said, bytes) else str(said)
    key = chat_key(os.environ)
    return plain(text.replace(key, "***") if key else text)[:_SHOWN]
