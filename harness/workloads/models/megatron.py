"""The same GPT out of Megatron-Core, as article 18 builds it: one rank, no parallelism.

With Transformer Engine's layers where there is a GPU and it is installed, as the article has it,
else with Megatron's local ones. How this departs from the article: torch's generator is seeded anew
before the weights are drawn, and an arm with shared weights starts from those of the hand-written
model. On the CPU two of Megatron's parts, its scratch buffer and its random states, ask for a CUDA
device and are replaced. Its local layers know no autocast there; what Transformer Engine's do by
themselves they are told to do: the residual stream has the dtype of the parameters.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]  # no stub names it

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of every package it can do without
    from megatron.core import __version__ as CORE_VERSION  # noqa: N812 - a constant
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import (
        get_gpt_layer_local_spec,
        get_gpt_layer_with_transformer_engine_spec,
    )
    from megatron.core.tensor_parallel.random import initialize_rng_tracker
    from megatron.core.transformer import TransformerConfig
    from megatron.core.utils import GlobalMemoryBuffer

from harness.workloads.models.conditions import Conditions
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.precision import Arithmetic
from harness.workloads.models.shape import Init, ModelShape


def version(device: torch.device) -> str:
    """Return the framework used on `device`: Megatron-Core, and the layers' implementation."""
    core = f"megatron-core {CORE_VERSION}"
    if not uses_transformer_engine(device):
        return f"{core}, local layers"
    import transformer_engine  # noqa: PLC0415 - CUDA only, and slow to import

    return f"{core}, Transformer Engine {transformer_engine.__version__}"


def uses_transformer_engine(device: torch.device) -> bool:
    """Return whether the layers are Transformer Engine's."""
    return device.type == "cuda" and find_spec("transformer_engine") is not None


@contextmanager
def world(seed: int, *, device: torch.device) -> Iterator[None]:
    """Set up the process groups of one rank and Megatron's random states, and take them down."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = HashStore()  # in this process: no port is taken
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
        if device.type == "cuda":
            tensor_parallel.model_parallel_cuda_manual_seed(seed)
        else:
            parallel_state._GLOBAL_MEMORY_BUFFER = _HostBuffer()  # noqa: SLF001 - it has no setter
            # the one that never forks
            initialize_rng_tracker(inference_rng_tracker=True, force_reset=True)
        yield
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()


def model(
    shape: ModelShape, conditions: Conditions, way: Arithmetic, *, device: torch.device
) -> MegatronGpt:
    """Return the model, built inside `world`."""
    start = None
    if conditions.init is not Init.SCALED:  # which Megatron draws itself
        with device:
            start = Gpt(shape, dropout=0.0, init=conditions.init).state_dict()
    has_te = uses_transformer_engine(device)
    layers = get_gpt_layer_with_transformer_engine_spec if has_te else get_gpt_layer_local_spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from its own defaults
        core = GPTModel(
            _config(shape, conditions, way.parameter_dtype, device),
            layers(),
            vocab_size=shape.vocab_size,
            max_sequence_length=shape.num_positions,
            parallel_output=False,
            share_embeddings_and_output_weights=True,
            position_embedding_type="learned_absolute",
        )
    if not has_te:
        _unify(core, way.parameter_dtype)
    built = MegatronGpt(core, shape.num_positions, knows_autocast=has_te).to(device)
    if start is not None:
        load(built, start, shape)
    return built


class MegatronGpt(nn.Module):
    """Token ids (B, S) to logits (B, S, V), as `harness.workloads.models.gpt.Gpt`.

    Args:
        core: Megatron's model.
        max_positions: rows of its position table.
        knows_autocast: whether its layers cast by autocast's rules; else it is switched off.
    """

    later: Tensor  # (S, S), query by key: whether the key comes after it

    def __init__(self, core: GPTModel, max_positions: int, *, knows_autocast: bool) -> None:
        super().__init__()
        self.core = core
        self.knows_autocast = knows_autocast
        later_SS = torch.ones(max_positions, max_positions, dtype=torch.bool).triu(1)
        self.register_buffer("later", later_SS, persistent=False)

    def forward(self, ids_BS: Tensor) -> Tensor:
        """Return the logits of the next token at every position."""
        length = ids_BS.shape[1]
        positions_BS = torch.arange(length, device=ids_BS.device).expand_as(ids_BS)
        masked_11SS = self.later[None, None, :length, :length]
        no_autocast = torch.autocast(ids_BS.device.type, enabled=False)
        with nullcontext() if self.knows_autocast else no_autocast:
            logits_BSV: Tensor = self.core(ids_BS, positions_BS, masked_11SS)
        return logits_BSV


# --- weights --------------------------------------------------------------------------------------

# within a layer: Megatron's name -> the hand-written model's; Transformer Engine has a norm and the
# map after it in one module, the local layers have two
_IN_LAYER = {
    "input_layernorm.weight": "attend_norm.weight",
    "input_layernorm.bias": "attend_norm.bias",
    "self_attention.linear_qkv.layer_norm_weight": "attend_norm.weight",
    "self_attention.linear_qkv.layer_norm_bias": "attend_norm.bias",
    "self_attention.linear_qkv.weight": "attend.qkv.weight",
    "self_attention.linear_proj.weight": "attend.out.weight",
    "pre_mlp_layernorm.weight": "feed_norm.weight",
    "pre_mlp_layernorm.bias": "feed_norm.bias",
    "mlp.linear_fc1.layer_norm_weight": "feed_norm.weight",
    "mlp.linear_fc1.layer_norm_bias": "feed_norm.bias",
    "mlp.linear_fc1.weight": "up.weight",
    "mlp.linear_fc2.weight": "down.weight",
}
_OUTSIDE = {
    "embedding.word_embeddings.weight": "tokens.weight",
    "embedding.position_embeddings.weight": "positions.weight",
    "decoder.final_layernorm.weight": "norm.weight",
    "decoder.final_layernorm.bias": "norm.bias",
}
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.(.+)")


def load(built: MegatronGpt, weights: Mapping[str, Tensor], shape: ModelShape) -> None:
    """Copy the weights of a hand-written model of the same shape into Megatron's.

    Raises:
        KeyError: Megatron has a parameter that the hand-written model has no counterpart of.
    """
    with torch.no_grad():
        for name, parameter in built.core.named_parameters():
            parameter.copy_(as_megatron(name, weights, shape))


def as_megatron(name: str, weights: Mapping[str, Tensor], shape: ModelShape) -> Tensor:
    """Return Megatron's tensor `name`, from the hand-written model's weights or gradients.

    Both fuse queries, keys and values into one map; by hand its rows are all queries, all keys, all
    values, while Megatron has the three of a head after each other.
    """
    own = hand_written_name(name)
    tensor = weights[own]
    if not own.endswith("attend.qkv.weight"):
        return tensor
    by_head = tensor.view(
        3,
        shape.num_attention_heads,
        shape.hidden_size // shape.num_attention_heads,
        shape.hidden_size,
    )
    return by_head.transpose(0, 1).reshape_as(tensor)


def hand_written_name(name: str) -> str:
    """Return what the hand-written model calls the parameter that Megatron calls `name`.

    Raises:
        KeyError: it has no such parameter.
    """
    in_layer = _LAYER.fullmatch(name)
    if in_layer is None:
        return _OUTSIDE[name]
    return f"blocks.{in_layer[1]}.{_IN_LAYER[in_layer[2]]}"


# --- parts ----------------------------------------------------------------------------------------


def _config(
    shape: ModelShape, conditions: Conditions, dtype: torch.dtype, device: torch.device
) -> TransformerConfig:
    """Return the article's configuration; options that it leaves unset are unset here.

    Except dropout, whose default of 0.1 the article got unintentionally.
    """
    return TransformerConfig(
        num_layers=shape.num_hidden_layers,
        hidden_size=shape.hidden_size,
        num_attention_heads=shape.num_attention_heads,
        ffn_hidden_size=shape.intermediate_size,
        hidden_dropout=conditions.dropout,
        attention_dropout=conditions.dropout,
        bf16=dtype is torch.bfloat16,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        attention_softmax_in_fp32=True,
        masked_softmax_fusion=uses_transformer_engine(device),
        add_bias_linear=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        use_cpu_initialization=device.type == "cpu",
    )


def _unify(core: GPTModel, dtype: torch.dtype) -> None:
    """Give local layers one dtype: norms are made in float32, the position table stays in it.

    The sum of both tables then is float32, which the first norm and the first residual addition of
    Transformer Engine's layers cast.
    """

    def cast(_: nn.Module, __: object, stream: Tensor) -> Tensor:
        return stream.to(dtype)

    core.to(dtype)
    core.embedding.position_embeddings.to(torch.float32)
    core.embedding.register_forward_hook(cast)


class _HostBuffer(GlobalMemoryBuffer):  # type: ignore[misc]
    """The scratch buffer of the scores, on the CPU."""

    def get_tensor(self, shape: tuple[int, ...], dtype: torch.dtype, *_: object) -> Tensor:
        return torch.empty(shape, dtype=dtype)
