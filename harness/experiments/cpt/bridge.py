"""Llama 3.1 8B trained on with NVIDIA's NeMo Framework, on one GB10.

NeMo 26.04, the container that the image `nemo` starts from, trains language models with Megatron
Bridge 0.4; `nemo.collections.llm`, the interface of NeMo 2.0, went with nemo_toolkit 3. This starts
from what all of Bridge's pretraining recipes start from. The recipe of this very model is not
called: it looks the model up on the Hub, and a run has no network. Set beside it:

- Tensor, pipeline and context parallel size 1: the article has the first two so, and the recipe's
  third wants two GPUs.
- Optimizer state that fits. The recipe's 18 bytes a parameter do not (`capacity.training`). Here
  gradients and moments are bfloat16, and the float32 master is kept as the 16 bits that the weight
  lacks: 10 bytes, by Megatron-Core's precision-aware optimizer.
- Activations of every layer are recomputed in the backward pass. Offloading saves nothing where CPU
  and GPU share one memory.
- Gradients are accumulated over micro-batches of one window.

The base is read from the published weights, without a checkpoint of Megatron's in between. Both
domains are measured by the model that trains, before the first step, on the way and after the last.
Nobody has run this program with Megatron Bridge itself: it is written against the sources of 0.4.0,
and a test runs it around a stand-in of Bridge, on the CPU.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from megatron.bridge import AutoBridge
from megatron.bridge.recipes.common import _pretrain_common
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.config import ConfigContainer, DatasetBuildContext, DatasetProvider
from megatron.bridge.training.gpt_step import forward_step
from megatron.bridge.training.mixed_precision import bf16_mixed
from megatron.bridge.training.pretrain import pretrain
from torch import Tensor
from transformers import AutoTokenizer

from harness.experiments.cpt.params import BridgeParams
from harness.experiments.cpt.replay import ALL, NEW, OLD, curve_steps
from harness.records import Scalar
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name, torch_device
from harness.workloads.data.languages import entropy_nats, language
from harness.workloads.data.mixture import ReplayMixture
from harness.workloads.data.prose import documents, installed
from harness.workloads.data.windows import MixedWindows, ObservedWindows, windows
from harness.workloads.models.memory import GIB
from harness.workloads.training.loop import synchronise
from harness.workloads.training.memory_tracker import PeakCounter, peak_counter


def run(context: Context) -> None:
    """Continue the published model with one share of replay."""
    params: BridgeParams = context.params
    folder = context.model(params.model)
    release = version("megatron-bridge")
    context.emit.started(device_name(), torch=torch.__version__, bridge=release)
    held_out, trained = _corpora(params, folder, context.spec.seed)
    fed = ObservedWindows(trained)
    config = configuration(params, folder, fed, context.spec.seed)
    with peak_counter(torch_device(None)) as counter:
        callback = DomainEvaluationCallback(context, held_out, fed, counter)
        pretrain(config, forward_step, callbacks=[callback])


def configuration(
    params: BridgeParams, folder: Path, trained: ObservedWindows, seed: int
) -> ConfigContainer:
    """Return the common start of Bridge's recipes, with what one GPU and one memory ask for."""
    config = _pretrain_common()
    config.model = AutoBridge.from_hf_pretrained(str(folder)).to_megatron_provider()
    config.model.seq_length = params.seq_len
    config.model.tensor_model_parallel_size = 1
    config.model.pipeline_model_parallel_size = 1
    config.model.context_parallel_size = 1
    config.model.transformer_impl = "transformer_engine"
    config.model.cross_entropy_loss_fusion = True
    config.model.cross_entropy_fusion_impl = "te"
    config.model.cuda_graph_impl = "none"
    config.model.recompute_granularity = "full"
    config.model.recompute_method = "uniform"
    config.model.recompute_num_layers = 1
    # windows come as ids; Bridge adds a token to a null tokenizer's
    config.tokenizer.tokenizer_type = "NullTokenizer"
    config.tokenizer.vocab_size = config.model.vocab_size - 1
    # ask for 10 bytes a parameter: see `harness.workloads.models.memory.PRECISION_AWARE`
    config.mixed_precision = bf16_mixed()
    config.mixed_precision.grad_reduce_in_fp32 = False
    config.optimizer.use_precision_aware_optimizer = True
    config.optimizer.main_grads_dtype = torch.bfloat16
    config.optimizer.main_params_dtype = torch.float32
    config.optimizer.store_param_remainders = True
    config.optimizer.exp_avg_dtype = torch.bfloat16
    config.optimizer.exp_avg_sq_dtype = torch.bfloat16
    config.ddp.use_distributed_optimizer = True
    config.ddp.grad_reduce_in_fp32 = False
    # one rank has nothing to overlap with, and the model is called between steps
    config.ddp.overlap_grad_reduce = config.ddp.overlap_param_gather = False
    config.train.train_iters = params.max_steps
    config.train.global_batch_size = params.batch_size
    config.train.micro_batch_size = 1
    config.validation.eval_iters = 0
    config.validation.eval_interval = None
    config.optimizer.lr = params.learning_rate
    config.optimizer.min_lr = 0.0
    config.optimizer.adam_beta1 = params.beta1
    config.optimizer.adam_beta2 = params.beta2
    config.optimizer.clip_grad = params.max_grad_norm
    config.optimizer.weight_decay = params.weight_decay
    config.scheduler.start_weight_decay = config.scheduler.end_weight_decay = params.weight_decay
    config.scheduler.lr_decay_style = "cosine"
    config.scheduler.lr_decay_iters = params.max_steps
    config.scheduler.lr_warmup_iters = max(1, round(params.warmup_ratio * params.max_steps))
    config.dataset = Windows(
        trained=trained,
        seq_length=params.seq_len,
        dataloader_type="single",
        num_workers=0,
        persistent_workers=False,
    )
    config.rng.seed = seed
    config.checkpoint.save = config.checkpoint.load = None
    config.logger.tensorboard_dir = None
    return config


# --- data -----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Windows(DatasetProvider):  # type: ignore[misc]
    """The training windows, in the order of the mixture; none for Bridge's own evaluation."""

    trained: ObservedWindows
    seq_length: int
    skip_getting_attention_mask_from_dataset: bool = True

    def build_datasets(self, _: DatasetBuildContext) -> tuple[ObservedWindows, None, None]:
        """Return the training set."""
        return self.trained, None, None


def _corpora(
    params: BridgeParams, folder: Path, seed: int
) -> tuple[dict[str, Tensor], MixedWindows]:
    """Return both held-out sets and the training windows.

    Old is prose of the container, in the model's own tokens. New is a language over tokens of the
    model, which it cannot have seen.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    mixture = ReplayMixture(share=params.replay_ratio, batch_size=params.batch_size)
    num_old = max(1, mixture.replayed_before(params.max_steps)) + params.num_eval_examples
    texts = (tokenizer.encode(text, add_special_tokens=False) for text in documents(installed()))
    old = windows(texts, tokenizer.eos_token_id, params.seq_len, num_old)
    spoken = language(params.vocab_size, params.branching_factor, generator)
    words = torch.randperm(tokenizer.vocab_size, generator=generator)[: params.vocab_size]
    num_new = params.max_steps * params.batch_size + params.num_eval_examples
    new = words[spoken.texts(num_new, params.seq_len, generator)]
    held_out = {OLD: old[: params.num_eval_examples], NEW: new[: params.num_eval_examples]}
    trained = MixedWindows(
        old=old[params.num_eval_examples :],
        new=new[params.num_eval_examples :],
        mixture=mixture,
        num_steps=params.max_steps,
    )
    return held_out, trained


# --- figures --------------------------------------------------------------------------------------


@dataclass(eq=False)
class DomainEvaluationCallback(Callback):  # type: ignore[misc]
    """Evaluates both domains during training, and reports the results."""

    context: Context
    held_out: dict[str, Tensor]
    fed: ObservedWindows
    counter: PeakCounter
    before: dict[str, float] = field(default_factory=dict)
    steps_done: int = 0
    began: float = 0.0

    @cached_property
    def row(self) -> dict[str, Scalar]:
        """The row keys of all figures."""
        return {"variant": ALL, "replay_ratio": self.context.params.replay_ratio}

    def on_train_start(self, context: CallbackContext) -> None:
        """Measure the base."""
        self.before = self._measure(context.model)
        for domain, loss in self.before.items():
            self.context.emit.measured("base.loss", loss, where={"domain": domain})
        self.began = time.perf_counter()

    def on_train_step_end(self, context: CallbackContext) -> None:
        """Keep the loss of the step, and measure where the curve has a point."""
        self.steps_done += 1
        loss = context.loss_dict["lm loss"].item()
        self.context.emit.step(self.steps_done, loss=loss)
        steps = self.context.params.max_steps
        progress.tell("continue the pretraining", self.steps_done, steps, {"loss": loss})
        if self.steps_done in curve_steps(self.context.params) and self.steps_done < steps:
            paused = time.perf_counter()
            self._measure(context.model)
            self.began += time.perf_counter() - paused

    def on_train_end(self, context: CallbackContext) -> None:
        """Report final losses, counts and times."""
        params, emit = self.context.params, self.context.emit
        synchronise(torch_device(None))
        wall_s = time.perf_counter() - self.began
        peak_bytes = self.counter.peak_bytes
        after = self._measure(context.model)
        for domain, loss in after.items():
            emit.measured("loss", loss, where={"domain": domain, **self.row})
        emit.measured("forgetting", after[OLD] - self.before[OLD], where=self.row)
        emit.measured("gain", self.before[NEW] - after[NEW], where=self.row)
        parameters = sum(each.numel() for part in context.model for each in part.parameters())
        emit.measured("tokens.continued", self.fed.num_tokens, where=self.row)
        emit.measured("tokens.replayed", self.fed.num_replayed, where=self.row)
        emit.measured("parameters.trained", parameters, where=self.row)
        emit.measured("parameters", parameters)
        emit.measured("tokens_per_second", params.max_steps * params.tokens_per_step / wall_s)
        emit.measured("memory.peak_allocated", peak_bytes / GIB)
        emit.measured("memory.counter", self.counter.name)
        emit.measured("loss.entropy_floor", entropy_nats(params.branching_factor))

    def _measure(self, model: list[Any]) -> dict[str, float]:
        """Return the mean loss of both held-out sets, nats a token, as a point of the curve."""
        model[0].eval()
        found = {domain: _loss(model[0], texts) for domain, texts in self.held_out.items()}
        model[0].train()
        for domain, loss in found.items():
            where = {**self.row, "step": self.steps_done}
            self.context.emit.measured(f"eval.loss_{domain}", loss, where=where)
        return found


def _loss(model: Any, texts: Tensor) -> float:
    total, device = 0.0, torch_device(None)
    positions = torch.arange(texts.shape[1] - 1, device=device)[None]
    for window in torch.split(texts.to(device), 1):
        with torch.no_grad():
            losses = model(
                input_ids=window[:, :-1].contiguous(),
                position_ids=positions,
                attention_mask=None,
                labels=window[:, 1:].contiguous(),
            )
        total += losses.float().mean().item()
    return total / len(texts)
