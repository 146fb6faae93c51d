"""Parameters and metrics of a short pretraining run (articles 18 to 20). Loads no torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from harness.records import record
from harness.workloads.api.declare import Better, Law, Metric, param
from harness.workloads.models.conditions import ARMS, Conditions, Framework
from harness.workloads.models.shape import Init, ModelShape, Precision, gpt_shape


@record
class CellParams(ABC):
    """One cell of a sweep but for its conditions; defaults are article 19's model and recipe."""

    batch_size: int = param(doc="sequences a step", low=1)
    seq_len: int = param(doc="tokens a sequence; also the model's number of positions", low=2)
    num_hidden_layers: int = param(24, doc="layers", low=1)
    hidden_size: int = param(1024, doc="width of the residual stream", low=1)
    num_attention_heads: int = param(16, doc="attention heads; divides width", low=1)
    intermediate_size: int = param(4096, doc="hidden width of the feed-forward map", low=1)
    vocab_size: int = param(50257, doc="token ids of the data", low=2)
    max_steps: int = param(30, doc="optimizer steps", low=3)
    warmup_steps: int = param(
        5,
        doc="first steps: rising learning rate, left out of the mean; two at least, so that "
        "memory is counted with gradients and optimizer state alive",
        low=2,
    )
    learning_rate: float = param(3e-4, doc="AdamW, at the end of the warm-up", low=0.0)
    beta1: float = param(0.9, doc="AdamW", low=0.0, high=1.0)
    beta2: float = param(0.95, doc="AdamW", low=0.0, high=1.0)
    weight_decay: float = param(0.01, doc="AdamW, on every parameter", low=0.0)
    max_grad_norm: float = param(1.0, doc="gradients are clipped to this norm", low=0.0)
    data_seed: int = param(0, doc="the one batch of all steps is drawn from this seed", low=0)
    device: str = param("cuda", doc="where the model lives", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)

    @property
    @abstractmethod
    def conditions(self) -> Conditions:
        """What the cell is trained under."""

    @property
    def shape(self) -> ModelShape:
        """The model."""
        multiple = self.conditions.pad_vocab_to
        return gpt_shape(
            vocab_size=math.ceil(self.vocab_size / multiple) * multiple,
            num_positions=self.seq_len,
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
        )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer step sees."""
        return self.batch_size * self.seq_len


@record
class EnvelopeParams(CellParams):
    """One cell of article 19's envelope: the hand-written model, its vocabulary not padded."""

    precision: str = param(
        doc="arithmetic of the matrix products", choices=tuple(each.value for each in Precision)
    )
    dropout: float = param(
        0.1, doc="embedding, attention weights and residual branches", low=0.0, high=0.9
    )

    @property
    def conditions(self) -> Conditions:
        """What the cell is trained under."""
        return Conditions(
            framework=Framework.HAND_WRITTEN,
            precision=Precision(self.precision),
            init=Init.SCALED,
            dropout=self.dropout,
        )


@record
class FrameworksParams(CellParams):
    """One arm of article 18; the defaults are the article's model and recipe."""

    variant: str = param(doc="the conditions, by name", choices=tuple(ARMS))
    batch_size: int = param(4, doc="sequences a step", low=1)
    seq_len: int = param(1024, doc="tokens a sequence; also the number of positions", low=2)
    max_steps: int = param(100, doc="optimizer steps", low=3)
    warmup_steps: int = param(
        10, doc="first steps: rising learning rate, left out of the mean", low=2
    )

    @property
    def conditions(self) -> Conditions:
        """What the arm is trained under."""
        return ARMS[self.variant]


CELL_METRICS = (
    Metric(
        name="step_time.mean",
        unit="ms",
        doc="wall clock of one optimizer step, mean over the steps after the warm-up",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(
        name="tokens_per_second",
        unit="token/s",
        doc="training tokens of a step / step_time.mean",
        better=Better.HIGHER,
        timing=True,
        flop="harness.workloads.training.pretrain_laws:flop_per_token",
    ),
    Metric(
        name="loss.first",
        unit="nat",
        doc="mean cross-entropy before the first step",
        better=Better.LOWER,
    ),
    Metric(
        name="loss.last",
        unit="nat",
        doc="mean cross-entropy before the last step",
        better=Better.LOWER,
    ),
    Metric(name="loss.fall", unit="nat", doc="loss.first - loss.last", better=Better.HIGHER),
    Metric(
        name="memory.peak_allocated",
        unit="GiB",
        doc="most bytes of tensors alive at once, by memory.counter",
        better=Better.LOWER,
    ),
    Metric(
        name="memory.peak_reserved",
        unit="GiB",
        doc="most that torch's CUDA allocator held at once",
        better=Better.LOWER,
    ),
    Metric(
        name="cell.wall_time",
        unit="s",
        doc="building the model and all steps, without imports",
        better=Better.LOWER,
        timing=True,
    ),
    Metric(name="cell.out_of_memory", unit="flag", doc="the GPU's memory did not suffice"),
    Metric(name="parameters", unit="parameter", doc="of the model; the tied table once"),
)

OPTIMIZER_METRICS = (
    Metric(name="optimizer.learning_rate", unit="1", doc="largest that the optimizer held"),
    Metric(name="optimizer.weight_decay", unit="1", doc="as the optimizer held it at every step"),
    Metric(name="optimizer.beta1", unit="1", doc="as the optimizer held it at every step"),
    Metric(name="optimizer.beta2", unit="1", doc="as the optimizer held it at every step"),
)

UNACCOUNTED = Metric(
    name="step_time.unaccounted",
    unit="%",
    doc="of the steps' time, by another clock: neither making the batch nor the timed window",
    timing=True,
)

OBSERVED_METRICS = (
    *OPTIMIZER_METRICS,
    Metric(name="batches.distinct", unit="count", doc="different batches that steps were fed"),
    Metric(name="batches.tokens", unit="token", doc="targets of a step, as fed"),
    UNACCOUNTED,
)

CONDITION_METRICS = (
    Metric(name="conditions", unit="text", doc="what may differ between cells beside their sizes"),
    Metric(name="framework", unit="text", doc="what the model was made of, with its version"),
    Metric(name="memory.counter", unit="text", doc="what memory.peak_allocated was counted by"),
    Metric(name="fp8.backend", unit="text", doc="what did the eight-bit products"),
)


@record
class MemoryLawParams:
    """Peak memory follows from the model's shape, the tokens of a step and the precision."""

    loop: str = param(
        "harness",
        doc="whose layers: the hand-written ones, Transformer Engine's as published with articles "
        "18 and 19, or Megatron-Core's local ones",
        choices=("harness", "published", "local"),
    )


@record
class ParameterCountParams:
    """A GPT has as many parameters as the formula of its shape says."""


@record
class AskedParams:
    """A figure that was observed is the one that was asked for."""

    params: tuple[str, ...] = param(
        ("learning_rate",), doc="of the run; their product is what was asked for"
    )

    def __post_init__(self) -> None:
        if not self.params:
            message = "params is empty; name one"
            raise ValueError(message)


PRETRAIN_LAWS = (
    *(
        Law(
            name=name,
            doc="the product of the run's {params}",
            params=AskedParams,
            unit=unit,
            formula="harness.workloads.training.pretrain_laws:asked",
        )
        for name, unit in (("as_asked", "1"), ("tokens_as_asked", "token"))
    ),
    Law(
        name="memory_law",
        doc="the {loop} loop's memory law",
        params=MemoryLawParams,
        unit="B",
        formula="harness.workloads.training.pretrain_laws:peak_memory",
    ),
    Law(
        name="parameter_count",
        doc="the GPT formula",
        params=ParameterCountParams,
        unit="parameter",
        formula="harness.workloads.training.pretrain_laws:parameter_count",
    ),
)
