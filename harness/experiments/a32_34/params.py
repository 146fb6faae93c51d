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
from harness.workloads.api.declare import ServiceParams, StepMemory, Workload, param
from harness.workloads.envs.files.grade import MAX_TURNS
from harness.workloads.envs.files.personas import TASKS_PER_PERSONA
from harness.workloads.models.step_memory import (
    adapters_step,
    cache_gib,
    published_shape,
    serving_step,
    weights_gib,
)
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
        "",
        doc="where the llm author's model is served, as http://HOST:PORT/v1; empty: the run serves "
        "it while the tasks are written",
    )
    author_model: str = param(
        "nvidia/nemotron-nano-9b-v2",
        doc="its name there; the published model as organisation/name@revision where the run "
        "serves it",
    )
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


AUTHOR_CACHE_GIB = 4  # 8192 tokens of Nemotron Nano 9B v2 take 0.1, its states of a sequence 0.2
_AUTHOR_WEIGHTS_GIB = 16.6  # 8.89e9 parameters in bfloat16: NVIDIA-Nemotron-Nano-9B-v2's card
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


def tasks_memory(params: TasksParams) -> tuple[StepMemory, ...]:
    """Return what writing the tasks takes: a served author, where the run serves it."""
    if params.author != "llm" or params.author_base_url:
        return ()
    return (serving_step("tasks", _AUTHOR_WEIGHTS_GIB, AUTHOR_CACHE_GIB),)


def memory_of(params: AgentParams) -> tuple[StepMemory, ...]:
    """Return what each step takes; they follow each other, and each server ends with its own."""
    found = [*tasks_memory(params)]
    replies = (params.max_model_len, params.max_concurrency)
    if params.sft_data == "rollouts" and (teacher := published_shape(params.teacher)):
        cache = cache_gib(teacher, params.dtype, params.kv_cache_gib, *replies)
        found.append(serving_step("demonstrations", weights_gib(teacher, params.dtype), cache))
    if policy := published_shape(params.model):
        # a rollout is one forward pass, whose tokens are trained as far as the policy said them
        learns = isinstance(params, GrpoParams)
        reply = max(params.max_new_tokens, getattr(params, "capped_max_new_tokens", 0))
        found.append(
            adapters_step(
                "training" if learns else "fine-tuning",
                policy,
                params,
                tokens=params.max_model_len if learns else params.sft_max_length,
                trained_tokens=MAX_TURNS * reply,
                replies=replies,
            )
        )
    return tuple(found)


WORKLOADS = (
    Workload(
        name="clawgym.tasks",
        doc="write file tasks, lint them, and report the scores of doing nothing and of an oracle",
        params=TasksParams,
        metrics=WRITTEN,
        entry="harness.experiments.a32_34.tasks:run",
        services=SERVICES,
        memory=tasks_memory,
    ),
    Workload(
        name="agent.sft",
        doc="write file tasks, serve a policy, fine-tune it on demonstrations, and evaluate both",
        params=AgentParams,
        metrics=(*WRITTEN, *SERVED, *TUNED, *_PLAYED),
        entry="harness.experiments.a32_34.sft:run",
        services=SERVICES,
        memory=memory_of,
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
        memory=memory_of,
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
        memory=memory_of,
        requires=("torch", "transformers", "peft"),
        sandbox=sandbox_of,
    ),
)
