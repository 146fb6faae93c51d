"""The part of Megatron Bridge 0.4 that continued pretraining uses, around a model of one table.

The real one needs Transformer Engine, and so CUDA. This one shows the experiment's own side: which
fields it sets, what it feeds, and what it reports. The fields are those that the experiment was
written against; that Bridge 0.4.0 has them all has not been seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Section:
    """A part of the configuration; only its own fields can be set."""

    def __init__(self, fields: str) -> None:
        self.__dict__.update(dict.fromkeys(fields.split()))

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.__dict__:
            message = f"the configuration has no field {name}"
            raise AttributeError(message)
        self.__dict__[name] = value


def config() -> Any:
    return SimpleNamespace(
        model=None,
        tokenizer=Section("tokenizer_type vocab_size"),
        mixed_precision=None,
        optimizer=Section(
            "use_precision_aware_optimizer main_grads_dtype main_params_dtype exp_avg_dtype "
            "exp_avg_sq_dtype store_param_remainders lr min_lr adam_beta1 adam_beta2 clip_grad "
            "weight_decay"
        ),
        ddp=Section(
            "use_distributed_optimizer grad_reduce_in_fp32 overlap_grad_reduce overlap_param_gather"
        ),
        train=Section("train_iters global_batch_size micro_batch_size"),
        validation=Section("eval_iters eval_interval"),
        scheduler=Section(
            "start_weight_decay end_weight_decay lr_decay_style lr_decay_iters lr_warmup_iters"
        ),
        dataset=None,
        rng=Section("seed"),
        checkpoint=Section("save load"),
        logger=Section("tensorboard_dir"),
    )


class TableModel(nn.Module):
    """Losses of a bigram table, which is all that a stand-in needs to have some."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)

    def forward(
        self, *, input_ids: Tensor, position_ids: Tensor, attention_mask: None, labels: Tensor
    ) -> Tensor:
        """Return the loss of every token."""
        assert attention_mask is None
        assert position_ids.shape == input_ids.shape
        logits = self.table(input_ids)
        return nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")


class AutoBridge:
    def __init__(self, folder: str) -> None:
        from transformers import AutoConfig  # noqa: PLC0415 - only where it is installed

        self.vocab_size = AutoConfig.from_pretrained(folder).vocab_size

    @classmethod
    def from_hf_pretrained(cls, folder: str) -> AutoBridge:
        return cls(folder)

    def to_megatron_provider(self) -> Section:
        provider = Section(
            "seq_length tensor_model_parallel_size pipeline_model_parallel_size "
            "context_parallel_size transformer_impl cross_entropy_loss_fusion "
            "cross_entropy_fusion_impl cuda_graph_impl recompute_granularity recompute_method "
            "recompute_num_layers vocab_size"
        )
        provider.vocab_size = self.vocab_size
        return provider


@dataclass(kw_only=True)
class DatasetProvider:
    dataloader_type: str
    num_workers: int
    persistent_workers: bool


class Callback:
    pass


def batches(config: Any) -> Iterator[list[Any]]:
    trained, held_out, tested = config.dataset.build_datasets(None)
    assert held_out is tested is None
    waiting = iter(trained[at] for at in range(len(trained)))
    while batch := list(islice(waiting, config.train.global_batch_size)):
        yield batch


def pretrain(config: Any, step: Callable[..., Any], callbacks: list[Any]) -> None:
    assert step is forward_step
    (callback,) = callbacks
    model = TableModel(config.model.vocab_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.optimizer.lr)
    context = SimpleNamespace(model=[model], loss_dict={})
    callback.on_train_start(context)
    for batch in islice(batches(config), config.train.train_iters):
        tokens = torch.stack([each["tokens"] for each in batch])
        labels = torch.stack([each["labels"] for each in batch])
        positions = torch.arange(tokens.shape[1]).expand_as(tokens)
        loss = model(
            input_ids=tokens, position_ids=positions, attention_mask=None, labels=labels
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        context.loss_dict = {"lm loss": loss.detach()}
        callback.on_train_step_end(context)
    callback.on_train_end(context)


def forward_step() -> None:
    pass


def modules() -> dict[str, ModuleType]:
    """Return the modules that the experiment imports, by name."""
    places: dict[str, dict[str, Any]] = {
        "megatron": {},
        "megatron.bridge": {"AutoBridge": AutoBridge},
        "megatron.bridge.recipes": {},
        "megatron.bridge.recipes.common": {"_pretrain_common": config},
        "megatron.bridge.training": {},
        "megatron.bridge.training.callbacks": {
            "Callback": Callback,
            "CallbackContext": SimpleNamespace,
        },
        "megatron.bridge.training.config": {
            "ConfigContainer": SimpleNamespace,
            "DatasetBuildContext": SimpleNamespace,
            "DatasetProvider": DatasetProvider,
        },
        "megatron.bridge.training.gpt_step": {"forward_step": forward_step},
        "megatron.bridge.training.mixed_precision": {
            "bf16_mixed": lambda: Section("grad_reduce_in_fp32")
        },
        "megatron.bridge.training.pretrain": {"pretrain": pretrain},
    }
    made = {}
    for name, content in places.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        module.__path__ = []
        made[name] = module
    return made
