"""A client of the OpenAI chat protocol, as vLLM and NIM serve it; the standard library only.

The key, where a server wants one, comes from the environment and goes into one header: it is in no
record, and what the server says is searched for it before anybody is shown it.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from harness.errors import HostError
from harness.printable import plain
from harness.reading import read_json
from harness.records import record, to_json
from harness.variables import KEY_VARIABLE, chat_key
from harness.workloads.inference.chat_template import Message

_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # the server may answer the same request later
_MAX_BYTES = 8 << 20  # of an answer


@record
class Endpoint:
    """Where a model is served.

    Attributes:
        base_url: up to and with ``/v1``.
        model: its name there.
        timeout_s: for one answer, seconds.
        attempts: how often a request is sent before the server counts as down.
        pause_s: before the second attempt, seconds; doubled before each further one.
    """

    base_url: str
    model: str
    timeout_s: float = 240.0
    attempts: int = 3
    pause_s: float = 1.0


@record
class ChatSamplingParams:
    """How a reply is sampled. Everything is sent: servers have defaults of their own.

    Attributes:
        extra: further keys of the request, e.g. ``chat_template_kwargs``.
    """

    temperature: float
    max_new_tokens: int
    seed: int = 0
    top_p: float = 1.0
    extra: Mapping[str, Any] | None = None


def chat(endpoint: Endpoint, messages: Sequence[Message], sampling: ChatSamplingParams) -> str:
    """Return a model's reply; empty where the server sends none.

    Raises:
        HostError: the server cannot be reached, refuses, or speaks another protocol.
    """
    if problem := address_problem(endpoint.base_url):
        message = f"{endpoint.base_url!r} is no address of a server: {problem}"
        raise HostError(message, "give base_url as http://HOST:PORT/v1")
    chosen = to_json(sampling)
    chosen["max_tokens"] = chosen.pop("max_new_tokens")  # as OpenAI calls it
    extra = chosen.pop("extra") or {}
    body = {"model": endpoint.model, "messages": to_json(list(messages)), **chosen, **extra}
    content = _post(endpoint, json.dumps(body).encode())
    try:
        reply = read_json(content, mend=True)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        message = f"{endpoint.base_url} sends no chat completion: {_shown(repr(content[:200]))}"
        raise HostError(message, "check base_url: it ends in /v1") from None
    return reply if isinstance(reply, str) else ""


def address_problem(url: str) -> str:
    """Return why `url` is no address that a server can be asked at; empty if it is one."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return "it does not begin with http:// or https://"
        if not parts.hostname or parts.port == 0:
            return "it names no host and port"
        if parts.password is not None or parts.username is not None:
            return f"a name and password do not belong there, but a key into {KEY_VARIABLE}"
        parts.hostname.encode("idna")
        url.encode("ascii")
    except UnicodeError:
        return "it has characters that addresses do not have"
    except ValueError as error:  # a port of six digits, a bracket that is not closed
        return str(error)
    return "" if url.isprintable() and " " not in url else "it holds spaces or control characters"


def _post(endpoint: Endpoint, body: bytes) -> bytes:
    """Send a request until the server answers, at most `Endpoint.attempts` times."""
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    request = Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - scheme checked
    if key := _key():
        request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this server only
    pause_s = endpoint.pause_s
    for attempt in range(1, endpoint.attempts + 1):
        try:
            with urlopen(request, timeout=endpoint.timeout_s) as answer:  # noqa: S310 - scheme checked
                content: bytes = answer.read(_MAX_BYTES)
                return content
        except HTTPError as error:
            message = f"{endpoint.base_url} answers {error.code}: {_refusal(error)}"
            if error.code not in _AGAIN or attempt == endpoint.attempts:
                raise HostError(message, f"check the model's name and {KEY_VARIABLE}") from None
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            if attempt == endpoint.attempts:
                message = f"{endpoint.base_url} does not answer: {_shown(str(error))}"
                raise HostError(message, f"curl {endpoint.base_url}/models") from None
        time.sleep(pause_s)
        pause_s *= 2
    message = f"{endpoint.attempts} attempts leave none"
    raise ValueError(message)


def _refusal(error: HTTPError) -> str:
    """Return what a server says beside its refusal, as far as it says it."""
    try:
        with error:
            return _shown(error.read(500).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as broken:
        return f"(cut short: {broken!r})"


def _key() -> str:
    """Return the server's key; empty where there is none.

    Raises:
        HostError: no header can hold it; the key itself is in no message.
    """
    key = chat_key(os.environ)
    if not (key.isascii() and key.isprintable()):
        message = f"the key in {KEY_VARIABLE} holds characters that no header can"
        raise HostError(message, f"export {KEY_VARIABLE}=... again, without line ends in it")
    return key


def _shown(text: str) -> str:
    key = chat_key(os.environ)
    return plain(text.replace(key, "***") if key else text)
