"""Transformers as an engine, in this process: for machines that vLLM has no build for.

Replies are drawn one after the other, each with keys and values of its own, so this is slow where
many are asked for at once. What is drawn follows the same rules as vLLM's, from other random
numbers. Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from harness.workloads.inference.engine import (
    BASE,
    EngineError,
    Finish,
    Reply,
    SamplingParams,
    room_behind,
)
from harness.workloads.inference.truncation import truncated
from harness.workloads.inference.vllm import OnCpu, Serving

_CONFIG_FILE = "adapter_config.json"
_WEIGHTS_FILE = "adapter_model.safetensors"


class TransformersEngine:
    """An engine (`harness.workloads.inference.engine`) of one model in this process.

    Args:
        serving: the model, its numbers' type, its context and its device; the rest of it is of
            servers.
        end_token: the model's token that ends a reply.

    Raises:
        EngineError: the model cannot be read.
    """

    def __init__(self, serving: Serving, end_token: int) -> None:
        self.identity = f"transformers {transformers.__version__}"
        self.max_model_len = serving.max_model_len
        self.served = BASE
        self._end_token = end_token
        self._lock = threading.Lock()  # one reply at a time, and none while the weights change
        try:
            model = AutoModelForCausalLM.from_pretrained(
                serving.model_dir,
                dtype=getattr(torch, serving.dtype),
                attn_implementation="sdpa",
                local_files_only=True,
            )
        except (OSError, ValueError) as error:
            message = f"the model in {serving.model_dir} cannot be served: {error}"
            raise EngineError(message) from None
        self._model: Any = model.to("cpu" if isinstance(serving.place, OnCpu) else "cuda").eval()

    def wait_until_ready(self) -> None:
        """Return at once: the model has been loaded."""

    def reply(self, prompt: Sequence[int], sampling: SamplingParams) -> Reply:
        """Sample one reply from the weights that `served` names.

        Raises:
            PromptTooLongError: no token of a reply fits behind the prompt.
        """
        room = room_behind(prompt, self.max_model_len)
        with self._lock, torch.inference_mode():
            generator = torch.Generator().manual_seed(sampling.seed)
            cache = DynamicCache(config=self._model.config)
            tokens: list[int] = []
            logprobs: list[float] = []
            alternatives: list[tuple[float, ...]] = []
            while len(tokens) < min(sampling.max_new_tokens, room) and tokens[-1:] != [
                self._end_token
            ]:
                logits_V = self._next(tokens[-1:] or prompt, cache)
                logprobs_V = torch.log_softmax(logits_V, dim=-1)
                tokens.append(draw(logits_V, sampling, generator))
                logprobs.append(float(logprobs_V[tokens[-1]]))
                alternatives.append(tuple(logprobs_V.topk(sampling.alternatives).values.tolist()))
            return Reply(
                tokens=tuple(tokens),
                logprobs=tuple(logprobs),
                alternatives=tuple(alternatives) if sampling.alternatives else (),
                finish=Finish.STOP if tokens[-1] == self._end_token else Finish.LENGTH,
            )

    def score(self, tokens: Sequence[int], behind: int = 1) -> tuple[float, ...]:
        """Return the log-probability of each token of ``tokens[behind:]``, given all before it.

        Raises:
            PromptTooLongError: the tokens do not fit into the context.
        """
        if len(tokens) <= behind:
            return ()
        room_behind(tokens[:-1], self.max_model_len)
        with self._lock, torch.inference_mode():
            logits_TV = self._model(self._row(tokens[:-1]), use_cache=False).logits[0]
            logprobs_TV = torch.log_softmax(logits_TV.float(), dim=-1)
            targets_T1 = self._row(tokens[1:]).T
            return tuple(logprobs_TV.gather(1, targets_T1).squeeze(1)[behind - 1 :].tolist())

    def refresh(self, adapter: Path | None) -> None:
        """Answer with this LoRA adapter from now on; None for the base alone.

        Raises:
            EngineError: it cannot be read, or the model has other weights afterwards; then nothing
                may be asked any more.
        """
        with self._lock:
            if isinstance(self._model, PeftModel):
                self._model = self._model.unload()
                self.served = BASE
            if adapter is not None:
                self._model = _adapted(self._model, adapter)
                self.served = adapter.name

    def _next(self, shown: Sequence[int], cache: DynamicCache) -> Tensor:
        """Return the logits of the token after `shown`, which the cache then holds: (V,)."""
        found = self._model(
            self._row(shown), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        logits_V: Tensor = found.logits[0, -1]
        return logits_V.float().cpu()

    def _row(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([list(tokens)], device=self._model.device)


def draw(logits_V: Tensor, sampling: SamplingParams, generator: torch.Generator) -> int:
    """Sample one token: the most likely at temperature 0, else of what `truncated` leaves."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    left_V = truncated(logits_V / sampling.temperature, sampling.top_k, sampling.top_p)
    return int(torch.multinomial(left_V.softmax(dim=-1), 1, generator=generator))


def _adapted(model: Any, folder: Path) -> PeftModel:
    """Return the model with the adapter in `folder`, and with all of it."""
    if not all((folder / name).is_file() for name in (_CONFIG_FILE, _WEIGHTS_FILE)):
        message = f"no adapter is in {folder}"
        raise EngineError(message)  # peft would look for it on a hub
    try:
        wanted = load_file(folder / _WEIGHTS_FILE)
        adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        message = f"the adapter in {folder} cannot be served: {error}"
        raise EngineError(message) from None
    served = get_peft_model_state_dict(adapted)
    if wanted.keys() != served.keys() or not all(
        torch.equal(served[name].cpu(), value.to(served[name].dtype))
        for name, value in wanted.items()
    ):
        message = f"the adapter in {folder} was asked for, and the model has other weights"
        raise EngineError(message)
    return adapted
