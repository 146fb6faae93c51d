"""vLLM as an engine: one server beside the workload, asked for tokens by tokens.

Every request names everything that decides its reply. Text is never sent and never read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.reading import read_json
from harness.records import from_json, to_json
from harness.workloads.inference.adapters import Adapter, load_adapter, unload_adapter
from harness.workloads.inference.engine import (
    BASE,
    EngineError,
    Finish,
    PromptTooLongError,
    Reply,
    SamplingParams,
    room_behind,
)
from harness.workloads.inference.http import RefusedError, Server, SilentError
from harness.workloads.inference.service import RunningService
from harness.workloads.inference.vllm import OnGpu, Serving, installed, vllm_service

_ADAPTER = "adapter"  # one name for every version
_TOO_LONG = "maximum context length"  # how vLLM refuses a prompt for its length
_DEATH_S = 5.0  # what a server that breaks down may take from its last answer to its end
# what no caller chooses; named all the same, because vLLM and its versions have defaults of their
# own. The end token is named in each request, so that no file of the model's decides it.
_FIXED = {
    "n": 1,
    "stream": False,
    "echo": False,
    "min_tokens": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "ignore_eos": True,
    "add_special_tokens": False,
    "skip_special_tokens": False,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,  # as text, two tokens may look alike
}


@contextmanager
def serve(serving: Serving, end_token: int, log_file: Path) -> Iterator[VllmEngine]:
    """Start vLLM, and end it with all its processes.

    On a CPU the block is entered at once, and the first request waits until the server is healthy:
    imports and fine-tuning need half a minute too. On a GPU vLLM measures free memory while it
    starts, so nothing else may be loaded meanwhile, and the block waits.

    Args:
        serving: what is served.
        end_token: the model's token that ends a reply.
        log_file: takes what vLLM prints; put it into the run's folder.

    Raises:
        ServiceDied: the server ended, or came to a standstill before; on a CPU requests raise it.
    """
    is_awaited = isinstance(serving.place, OnGpu)
    with RunningService(vllm_service(serving), log_file, is_awaited=is_awaited) as service:
        engine = VllmEngine(service, serving, end_token)
        try:
            yield engine
        finally:
            engine.close()


class VllmEngine:
    """An engine (`harness.workloads.inference.engine`) whose replies vLLM draws.

    Args:
        service: the server, started; each request waits until it is healthy.
        serving: what it serves.
        end_token: the model's token that ends a reply.

    Attributes:
        service: as given; it has the log file, and the seconds that the start took.
    """

    def __init__(self, service: RunningService, serving: Serving, end_token: int) -> None:
        self.service = service
        self._serving = serving
        self._end_token = end_token
        self._server = Server(service.url)
        self._adapter: Path | None = None

    @property
    def identity(self) -> str:
        """The distribution that serves, with its version."""
        return installed()

    @property
    def max_model_len(self) -> int:
        """Prompt and reply together, at most."""
        return self._serving.max_model_len

    @property
    def served(self) -> str:
        """Which weights answer: the adapter's folder name, or ``base``."""
        return self._adapter.name if self._adapter else BASE

    def wait_until_ready(self) -> None:
        """Return once the server is healthy.

        Raises:
            ServiceDied: it ended, or came to a standstill before.
        """
        self.service.wait_until_healthy()

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        """Sample one reply from the weights that `served` names.

        Raises:
            PromptTooLongError: no token of a reply fits behind the prompt.
            EngineError: the server is down, refuses, or speaks another protocol.
        """
        room = room_behind(prompt, self.max_model_len)
        asked = to_json(sampling)
        num_alternatives = asked.pop("alternatives")
        asked["max_tokens"] = min(asked.pop("max_new_tokens"), room)  # as vLLM calls it
        choice = self._complete(prompt, {**asked, "logprobs": num_alternatives})
        with _expecting("a completion with log-probabilities"):
            tokens, found = from_json(tuple[int, ...], choice["token_ids"]), choice["logprobs"]
            logprobs = from_json(tuple[float, ...], found["token_logprobs"])
            if len(tokens) != len(logprobs):
                message = f"{len(tokens)} tokens, {len(logprobs)} log-probabilities"
                raise ValueError(message)
            # the token that was drawn is among them also where it is none of the likeliest
            likeliest = from_json(tuple[Mapping[str, float], ...], found["top_logprobs"])
            ordered = (sorted(each.values(), reverse=True) for each in likeliest)
            alternatives = tuple(tuple(each[:num_alternatives]) for each in ordered)
            return Reply(
                tokens=tokens,
                logprobs=logprobs,
                alternatives=alternatives if num_alternatives else (),
                finish=Finish(choice["finish_reason"]),
            )

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        """Return the log-probability of each token of ``tokens[behind:]``, given all before it.

        The last one alone is much cheaper than any more: a prompt whose own log-probabilities are
        asked for is computed from its first token, cached or not.

        Raises:
            PromptTooLongError: the tokens do not fit into the context.
            EngineError: as for `reply`.
        """
        if len(tokens) <= behind:
            return ()
        *prompt, last = tokens
        room_behind(prompt, self.max_model_len)
        # vLLM must draw something, and what it draws must fit: let it draw the last token. Its
        # log-probability is of the model, before that restriction.
        drawn = {"allowed_token_ids": [last], "max_tokens": 1, "temperature": 0.0, "seed": 0}
        shape = {"top_p": 1.0, "top_k": 0, "logprobs": 0}
        if behind < len(prompt):
            shape["prompt_logprobs"] = 0
        choice = self._complete(prompt, {**drawn, **shape})
        with _expecting("log-probabilities of a prompt"):
            of_prompt = choice["prompt_logprobs"][behind:] if behind < len(prompt) else ()
            shown = zip(prompt[behind:], of_prompt, strict=True)
            scores = [found[str(token)]["logprob"] for token, found in shown]
            (of_last,) = choice["logprobs"]["token_logprobs"]
            return from_json(tuple[float, ...], [*scores, of_last])

    def refresh(self, adapter: Path | None) -> None:
        """Answer with this LoRA adapter from now on; None for the base alone.

        No reply may be under way. Each version of the weights needs a folder of its own.

        Raises:
            EngineError: the server refuses, or serves something else afterwards.
        """
        with self._blaming():
            if not self._serving.loads_adapters:
                self._take(adapter)
            elif adapter is not None:
                load_adapter(self._server, Adapter(name=_ADAPTER, folder=str(adapter.resolve())))
            elif self._adapter is not None:
                unload_adapter(self._server, _ADAPTER)
        self._adapter = adapter

    def _take(self, adapter: Path | None) -> None:
        """Give the server other weights for its own, and let it forget what it cached of those.

        It has no name for them that could be asked back: a trainer compares log-probabilities
        (`harness.workloads.rl.trainer.LogprobDifference`).
        """
        base = self._serving.model_dir
        with tempfile.TemporaryDirectory() as scratch:
            folder = base if adapter is None else Path(scratch) / adapter.name
            if adapter is not None:
                from harness.workloads.inference.merge import (  # noqa: PLC0415 - loads torch
                    fold,
                )

                fold(base, adapter, folder)
            asked = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
            self._server.ask("POST", "/collective_rpc", asked)
        self._server.ask("POST", "/reset_prefix_cache")

    def close(self) -> None:
        """Close what connects to the server; it goes on."""
        self._server.close()

    def _complete(self, prompt: Sequence[int], asked: Mapping[str, Any]) -> Any:
        is_loaded = self._adapter is not None and self._serving.loads_adapters
        body = {
            "model": _ADAPTER if is_loaded else self._serving.name,
            "prompt": list(prompt),
            "stop_token_ids": [self._end_token],
            **_FIXED,
            **asked,
        }
        with self._blaming():
            content = self._server.ask("POST", "/v1/completions", body)
        with _expecting("a completion"):
            return read_json(content, mend=True)["choices"][0]

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """Ask once the server is healthy, and let its end explain why it does not answer."""
        self.service.wait_until_healthy()
        try:
            yield
        except SilentError:
            self.service.check(within_s=_DEATH_S)
            raise
        except RefusedError as refused:
            if _TOO_LONG in str(refused):
                raise PromptTooLongError(str(refused)) from None
            if refused.is_fault:
                self.service.check(within_s=_DEATH_S)
            raise


@contextmanager
def _expecting(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError) as error:
        message = f"vLLM answers with something else than {what}: {error!r}"
        raise EngineError(message) from None
