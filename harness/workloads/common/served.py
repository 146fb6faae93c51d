"""A client of the adapters that vLLM serves: load, replace, unload, and know which one answers.

A trainer that serves its policy refreshes it between steps. Were the refresh to fail unseen, every
later rollout would come from an old policy; so each load asks the server what it serves now.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.errors import HostError
from harness.records import record

_SHOWN = 500  # characters of a refusal


@record
class Adapter:
    """A LoRA adapter on a server.

    Attributes:
        name: what requests call it.
        folder: its files in peft's format, as the server sees them. Each version of the weights
            has a folder of its own: by the folder vLLM knows which cached keys and values are its.
    """

    name: str
    folder: str


@record
class ServedModels:
    """What a server serves.

    Attributes:
        base: name of the model itself.
        adapters: loaded now.
    """

    base: str
    adapters: tuple[Adapter, ...]


@record
class Server:
    """Where vLLM answers.

    Attributes:
        url: without path, e.g. ``http://127.0.0.1:8000``.
        timeout_s: for one answer, seconds; a load reads the adapter's weights.
    """

    url: str
    timeout_s: float = 120.0


def served_models(server: Server) -> ServedModels:
    """Return what is served now.

    Raises:
        HostError: the server cannot be reached, refuses, or is no vLLM server.
    """
    body = _request(server, "GET", "/v1/models")
    try:
        cards = json.loads(body)["data"]
        (base,) = [card["id"] for card in cards if card["parent"] is None]
        adapters = [(card["id"], card["root"]) for card in cards if card["parent"] is not None]
    except (ValueError, LookupError, TypeError):
        said = body[:_SHOWN].decode(errors="replace")
        message = f"{server.url} does not list models as vLLM does: {said}"
        raise HostError(message, f"curl {server.url}/v1/models") from None
    loaded = tuple(Adapter(name=name, folder=folder) for name, folder in adapters)
    return ServedModels(base=base, adapters=loaded)


def load_adapter(server: Server, adapter: Adapter) -> None:
    """Serve an adapter from now on, in place of an earlier version of that name.

    Raises:
        HostError: the server cannot be reached or refuses; it serves another adapter afterwards;
            or that very folder is served already, and would be again with what is cached of it.
    """
    if adapter in served_models(server).adapters:
        message = f"adapter {adapter.name!r} is already served from {adapter.folder}"
        raise HostError(message, "write each version of the weights to a folder of its own")
    asked = {"lora_name": adapter.name, "lora_path": adapter.folder, "load_inplace": True}
    _request(server, "POST", "/v1/load_lora_adapter", asked)
    require_adapter(server, adapter)


def require_adapter(server: Server, adapter: Adapter) -> None:
    """Make sure that requests for this adapter's name get these weights.

    Raises:
        HostError: another folder is served under that name, or none.
    """
    served = {each.name: each.folder for each in served_models(server).adapters}
    found = served.get(adapter.name)
    if found != adapter.folder:
        instead = f"serves it from {found}" if found else f"serves {sorted(served) or 'no adapter'}"
        message = f"adapter {adapter.name!r} of {adapter.folder} was asked for: {server.url} "
        raise HostError(message + instead, f"curl {server.url}/v1/models")


def unload_adapter(server: Server, name: str) -> None:
    """Serve an adapter no longer.

    Raises:
        HostError: the server cannot be reached, or knows no adapter of that name.
    """
    _request(server, "POST", "/v1/unload_lora_adapter", {"lora_name": name})


def _request(
    server: Server, method: str, path: str, body: Mapping[str, Any] | None = None
) -> bytes:
    """Return the body of an answer with status 200; past any proxy, as services are on loopback."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=server.timeout_s
    )
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        message = f"{server.url} does not answer {path}: {error!r}"
        raise HostError(message, f"curl {server.url}/health") from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        said = content[:_SHOWN].decode(errors="replace")
        message = f"{server.url} refuses {path} with {answer.status}: {said}"
        raise HostError(message, f"curl {server.url}/v1/models")
    return content
