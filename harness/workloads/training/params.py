"""Parameters that experiments which train a policy share, each declared once. Loads no torch.

An experiment inherits those groups that it has, and gives a field another default with
`harness.workloads.api.declare.override`. `harness.workloads.training.policy` and
`harness.workloads.rl.loop` turn them into settings, one function a group.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.workloads.api.declare import param

SMALL = "small"  # the model that comes with the harness (docs/small-policy.md)


@dataclass(frozen=True, kw_only=True)  # no slots: a record can inherit several of these
class PolicyParams:
    """The model, what serves it, and how its trainer computes."""

    model: str = param(
        "small", doc="the policy: small, or a published model as organisation/name@revision"
    )
    engine: str = param("auto", doc="what serves it", choices=("auto", "vllm", "transformers"))
    dtype: str = param("float32", doc="of the weights", choices=("float32", "bfloat16"))
    kv_cache_gib: float = param(
        0.0,
        doc="keys and values that the server keeps on a GPU; 0: of as many replies at once as are "
        "wanted, each of full length",
        unit="GiB",
        low=0.0,
    )
    gradient_checkpointing: bool = param(
        False, doc="activations are computed again in the backward pass"
    )
    bf16: bool = param(False, doc="the trainer's matrix products in bfloat16 (autocast)")
    num_threads: int = param(1, doc="of the trainer on the CPU", low=1)


@dataclass(frozen=True, kw_only=True)
class LoraParams:
    """The adapter on all seven matrices of a layer, which is all that is trained."""

    lora_rank: int = param(16, doc="of the adapter", low=1, high=64)
    lora_alpha: int = param(32, doc="the adapter counts times alpha / rank", low=1)
    lora_dropout: float = param(0.05, doc="of the adapter's input", low=0.0, high=0.9)


@dataclass(frozen=True, kw_only=True)
class GenerationParams:
    """How replies are sampled."""

    max_new_tokens: int = param(64, doc="of one reply", unit="token", low=8)
    temperature: float = param(
        0.2, doc="of evaluations; 0 takes the likeliest token", low=0.0, high=2.0
    )
    top_p: float = param(1.0, doc="share of the probability sampled from", low=0.01, high=1.0)
    top_k: int = param(0, doc="likeliest tokens sampled from; 0 for all", low=0)


@dataclass(frozen=True, kw_only=True)
class RolloutParams:
    """How episodes are played."""

    prompt_style: str = param(
        "brief", doc="how the agent is spoken to", choices=("brief", "article")
    )
    max_model_len: int = param(1024, doc="prompt and replies together", unit="token", low=64)
    max_concurrency: int = param(16, doc="rollouts at once", low=1, high=256)


@dataclass(frozen=True, kw_only=True)
class TrainerParams:
    """How the policy learns from rewards."""

    max_steps: int = param(34, doc="of the training loop", low=1)
    prompts_per_step: int = param(8, doc="groups a step, drawn anew without replacement", low=1)
    num_generations: int = param(4, doc="rollouts of a group", low=2)
    rollout_temperature: float = param(0.8, doc="of training rollouts", low=0.1, high=2.0)
    learning_rate: float = param(1e-5, doc="AdamW", low=0.0)
    kl_coef: float = param(0.04, doc="of K3 to the weights that training begins with", low=0.0)
    eval_steps: int = param(25, doc="steps between held-out evaluations", low=1)
