"""``python -m tests.bench.serving``: what an engine costs beside its vLLM, and print it.

The small policy is served as a training loop serves it, with an adapter. Refreshes are timed one by
one. Then the same requests are sent by 16 threads through `VllmEngine` and by 16 connections of a
bare load that parses nothing, in turns, so that both meet the same noise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import torch
from tabulate import tabulate

from harness.records import record
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.http import Server
from harness.workloads.inference.vllm import OnCpu, Serving, VllmDtype
from harness.workloads.inference.vllm_engine import VllmEngine, serve
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.models.lora_settings import Compute, LoraSettings
from harness.workloads.tiny_models.checkpoint import tiny_model

CLIENTS = 16
REFRESH_TARGET_S = 2.0
SHARE_TARGET = 0.8  # of the tokens a second of the bare load
CONTEXT_TOKENS = 1024
VOCABULARY = 790
END_TOKEN = VOCABULARY - 1  # hardly ever drawn: replies are as long as they may be
_HEADERS = ("", "target", "median", "lowest", "highest", "verdict")


@record
class Asked:
    """One request: a turn of an agent on a small task."""

    prompt: tuple[int, ...]
    sampling: SamplingParams


@record
class Load:
    """All requests, sent once.

    Attributes:
        tokens_per_s: drawn for all clients together.
        cpu_ms: of this process for a request, milliseconds.
    """

    tokens_per_s: float
    cpu_ms: float


class Recording(Server):
    """A server whose requests are kept, to be sent again by another client."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.bodies: list[bytes] = []

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Keep what is sent, and send it."""
        self.bodies.append(json.dumps(body).encode())
        return super().ask(method, path, body)


def main() -> None:
    """Serve, measure and print."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as name, _engine(Path(name)) as engine:
        refreshes_s = list(_refreshes(engine, Path(name), options.refreshes))
        ours, bare = _loads(engine, _requests(options.requests), options.rounds)
        started_s = engine.service.start_s
    pairs = list(zip(ours, bare, strict=True))
    shares = [one.tokens_per_s / other.tokens_per_s for one, other in pairs]
    rows = [
        ("start, s", "", f"{started_s:.1f}"),
        _row("adapter refresh, s", refreshes_s, ".3f", at_most=REFRESH_TARGET_S),
        _row("engine, tokens/s", [each.tokens_per_s for each in ours], ".0f"),
        _row("bare load, tokens/s", [each.tokens_per_s for each in bare], ".0f"),
        _row("engine / bare load", shares, ".3f", at_least=SHARE_TARGET),
        _row("engine, CPU ms a request", [each.cpu_ms for each in ours], ".2f"),
        _row("bare load, CPU ms a request", [each.cpu_ms for each in bare], ".2f"),
    ]
    print(tabulate(rows, _HEADERS, disable_numparse=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
    parser.add_argument("--refreshes", type=int, default=20, help="versions of the adapter")
    parser.add_argument("--requests", type=int, default=256, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms up")
    return parser


@contextmanager
def _engine(folder: Path) -> Iterator[VllmEngine]:
    serving = Serving(
        model_dir=tiny_model("files"),
        name="bench",
        dtype=VllmDtype.FLOAT32,
        max_model_len=CONTEXT_TOKENS,
        max_num_seqs=CLIENTS,
        seed=0,
        place=OnCpu(kv_cache_gib=1),
        max_lora_rank=16,
    )
    with serve(serving, END_TOKEN, folder / "server.log") as engine:
        yield engine


def _refreshes(engine: VllmEngine, folder: Path, count: int) -> Iterator[float]:
    """Yield the seconds of each refresh to a version of its own; the first one warms up."""
    lora = LoraSettings(rank=16, alpha=32)
    policy = LoraPolicy.open(tiny_model("files"), lora, Compute(device="cpu"))
    noise = torch.Generator().manual_seed(0)
    for number in range(count + 1):
        shaken = {
            name: value + 0.01 * torch.randn(value.shape, generator=noise)
            for name, value in policy.weights().items()
        }
        policy.put(shaken)
        version = folder / f"version-{number}"
        policy.save(version)
        began = time.perf_counter()
        engine.refresh(version)
        if number:
            yield time.perf_counter() - began
            shutil.rmtree(folder / f"version-{number - 1}")


def _requests(count: int) -> list[Asked]:
    drawn = random.Random(0)  # noqa: S311 - no secret
    return [
        Asked(
            prompt=tuple(drawn.randrange(1, VOCABULARY) for _ in range(drawn.randint(60, 240))),
            sampling=SamplingParams(
                temperature=1.0, max_new_tokens=drawn.randint(8, 48), seed=number
            ),
        )
        for number in range(count)
    ]


def _loads(
    engine: VllmEngine, asked: Sequence[Asked], rounds: int
) -> tuple[list[Load], list[Load]]:
    """Return what both loads came to, round by round: the engine's, and the bare one's."""
    recording = Recording(engine.service.url)
    kept, engine._server = engine._server, recording
    tokens = sum(len(engine.reply(each.prompt, each.sampling).tokens) for each in asked)
    engine._server = kept
    recording.close()
    ours: list[Load] = []
    bare: list[Load] = []
    for _ in range(rounds + 1):
        with _measuring(ours, tokens, len(asked)):
            _through_engine(engine, asked)
        with _measuring(bare, tokens, len(asked)):
            asyncio.run(_bare_load(engine.service.url, recording.bodies))
    return ours[1:], bare[1:]


@contextmanager
def _measuring(into: list[Load], tokens: int, requests: int) -> Iterator[None]:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    yield
    tokens_per_s = tokens / (time.perf_counter() - began_s)
    cpu_ms = 1000 * (time.process_time() - began_cpu_s) / requests
    into.append(Load(tokens_per_s=tokens_per_s, cpu_ms=cpu_ms))


def _through_engine(engine: VllmEngine, asked: Sequence[Asked]) -> None:
    with ThreadPoolExecutor(CLIENTS) as threads:
        for _ in threads.map(lambda each: engine.reply(each.prompt, each.sampling), asked):
            pass


async def _bare_load(url: str, bodies: Sequence[bytes]) -> None:
    """Send every body over one of 16 connections, and read the answers away."""
    waiting = iter(bodies)

    async def client() -> None:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for body in waiting:
            head = (
                f"POST /v1/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await _read_away(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _read_away(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        message = f"the bare load was answered {head!r}"
        raise RuntimeError(message)
    _, _, length = head.lower().partition(b"content-length:")
    await reader.readexactly(int(length.partition(b"\r\n")[0]))


def _row(
    what: str,
    samples: Sequence[float],
    digits: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> tuple[str, ...]:
    middle = median(samples)
    figures = tuple(format(figure, digits) for figure in (middle, min(samples), max(samples)))
    if at_least is None and at_most is None:
        return (what, "", *figures)
    met = (at_least is None or middle >= at_least) and (at_most is None or middle <= at_most)
    target = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    return (what, target, *figures, "met" if met else "missed")


if __name__ == "__main__":
    main()
