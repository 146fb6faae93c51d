"""What the workloads of this room take and report. Loads no torch."""

from __future__ import annotations

from harness.experiments.a32_34.evaluation_metrics import COMPARED, EVALUATED
from harness.experiments.a32_34.metrics import CURVES, LEARNED, REWARDED, SERVED, TUNED
from harness.experiments.a32_34.tasks_params import AGENT, WRITTEN, TasksParams
from harness.records import SandboxKind, SandboxSpec, record
from harness.workloads.api.declare import Workload, param

SMALL = "small"  # the model that comes with the harness (docs/small-policy.md)


@record
class AgentParams(TasksParams):
    """The policy, how it is served, and how it learns from demonstrations; article 32."""

    task_seed: int = param(42, doc="of the first task; every further one adds 1", low=0)
    model: str = param(
        "small", doc="the model: small, or a published one as organisation/name@revision"
    )
    engine: str = param("auto", doc="what serves it", choices=("auto", "vllm", "transformers"))
    sandbox: str = param(
        SandboxKind.AUTO.value,
        doc="what isolates its commands; auto: bubblewrap where it works, else containers, else "
        "memory if the model is small; see docs/sandbox.md",
        choices=tuple(kind.value for kind in SandboxKind),
    )
    prompt_style: str = param("brief", doc="how it is spoken to", choices=("brief", "article"))
    dtype: str = param("float32", doc="of the weights", choices=("float32", "bfloat16"))
    max_model_len: int = param(1024, doc="prompt and reply together", unit="token", low=64)
    max_new_tokens: int = param(64, doc="of one reply", unit="token", low=8)
    max_concurrency: int = param(16, doc="rollouts at once", low=1, high=256)
    gpu_memory_utilization: float = param(
        0.35, doc="of the GPU's memory that the server may use", low=0.05, high=0.95
    )
    gradient_checkpointing: bool = param(
        False, doc="activations are computed again in the backward pass"
    )
    bf16: bool = param(False, doc="the trainer's matrix products in bfloat16")
    num_threads: int = param(1, doc="of the trainer on the CPU", low=1)
    num_eval_examples: int = param(
        158, doc="held-out tasks that are played, of all personas", low=8
    )
    temperature: float = param(0.2, doc="of evaluations", low=0.0, high=2.0)
    top_p: float = param(1.0, doc="share of the probability drawn from", low=0.01, high=1.0)
    top_k: int = param(0, doc="likeliest tokens drawn from; 0 for all", low=0)
    lora_rank: int = param(16, doc="of the adapter", low=1, high=64)
    lora_alpha: int = param(32, doc="the adapter counts times alpha / rank", low=1)
    lora_dropout: float = param(0.05, doc="of the adapter's input", low=0.0, high=0.9)
    sft_data: str = param(
        "never-stopping",
        doc="what is imitated: oracles that look around instead of stopping, or the rollouts of "
        "the demonstrator that pass or nearly do",
        choices=("never-stopping", "rollouts"),
    )
    teacher: str = param("", doc="the published model whose rollouts are imitated")
    sft_learning_rate: float = param(2e-4, doc="AdamW, peak of a linear schedule", low=0.0)
    sft_num_train_epochs: int = param(1, doc="passes over the demonstrations", low=1)
    sft_gradient_accumulation_steps: int = param(4, doc="demonstrations an optimizer step", low=1)
    sft_max_length: int = param(2048, doc="a longer demonstration loses its end", low=64)
    sft_stop_when_p_stop_below: float = param(
        0.0,
        doc="training ends after the first epoch with a smaller probability of stopping when the "
        "work is done; 0 for none",
        low=0.0,
        high=1.0,
    )
    sft_first_step_lr_zero: bool = param(
        True, doc="the schedule begins at a rate of 0, as the article's did, and wastes a step"
    )


@record
class GrpoParams(AgentParams):
    """How the policy learns from rewards; article 33's settings."""

    max_steps: int = param(34, doc="optimizer steps", low=1)
    prompts_per_step: int = param(8, doc="groups a step, drawn anew without replacement", low=1)
    num_generations: int = param(4, doc="members of a group", low=2)
    rollout_temperature: float = param(0.8, doc="of training rollouts", low=0.1, high=2.0)
    reward: str = param("shaped", doc="of a rollout", choices=("shaped", "binary"))
    learning_rate: float = param(1e-5, doc="AdamW", low=0.0)
    kl_coef: float = param(0.04, doc="of K3 to the fine-tuned policy", low=0.0)
    reset_optimizer_each_step: bool = param(
        True, doc="AdamW begins each step without moments, as in the article"
    )
    dropout: str = param(
        "active", doc="the adapter's dropout while it is trained", choices=("active", "off")
    )
    eval_steps: int = param(25, doc="steps between held-out evaluations", low=1)


@record
class T2poParams(GrpoParams):
    """Article 34's additions, and which of them are tried."""

    variants: tuple[str, ...] = param(
        ("full",),
        doc="what is trained, each from the same fine-tuned policy",
        choices=("grpo", "cap", "resample", "turns", "full", "paper"),
    )
    capped_max_new_tokens: int = param(
        450, doc="of a training reply, in the arms cap and full", low=8
    )
    resample_threshold: float = param(
        0.3, doc="a turn this near to the one before is drawn again", unit="nat"
    )
    max_resamples: int = param(2, doc="how often a turn is drawn again at most", low=0, high=8)
    entropy_top_k: int = param(
        20, doc="likeliest tokens that entropy is taken over", low=2, high=100
    )
    turn_advantage_weight: float = param(1.0, doc="of a turn's own advantage", low=0.0)


_PLAYED = (*AGENT, *EVALUATED, *COMPARED)


def sandbox_of(params: AgentParams) -> SandboxSpec:
    """Return where the policy's commands run; the small one writes no others than memory knows."""
    return SandboxSpec(kind=SandboxKind(params.sandbox), memory_suffices=params.model == SMALL)


WORKLOADS = (
    Workload(
        name="agent.sft",
        doc="write file tasks, serve a policy, let it imitate demonstrations, and play both",
        params=AgentParams,
        metrics=(*WRITTEN, *SERVED, *TUNED, *_PLAYED),
        entry="harness.experiments.a32_34.sft:run",
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
    Workload(
        name="agent.grpo",
        doc="fine-tune a file agent, then train it by rewards, and play all policies",
        params=GrpoParams,
        metrics=(*SERVED, *TUNED, *_PLAYED, *REWARDED, *LEARNED),
        entry="harness.experiments.a32_34.grpo:run",
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
    Workload(
        name="agent.t2po",
        doc="train a fine-tuned file agent in several ways, and follow pool and held-out tasks",
        params=T2poParams,
        metrics=(*SERVED, *TUNED, *_PLAYED, *REWARDED, *LEARNED, *CURVES),
        entry="harness.experiments.a32_34.t2po:run",
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
)
