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
from harness.records import record, to_json
from harness.variables import KEY_VARIABLE
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
    if urlsplit(endpoint.base_url).scheme not in {"http", "https"}:
        message = f"{endpoint.base_url!r} is no address of a server"
        raise HostError(message, "give base_url as http://HOST:PORT/v1")
    chosen = to_json(sampling)
    chosen["max_tokens"] = chosen.pop("max_new_tokens")  # as OpenAI calls it
    extra = chosen.pop("extra") or {}
    body = {"model": endpoint.model, "messages": to_json(list(messages)), **chosen, **extra}
    content = _post(endpoint, json.dumps(body).encode())
    try:
        reply = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        message = f"{endpoint.base_url} sends no chat completion: {_shown(repr(content[:200]))}"
        raise HostError(message, "check base_url: it ends in /v1") from None
    return reply if isinstance(reply, str) else ""


def _post(endpoint: Endpoint, body: bytes) -> bytes:
    """Send a request until the server answers, at most `Endpoint.attempts` times."""
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    request = Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - scheme checked
    if key := os.environ.get(KEY_VARIABLE):
        request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this server only
    pause_s = endpoint.pause_s
    for attempt in range(1, endpoint.attempts + 1):
        try:
            with urlopen(request, timeout=endpoint.timeout_s) as answer:  # noqa: S310 - scheme checked
                content: bytes = answer.read(_MAX_BYTES)
                return content
        except HTTPError as error:
            with error:
                said = _shown(error.read(500).decode(errors="replace"))
            message = f"{endpoint.base_url} answers {error.code}: {said}"
            if error.code not in _AGAIN or attempt == endpoint.attempts:
                raise HostError(message, f"check the model's name and {KEY_VARIABLE}") from None
        except (URLError, OSError, http.client.HTTPException) as error:
            if attempt == endpoint.attempts:
                message = f"{endpoint.base_url} does not answer: {_shown(str(error))}"
                raise HostError(message, f"curl {endpoint.base_url}/models") from None
        time.sleep(pause_s)
        pause_s *= 2
    message = f"{endpoint.attempts} attempts leave none"
    raise ValueError(message)


def _shown(text: str) -> str:
    key = os.environ.get(KEY_VARIABLE)
    return text.replace(key, "***") if key else text
