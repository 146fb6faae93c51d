"""What the workloads of articles 32 to 34 take and report. Loads no torch."""

from __future__ import annotations

from harness.experiments.a32_34.metrics import (
    AGENT,
    COMPARED,
    CURVES,
    EVALUATED,
    LEARNED,
    REWARDED,
    SERVED,
    TUNED,
    WRITTEN,
)
from harness.records import SandboxKind, SandboxSpec, record
from harness.workloads.api.declare import ServiceParams, Workload, param
from harness.workloads.envs.files.personas import TASKS_PER_PERSONA
from harness.workloads.training.params import (
    SMALL,
    GenerationParams,
    LoraParams,
    PolicyParams,
    RolloutParams,
    TrainerParams,
)


@record
class TasksParams:
    """How tasks are written; the seed of the run is the first slot's."""

    author: str = param("template", doc="who writes the tasks", choices=("template", "llm"))
    per_persona: int = param(
        TASKS_PER_PERSONA, doc="tasks for each of the eight personas", unit="count", low=1, high=100
    )
    author_base_url: str = param(
        "http://127.0.0.1:8000/v1", doc="where the llm author's model is served"
    )
    author_model: str = param("nvidia/nemotron-nano-9b-v2", doc="its name there")
    attempts: int = param(3, doc="replies asked for before a task is given up", low=1, high=10)


@record
class AgentParams(TasksParams, PolicyParams, LoraParams, GenerationParams, RolloutParams):
    """The policy, how it is served, and how it learns from demonstrations; article 32."""

    task_seed: int = param(42, doc="of the first task; every further one adds 1", low=0)
    sandbox: str = param(
        SandboxKind.AUTO.value,
        doc="what isolates its commands; auto: bubblewrap where it works, else containers, else "
        "memory if the model is small; see docs/sandbox.md",
        choices=tuple(kind.value for kind in SandboxKind),
    )
    num_eval_examples: int = param(
        158, doc="held-out tasks that are played, of all personas", low=8
    )
    sft_data: str = param(
        "never-stopping",
        doc="what is imitated: oracles that look around instead of stopping, or the rollouts of "
        "the teacher that pass or nearly do",
        choices=("never-stopping", "rollouts"),
    )
    teacher: str = param("", doc="the published model whose rollouts are imitated")
    sft_learning_rate: float = param(2e-4, doc="AdamW, peak of a linear schedule", low=0.0)
    sft_num_train_epochs: int = param(1, doc="passes over the demonstrations", low=1)
    sft_gradient_accumulation_steps: int = param(4, doc="demonstrations an optimizer step", low=1)
    sft_max_length: int = param(
        2048, doc="a longer demonstration loses its end", unit="token", low=64
    )
    sft_stop_when_p_stop_below: float = param(
        0.0,
        doc="training ends after the first epoch with a smaller probability of stopping when the "
        "work is done; 0 for none",
        low=0.0,
        high=1.0,
    )
    sft_first_step_lr_zero: bool = param(
        True, doc="start the schedule at a learning rate of 0 (the article's first step is a no-op)"
    )


@record
class GrpoParams(AgentParams, TrainerParams):
    """How the policy learns from rewards; article 33's settings, which are the defaults."""

    reward: str = param("shaped", doc="of a rollout", choices=("shaped", "binary"))
    reset_optimizer_each_step: bool = param(
        True, doc="AdamW is made anew each step, as the article did"
    )
    dropout: str = param(
        "active", doc="the adapter's dropout while it is trained", choices=("active", "off")
    )


@record
class T2poParams(GrpoParams):
    """Article 34's additions, and which of them are tried."""

    variants: tuple[str, ...] = param(
        ("full",),
        doc="variants to train, each from the same fine-tuned policy",
        choices=("grpo", "cap", "resample", "turns", "full", "paper"),
    )
    capped_max_new_tokens: int = param(
        450, doc="of a training reply, in the variants cap and full", low=8
    )
    resample_threshold: float = param(
        0.3, doc="a turn whose entropy is this near to the one before is sampled again", unit="nat"
    )
    max_resamples: int = param(2, doc="how often a turn is sampled again at most", low=0, high=8)
    entropy_top_k: int = param(
        20, doc="entropy is taken over this many most likely tokens", low=2, high=100
    )
    turn_advantage_weight: float = param(1.0, doc="of a turn's own advantage", low=0.0)


SERVICES = (
    ServiceParams(
        role="author",
        address="author_base_url",
        model="author_model",
        is_asked=lambda params: params.author == "llm" and bool(params.author_base_url),
    ),
)
_PLAYED = (*AGENT, *EVALUATED, *COMPARED)


def sandbox_of(params: AgentParams) -> SandboxSpec:
    """Return where the policy's commands run; the small one writes no others than memory knows."""
    return SandboxSpec(kind=SandboxKind(params.sandbox), memory_suffices=params.model == SMALL)


WORKLOADS = (
    Workload(
        name="clawgym.tasks",
        doc="write file tasks, lint them, and report the scores of doing nothing and of an oracle",
        params=TasksParams,
        metrics=WRITTEN,
        entry="harness.experiments.a32_34.tasks:run",
        services=SERVICES,
    ),
    Workload(
        name="agent.sft",
        doc="write file tasks, serve a policy, fine-tune it on demonstrations, and evaluate both",
        params=AgentParams,
        metrics=(*WRITTEN, *SERVED, *TUNED, *_PLAYED),
        entry="harness.experiments.a32_34.sft:run",
        services=SERVICES,
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
    Workload(
        name="agent.grpo",
        doc="fine-tune a file agent, then train it by GRPO, and evaluate every policy",
        params=GrpoParams,
        metrics=(*SERVED, *TUNED, *_PLAYED, *REWARDED, *LEARNED),
        entry="harness.experiments.a32_34.grpo:run",
        services=SERVICES,
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
    Workload(
        name="agent.t2po",
        doc="train a fine-tuned file agent by several variants, evaluating pool and held-out tasks",
        params=T2poParams,
        metrics=(*SERVED, *TUNED, *_PLAYED, *REWARDED, *LEARNED, *CURVES),
        entry="harness.experiments.a32_34.t2po:run",
        services=SERVICES,
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
)
