"""One LoRA policy: a frozen base, an adapter, and log-probabilities of chosen tokens.

Shapes: B sequences of a batch, S padded length, N trained tokens of one sequence, d model width,
V vocabulary. All log-probabilities are nats, of the softmax at temperature 1, in float32.

Padding is on the right and needs no mask: under causal attention no real token sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from harness.errors import InputError, Problem, unknown
from harness.workloads.api.device import torch_device
from harness.workloads.inference.engine import SamplingParams
from harness.workloads.inference.truncation import drawn_logprobs
from harness.workloads.models.adapter import Weights, base_identity, read_adapter, write_adapter
from harness.workloads.models.example import Example
from harness.workloads.models.lora_settings import Compute, Dropout, LoraSettings, Product

_ADAPTER = "default"  # peft's name of the only one
_ROWS = 512  # of 150,000 logits each, 0.3 GB


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """What the policy says of one example's trained tokens.

    Attributes:
        logprobs: of each token, given all before it: (N,); carries gradients where they are on.
        entropies: of the distribution that each token is drawn from: (N,); carries none.
        drawn: log-probabilities as the tokens were drawn, at a temperature and of what top-k and
            top-p leave: (N,); carries none. None where it was not asked how they were.
    """

    logprobs: Tensor
    entropies: Tensor
    drawn: Tensor | None = None


class LoraPolicy:
    """A causal language model with an adapter; only the adapter has gradients."""

    def __init__(self, model: PeftModel, compute: Compute, base: str) -> None:
        self._model = model
        self._compute = compute
        self._base = base
        self._named: dict[str, nn.Parameter] = {
            name.replace(f".{_ADAPTER}.", "."): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        inner = model.get_base_model()
        self._decoder: nn.Module = inner.get_decoder()
        self._head: nn.Module = inner.get_output_embeddings()
        layers = [each for each in model.modules() if isinstance(each, LoraLinear)]
        self._dropouts: list[nn.Module] = [layer.lora_dropout[_ADAPTER] for layer in layers]
        if compute.product is Product.FOLDED:
            for layer in layers:
                layer.forward = MethodType(_folded, layer)
        model.train()  # gradient checkpointing asks for it; what dropout does is each pass's own

    @classmethod
    def open(cls, folder: Path, lora: LoraSettings, compute: Compute) -> LoraPolicy:
        """Load a base from `folder` and add a new adapter, which has no effect yet.

        Raises:
            InputError: there is no such model, or it has no such matrices.
            HostError: the device is not there.
        """
        if not (folder / "config.json").is_file():
            raise InputError([Problem(message="no model is here", path=folder)])
        device = torch_device(compute.device)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, compute.dtype),
            attn_implementation="sdpa",
            local_files_only=True,
        ).to(device)
        if compute.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        with torch.random.fork_rng():
            torch.manual_seed(lora.seed)
            adapted = adapt(model, lora)
        return cls(adapted, compute, base_identity(folder))

    # --- weights ----------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.parameters[0].device

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The adapter's, which are all that is trained."""
        return list(self._named.values())

    @property
    def num_trainable(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters)

    def weights(self) -> Weights:
        """Return a copy of the adapter, on the CPU."""
        return {
            name: value.detach().to("cpu", copy=True).clone() for name, value in self._named.items()
        }

    def no_weights(self) -> Weights:
        """Return an adapter that leaves the base as it is: B is zero."""
        return {
            name: torch.zeros_like(value) if ".lora_B." in name else value
            for name, value in self.weights().items()
        }

    def put(self, weights: Weights) -> None:
        """Make `weights` the adapter's own."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(weights[name])

    @contextmanager
    def using(self, weights: Weights) -> Iterator[None]:
        """Answer with another adapter inside the block; afterwards with the same bits as before."""
        kept = {name: parameter.data for name, parameter in self._named.items()}
        try:
            for name, parameter in self._named.items():
                parameter.data = weights[name].to(parameter)
            yield
        finally:
            for name, parameter in self._named.items():
                parameter.data = kept[name]

    def save(self, folder: Path) -> None:
        """Write the adapter as peft's two files, which vLLM loads; both or none."""
        write_adapter(folder, self.weights(), self._config(), self._base)

    def load(self, folder: Path) -> None:
        """Make the adapter in `folder` the policy's own.

        Raises:
            InputError: it cannot be read, or is of another base, rank, scale or shape.
        """
        self.put(self.read(folder))

    def read(self, folder: Path) -> Weights:
        """Return the adapter in `folder`, such as a reference to keep to; raises as `load`."""
        shapes = {name: tuple(value.shape) for name, value in self._named.items()}
        return read_adapter(folder, shapes, self._config(), self._base)

    def _config(self) -> Mapping[str, Any]:
        config = self._model.peft_config[_ADAPTER].to_dict()
        plain = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
        # the base's folder is meaningful on this machine only
        return {**plain, "base_model_name_or_path": None, "inference_mode": True}

    # --- passes -----------------------------------------------------------------------------------

    def batches(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the examples' indices by passes, of like lengths together, longest first.

        A pass takes `Compute.tokens_per_batch` at most. The longest comes first so that memory
        runs out at once if at all.
        """
        order = sorted(range(len(examples)), key=lambda index: -len(examples[index].tokens))
        batches: list[list[int]] = []
        room = 0
        for index in order:
            if room == 0:
                batches.append([])
                room = max(1, self._compute.tokens_per_batch // len(examples[index].tokens))
            batches[-1].append(index)
            room -= 1
        return batches

    def scores(
        self,
        examples: Sequence[Example],
        dropout: Dropout = Dropout.OFF,
        sampling: SamplingParams | None = None,
    ) -> list[TokenScores]:
        """Score the examples in one pass; `sampling` is how their tokens were drawn."""
        for each in self._dropouts:
            each.train(dropout is Dropout.ACTIVE)
        device = self.device
        longest = max(len(example.tokens) for example in examples)
        padded = [example.tokens + (0,) * (longest - len(example.tokens)) for example in examples]
        # where the tokens before the trained ones are, example after example
        rows = [row for row, example in enumerate(examples) for _ in example.trained]
        columns = [at - 1 for example in examples for at in example.trained]
        bf16 = self._compute.bf16
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            hidden_BSd = self._decoder(torch.tensor(padded, device=device), use_cache=False)[0]
            # logits only where a token is trained: the head is most of a small model's work
            places = tuple(torch.tensor(each, device=device) for each in (rows, columns))
            logits_MV = self._head(hidden_BSd[places])
        return _scores(logits_MV.float(), examples, sampling)

    def all_scores(
        self,
        examples: Sequence[Example],
        dropout: Dropout = Dropout.OFF,
        sampling: SamplingParams | None = None,
    ) -> list[TokenScores]:
        """Score the examples batch by batch; as `scores`, in their order."""
        found: dict[int, TokenScores] = {}
        for batch in self.batches(examples):
            scores = self.scores([examples[index] for index in batch], dropout, sampling)
            found.update(zip(batch, scores, strict=True))
        return [found[index] for index in range(len(examples))]

    def logprobs(self, examples: Sequence[Example], dropout: Dropout = Dropout.OFF) -> list[Tensor]:
        """Return the log-probabilities of each example's trained tokens, batch by batch."""
        return [each.logprobs for each in self.all_scores(examples, dropout)]

    def reference_logprobs(
        self, examples: Sequence[Example], reference: Weights, dropout: Dropout = Dropout.OFF
    ) -> list[Tensor]:
        """Return what `logprobs` would with the adapter `reference`, without gradients."""
        with self.using(reference), torch.no_grad():
            return self.logprobs(examples, dropout)


def adapt(model: nn.Module, lora: LoraSettings) -> PeftModel:
    """Give every target of `model` an adapter, drawn from torch's generator.

    Raises:
        InputError: the model has no such matrix.
    """
    names = {
        name.rpartition(".")[2]
        for name, each in model.named_modules()
        if isinstance(each, nn.Linear)
    }
    absent = [target for target in lora.targets if target not in names]
    if absent:
        raise InputError(unknown("matrix to adapt", target, names) for target in absent)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        bias="none",
    )
    return get_peft_model(model, config)


def num_trainable(config: Mapping[str, Any], lora: LoraSettings) -> int:
    """Return what an adapter would have to train, without any weights.

    Args:
        config: the base's ``config.json``, ``model_type`` included.
        lora: the adapter.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        adapted = adapt(model, lora)
    return sum(each.numel() for each in adapted.parameters() if each.requires_grad)


def _folded(layer: LoraLinear, x: Tensor) -> Tensor:
    """Multiply once, by the sum of both matrices; dropout acts on the adapter's input alone."""
    dropout = layer.lora_dropout[_ADAPTER]
    if dropout.training and isinstance(dropout, nn.Dropout):
        branch: Tensor = LoraLinear.forward(layer, x)
        return branch
    base, scale = layer.base_layer, layer.scaling[_ADAPTER]
    b_or, a_ri = layer.lora_B[_ADAPTER].weight, layer.lora_A[_ADAPTER].weight
    weight_oi = torch.addmm(base.weight.to(b_or.dtype), b_or, a_ri, alpha=scale)
    return F.linear(x, weight_oi.to(base.weight.dtype), base.bias)


def _scores(
    logits_MV: Tensor, examples: Sequence[Example], sampling: SamplingParams | None
) -> list[TokenScores]:
    targets = [example.tokens[at] for example in examples for at in example.trained]
    targets_M = torch.tensor(targets, device=logits_MV.device)
    all_MV = torch.log_softmax(logits_MV, dim=-1)
    sizes = [len(example.trained) for example in examples]
    logprobs = torch.split(all_MV.gather(1, targets_M.unsqueeze(1)).squeeze(1), sizes)
    # the entropy of each row: (M,); a part at a time, as a vocabulary may be large
    parts = torch.split(all_MV.detach(), _ROWS)
    entropies = torch.split(torch.cat([-(part.exp() * part).sum(dim=-1) for part in parts]), sizes)
    drawn: Sequence[Tensor | None] = [None] * len(examples)
    if sampling is not None:
        logits, tokens = (torch.split(each, _ROWS) for each in (logits_MV.detach(), targets_M))
        rows = [drawn_logprobs(*row, sampling) for row in zip(logits, tokens, strict=True)]
        drawn = torch.split(torch.cat(rows), sizes)
    return [
        TokenScores(logprobs=logprobs_N, entropies=entropies_N, drawn=drawn_N)
        for logprobs_N, entropies_N, drawn_N in zip(logprobs, entropies, drawn, strict=True)
    ]
