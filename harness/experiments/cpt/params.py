"""Parameters and metrics of continued pretraining. Loads no torch."""

from __future__ import annotations

from dataclasses import replace

from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.models.conditions import Conditions, Framework
from harness.workloads.models.shape import Init, ModelShape, Precision, gpt_shape


@record
class ReplayParams:
    """A small GPT, two generated languages, and continued pretraining from one to the other."""

    vocab_size: int = param(256, doc="words, the same in both languages", low=8)
    branches: int = param(4, doc="possible next words of each word, with Zipf probabilities", low=2)
    shared: float = param(
        0.5, doc="share of words whose next words are the same in both languages", low=0.0, high=1.0
    )
    seq_len: int = param(64, doc="words per text; also the number of positions", low=2)
    batch_size: int = param(20, doc="texts per step", low=1)
    num_layers: int = param(2, doc="layers", low=1)
    width: int = param(64, doc="width of the residual stream", low=1)
    num_heads: int = param(4, doc="attention heads; divides width", low=1)
    ff_width: int = param(256, doc="hidden width of the MLP", low=1)
    precision: str = param(
        "fp32",
        doc="arithmetic of the matrix products",
        choices=(Precision.FP32.value, Precision.MIXED.value, Precision.BF16.value),
    )
    dropout: float = param(0.0, doc="dropout probability, in all layers", low=0.0, high=0.9)
    steps: int = param(300, doc="steps of the base on the old language", low=10)
    continued_steps: int = param(
        150, doc="steps of continued pretraining, the same for every variant", low=10
    )
    warmup_share: float = param(
        0.1, doc="share of warm-up steps, in both phases", low=0.01, high=0.5
    )
    learning_rate: float = param(5e-3, doc="AdamW, all weights; warmed up again", low=0.0)
    adapter_learning_rate: float = param(2e-2, doc="AdamW, LoRA adapters", low=0.0)
    beta1: float = param(0.9, doc="AdamW", low=0.0, high=1.0)
    beta2: float = param(0.95, doc="AdamW", low=0.0, high=1.0)
    weight_decay: float = param(0.01, doc="AdamW, on every trained parameter", low=0.0)
    clip_norm: float = param(1.0, doc="gradients are clipped to this norm", low=0.0)
    replay: tuple[float, ...] = param(
        (0.0, 0.05, 0.25, 0.5),
        doc="replay ratios: share of old texts; each continues the same base",
        low=0.0,
        high=1.0,
    )
    adapter_rank: int = param(
        8, doc="LoRA rank of the variant that trains adapters, without replay", low=1
    )
    held_out: int = param(256, doc="held-out texts of each language", low=1)
    curve_points: int = param(
        5, doc="evaluations of both languages during continued pretraining", low=1
    )
    device: str = param("cuda", doc="device of the model", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)

    @property
    def shape(self) -> ModelShape:
        """The model."""
        return gpt_shape(
            vocab_size=self.vocab_size,
            num_positions=self.seq_len,
            num_hidden_layers=self.num_layers,
            hidden_size=self.width,
            num_attention_heads=self.num_heads,
            intermediate_size=self.ff_width,
        )

    @property
    def conditions(self) -> Conditions:
        """The training conditions."""
        return Conditions(
            framework=Framework.HAND_WRITTEN,
            precision=Precision(self.precision),
            init=Init.SCALED,
            dropout=self.dropout,
        )

    @property
    def tokens_per_step(self) -> int:
        """Words that one optimizer step sees."""
        return self.batch_size * self.seq_len


@record
class BridgeParams:
    """A published model, prose that it knows, a language that it does not, and one replay ratio."""

    model: str = param(
        "meta-llama/Llama-3.1-8B@d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
        doc="the base, as organisation/name@revision",
    )
    replay: float = param(doc="share of old windows", low=0.0, high=1.0)
    vocab_size: int = param(256, doc="vocabulary size of the new language", low=8)
    branches: int = param(
        4, doc="possible next tokens of each token, with Zipf probabilities", low=2
    )
    seq_len: int = param(4096, doc="tokens per window", low=2)
    batch_size: int = param(16, doc="windows per step, accumulated one by one", low=1)
    continued_steps: int = param(200, doc="optimizer steps", low=10)
    warmup_share: float = param(0.1, doc="share of warm-up steps", low=0.01, high=0.5)
    learning_rate: float = param(2e-5, doc="AdamW, at the end of the warm-up", low=0.0)
    beta1: float = param(0.9, doc="AdamW", low=0.0, high=1.0)
    beta2: float = param(0.95, doc="AdamW", low=0.0, high=1.0)
    weight_decay: float = param(0.01, doc="AdamW", low=0.0)
    clip_norm: float = param(1.0, doc="gradients are clipped to this norm", low=0.0)
    held_out: int = param(32, doc="held-out windows of each domain", low=1)
    curve_points: int = param(
        5, doc="evaluations of both domains during continued pretraining", low=1
    )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer step sees."""
        return self.batch_size * self.seq_len


OUTCOMES = (
    Metric(
        name="base.loss",
        unit="nat",
        doc="held-out loss of the base, before continued pretraining; by domain",
        better=Better.LOWER,
    ),
    Metric(
        name="loss",
        unit="nat",
        doc="held-out loss after continued pretraining; by domain",
        better=Better.LOWER,
    ),
    Metric(
        name="curve.old",
        unit="nat",
        doc="held-out loss of the old domain during continued pretraining",
        better=Better.LOWER,
    ),
    Metric(
        name="curve.new",
        unit="nat",
        doc="held-out loss of the new domain during continued pretraining",
        better=Better.LOWER,
    ),
    Metric(
        name="forgetting",
        unit="nat",
        doc="increase of the old domain's held-out loss over the base's",
        better=Better.LOWER,
    ),
    Metric(
        name="gain",
        unit="nat",
        doc="decrease of the new domain's held-out loss from the base's",
        better=Better.HIGHER,
    ),
    Metric(name="tokens.continued", unit="token", doc="tokens of continued pretraining"),
    Metric(name="tokens.replayed", unit="token", doc="those of them from the old domain"),
    Metric(
        name="parameters.trained",
        unit="parameter",
        doc="parameters trained in continued pretraining",
    ),
    Metric(
        name="parameters",
        unit="parameter",
        doc="parameters of the base; tied embeddings counted once",
    ),
    Metric(
        name="memory.peak_allocated",
        unit="GiB",
        doc="most bytes of tensors alive at once, by memory.counter",
        better=Better.LOWER,
    ),
    Metric(name="memory.counter", unit="text", doc="how memory.peak_allocated was counted"),
    Metric(
        name="throughput",
        unit="token/s",
        doc="training tokens per second; of the base if one is trained",
        better=Better.HIGHER,
        timing=True,
    ),
)

_FLOOR = Metric(name="loss.floor", unit="nat", doc="entropy of the next word of a language")

REPLAY = Workload(
    name="continued.replay",
    doc="pretrain a small GPT on one language, continue on another, replaying some of the first",
    params=ReplayParams,
    metrics=(
        *OUTCOMES,
        _FLOOR,
        Metric(name="tokens.base", unit="token", doc="tokens that the base was trained on"),
        Metric(name="conditions", unit="text", doc="training conditions"),
    ),
    entry="harness.experiments.cpt.replay:run",
    requires=("torch",),
)

NEMO = replace(
    REPLAY,
    name="continued.nemo",
    doc="the same under NeMo's experiment manager, which resumes after a kill",
    entry="harness.experiments.cpt.nemo_trainer:run",
    requires=("torch", "nemo_toolkit"),
)

BRIDGE = Workload(
    name="continued.bridge",
    doc="continue a published 8B model with NeMo's Megatron Bridge, replaying some general prose",
    params=BridgeParams,
    metrics=(*OUTCOMES, _FLOOR),
    entry="harness.experiments.cpt.bridge:run",
    requires=("torch", "megatron-bridge", "transformers"),
)

WORKLOADS = (REPLAY, NEMO, BRIDGE)
