"""What continued pretraining takes and reports. Loads no torch."""

from __future__ import annotations

from dataclasses import replace

from harness.records import record
from harness.workloads.api.declare import Better, Metric, StepMemory, Workload, param
from harness.workloads.models.conditions import Conditions, Framework
from harness.workloads.models.memory import PRECISION_AWARE
from harness.workloads.models.shape import Init, ModelShape, Precision, gpt_shape
from harness.workloads.models.step_memory import published_shape, training_step


@record
class ReplayParams:
    """A small GPT, two generated languages, and how training goes on from one to the other."""

    vocab_size: int = param(256, doc="words, the same in both languages", low=8)
    branching_factor: int = param(4, doc="words that may follow a word, in Zipf's shares", low=2)
    overlap: float = param(
        0.5, doc="share of the words that both languages go on from alike", low=0.0, high=1.0
    )
    seq_len: int = param(64, doc="words a text; also the number of positions", low=2)
    batch_size: int = param(20, doc="texts a step", low=1)
    num_hidden_layers: int = param(2, doc="layers", low=1)
    hidden_size: int = param(64, doc="width of the residual stream", low=1)
    num_attention_heads: int = param(4, doc="attention heads; divides width", low=1)
    intermediate_size: int = param(256, doc="hidden width of the feed-forward map", low=1)
    precision: str = param(
        "fp32",
        doc="arithmetic of the matrix products",
        choices=(Precision.FP32.value, Precision.MIXED.value, Precision.BF16.value),
    )
    dropout: float = param(0.0, doc="everywhere", low=0.0, high=0.9)
    base_steps: int = param(300, doc="steps of the base on the old language", low=10)
    max_steps: int = param(150, doc="steps of a continuation, the same for every variant", low=10)
    warmup_ratio: float = param(
        0.1, doc="share of either's steps in which the learning rate rises", low=0.01, high=0.5
    )
    learning_rate: float = param(5e-3, doc="AdamW, of all weights; warmed up again", low=0.0)
    lora_learning_rate: float = param(2e-2, doc="AdamW, of the adapters", low=0.0)
    beta1: float = param(0.9, doc="AdamW", low=0.0, high=1.0)
    beta2: float = param(0.95, doc="AdamW", low=0.0, high=1.0)
    weight_decay: float = param(0.01, doc="AdamW, on every trained parameter", low=0.0)
    max_grad_norm: float = param(1.0, doc="gradients are clipped to this norm", low=0.0)
    replay_ratios: tuple[float, ...] = param(
        (0.0, 0.05, 0.25, 0.5),
        doc="shares of old texts in a continuation; each continues the same base",
        low=0.0,
        high=1.0,
    )
    lora_rank: int = param(8, doc="of the arm that trains adapters, without replay", low=1)
    num_eval_examples: int = param(256, doc="held-out texts of each language", low=1)
    num_eval_points: int = param(
        5, doc="points of a continuation at which both are measured", low=1
    )
    device: str = param("cuda", doc="where the model lives", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)

    @property
    def shape(self) -> ModelShape:
        """The model."""
        return gpt_shape(
            vocab_size=self.vocab_size,
            num_positions=self.seq_len,
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
        )

    @property
    def conditions(self) -> Conditions:
        """What it is trained under."""
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
    """A published model, prose that it knows, a language that it does not, and one continuation."""

    model: str = param(
        "meta-llama/Llama-3.1-8B@d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
        doc="the base, as organisation/name@revision",
    )
    replay_ratio: float = param(doc="share of old windows", low=0.0, high=1.0)
    vocab_size: int = param(256, doc="tokens that the new language is made of", low=8)
    branching_factor: int = param(
        4, doc="tokens that may follow one of these, in Zipf's shares", low=2
    )
    seq_len: int = param(4096, doc="tokens a window", low=2)
    batch_size: int = param(16, doc="windows a step, accumulated one by one", low=1)
    max_steps: int = param(200, doc="optimizer steps", low=10)
    warmup_ratio: float = param(
        0.1, doc="share of the steps in which the learning rate rises", low=0.01, high=0.5
    )
    learning_rate: float = param(2e-5, doc="AdamW, at the end of the warm-up", low=0.0)
    beta1: float = param(0.9, doc="AdamW", low=0.0, high=1.0)
    beta2: float = param(0.95, doc="AdamW", low=0.0, high=1.0)
    weight_decay: float = param(0.01, doc="AdamW", low=0.0)
    max_grad_norm: float = param(1.0, doc="gradients are clipped to this norm", low=0.0)
    num_eval_examples: int = param(32, doc="held-out windows of each domain", low=1)
    num_eval_points: int = param(
        5, doc="points of the continuation at which both are measured", low=1
    )

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer step sees."""
        return self.batch_size * self.seq_len


OUTCOMES = (
    Metric(
        name="base.loss",
        unit="nat",
        doc="held-out loss of the base, before anything is continued; by domain",
        better=Better.LOWER,
    ),
    Metric(
        name="loss",
        unit="nat",
        doc="held-out loss at the end of a continuation; by domain",
        better=Better.LOWER,
    ),
    Metric(
        name="eval.loss_old",
        unit="nat",
        doc="held-out loss of the old domain along a continuation",
        better=Better.LOWER,
    ),
    Metric(
        name="eval.loss_new",
        unit="nat",
        doc="held-out loss of the new domain along a continuation",
        better=Better.LOWER,
    ),
    Metric(
        name="forgetting",
        unit="nat",
        doc="rise of the old domain's held-out loss over the base's",
        better=Better.LOWER,
    ),
    Metric(
        name="gain",
        unit="nat",
        doc="fall of the new domain's held-out loss below the base's",
        better=Better.HIGHER,
    ),
    Metric(name="tokens.continued", unit="token", doc="trained on by a continuation"),
    Metric(name="tokens.replayed", unit="token", doc="of these, of the old domain, as fed"),
    Metric(name="tokens.distinct", unit="token", doc="of these, without those fed before"),
    Metric(name="parameters.trained", unit="parameter", doc="by a continuation"),
    Metric(name="parameters", unit="parameter", doc="of the base; a tied table once"),
    Metric(
        name="memory.peak_allocated",
        unit="GiB",
        doc="most bytes of tensors alive at once, by memory.counter",
        better=Better.LOWER,
    ),
    Metric(name="memory.counter", unit="text", doc="what memory.peak_allocated was counted by"),
    Metric(
        name="tokens_per_second",
        unit="token/s",
        doc="training tokens a second; of the base where one is trained",
        better=Better.HIGHER,
        timing=True,
    ),
)

_FLOOR = Metric(name="loss.entropy_floor", unit="nat", doc="entropy of the next word of a language")

REPLAY = Workload(
    name="continued.replay",
    doc="pretrain a small GPT on one language, go on with another, replaying some of the first",
    params=ReplayParams,
    metrics=(
        *OUTCOMES,
        _FLOOR,
        Metric(name="tokens.base", unit="token", doc="the base was trained on"),
        Metric(name="conditions", unit="text", doc="what the model is trained under"),
    ),
    entry="harness.experiments.cpt.replay:run",
    requires=("torch",),
)

NEMO = replace(
    REPLAY,
    name="continued.nemo",
    doc="the same under NeMo's experiment manager, which goes on after a kill",
    entry="harness.experiments.cpt.nemo_trainer:run",
    requires=("torch", "nemo_toolkit"),
)


def bridge_memory(params: BridgeParams) -> tuple[StepMemory, ...]:
    """Return what training every weight takes, one window at a time (`cpt.bridge`)."""
    shape = published_shape(params.model)
    if shape is None:
        return ()
    return (training_step("training", shape, PRECISION_AWARE, params.seq_len),)


BRIDGE = Workload(
    name="continued.bridge",
    doc="train a published 8B model on with NeMo's Megatron Bridge, replaying some general prose",
    params=BridgeParams,
    metrics=(*OUTCOMES, _FLOOR),
    entry="harness.experiments.cpt.bridge:run",
    requires=("torch", "megatron-bridge", "transformers"),
    memory=bridge_memory,
)

WORKLOADS = (REPLAY, NEMO, BRIDGE)
