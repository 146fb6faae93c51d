"""The adapters that vLLM serves: load, replace, unload, and know which one answers.

A trainer that serves its policy refreshes it between steps. Were the refresh to fail unseen, every
later rollout would come from an old policy; so each load asks the server what it serves now.
"""

from __future__ import annotations

from harness.reading import read_json
from harness.records import from_json, record
from harness.workloads.inference.engine import EngineError
from harness.workloads.inference.http import Server

_SHOWN = 500  # characters of a listing


@record
class Adapter:
    """A LoRA adapter on a server.

    Attributes:
        name: what requests call it.
        folder: its files in peft's format, as the server sees them. Each version of the weights
            has its own folder: vLLM finds its cached keys and values by the folder.
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


def served_models(server: Server) -> ServedModels:
    """Return the names of the served models.

    Raises:
        EngineError: the server cannot be reached, refuses, or is not a vLLM server.
    """
    body = server.ask("GET", "/v1/models")
    try:
        cards = read_json(body)["data"]
        (base,) = [from_json(str, card["id"]) for card in cards if card["parent"] is None]
        adapters = [
            from_json(Adapter, {"name": card["id"], "folder": card["root"]})
            for card in cards
            if card["parent"] is not None
        ]
    except (ValueError, LookupError, TypeError):
        said = body[:_SHOWN].decode(errors="replace")
        message = f"{server.url} does not list models as vLLM does: {said}"
        raise EngineError(message) from None
    return ServedModels(base=base, adapters=tuple(adapters))


def load_adapter(server: Server, adapter: Adapter) -> None:
    """Serve an adapter from now on, in place of an earlier version of that name.

    Raises:
        EngineError: the server cannot be reached or refuses; it serves another adapter afterwards;
            or that folder is served already, with its cached keys and values.
    """
    if adapter in served_models(server).adapters:
        message = (
            f"adapter {adapter.name!r} is already served from {adapter.folder}: "
            "each version of the weights needs its own folder"
        )
        raise EngineError(message)
    asked = {"lora_name": adapter.name, "lora_path": adapter.folder, "load_inplace": True}
    server.ask("POST", "/v1/load_lora_adapter", asked)
    require_adapter(server, adapter)


def require_adapter(server: Server, adapter: Adapter) -> None:
    """Make sure that requests for this adapter's name get these weights.

    Raises:
        EngineError: another folder is served under that name, or none.
    """
    served = {each.name: each.folder for each in served_models(server).adapters}
    found = served.get(adapter.name)
    if found != adapter.folder:
        instead = f"serves it from {found}" if found else f"serves {sorted(served) or 'no adapter'}"
        message = f"adapter {adapter.name!r} of {adapter.folder} was asked for: {server.url} "
        raise EngineError(message + instead)


def unload_adapter(server: Server, name: str) -> None:
    """Serve an adapter no longer.

    Raises:
        EngineError: the server cannot be reached, or knows no adapter of that name; or serves it
            afterwards.
    """
    server.ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
    if name in {each.name for each in served_models(server).adapters}:
        message = f"{server.url} still serves adapter {name!r}, which it was to drop"
        raise EngineError(message)
