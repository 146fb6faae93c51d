"""What the workload of article 36 takes and reports. Loads no torch."""

from __future__ import annotations

from dataclasses import replace

from harness.records import record
from harness.workloads.api.declare import Better, Metric, StepMemory, Workload, override, param
from harness.workloads.inference.observed import REQUEST_METRICS
from harness.workloads.models.step_memory import (
    adapters_step,
    published_shape,
)
from harness.workloads.rl import agreement
from harness.workloads.training.params import (
    GenerationParams,
    LoraParams,
    PolicyParams,
    RolloutParams,
    TrainerParams,
)

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER


@record
class A2tgpoParams(PolicyParams, LoraParams, GenerationParams, RolloutParams, TrainerParams):
    """A world, a policy, and how it learns to search; defaults are the paper's where it has one."""

    variant: str = param(
        "full",
        doc="each adds one thing to the one before; released is the paper's code",
        choices=("grpo", "igpo", "turn-groups", "root", "turn-clip", "full", "released"),
    )
    # the world
    world_seed: int = param(42, doc="of the facts and the questions", low=0, high=99_999)
    num_entities_per_type: int = param(
        40, doc="persons, cities and companies, each", low=10, high=10_000
    )
    train_questions: int = param(240, doc="training questions", low=1)
    num_eval_examples: int = param(120, doc="held-out questions", low=1)
    hops: tuple[int, ...] = param(
        (1, 2, 3), doc="facts that questions take, in turn", low=1, high=3
    )
    retriever: str = param(
        "bm25",
        doc="what finds passages: words, e5-base-v2, or the http address of a server of the "
        "paper's contract",
    )
    retriever_memory_gib: float = param(
        0.0, doc="memory that an external retriever takes", unit="GiB", low=0.0
    )
    retriever_top_k: int = param(3, doc="passages a search shows", low=1, high=20)
    max_calls: int = param(6, doc="searches of a rollout, at most", low=1, high=20)
    # the policy
    max_new_tokens: int = override(GenerationParams, "max_new_tokens", 48)
    temperature: float = override(GenerationParams, "temperature", 0.0)
    lora_dropout: float = override(LoraParams, "lora_dropout", 0.0)
    # learning
    max_steps: int = override(TrainerParams, "max_steps", 20)
    prompts_per_step: int = override(
        TrainerParams, "prompts_per_step", 8, doc="groups a step; the paper has 64"
    )
    num_generations: int = override(
        TrainerParams, "num_generations", 8, doc="rollouts of a group; the paper has 16"
    )
    num_minibatches: int = param(8, doc="updates a step; the paper makes 8", low=1)
    rollout_temperature: float = override(TrainerParams, "rollout_temperature", 1.0)
    learning_rate: float = override(
        TrainerParams,
        "learning_rate",
        1e-6,
        doc="AdamW; the paper trains every parameter with it",
    )
    kl_coef: float = override(
        TrainerParams, "kl_coef", 0.001, doc="of K3 to the first weights, in the variant grpo"
    )
    eval_steps: int = override(TrainerParams, "eval_steps", 10)
    clip_epsilon: float = param(0.2, doc="clip width of a token's ratio", low=0.0)
    turn_epsilon_low: float = param(3e-3, doc="clip width of a turn's ratio below 1", low=0.0)
    turn_epsilon_high: float = param(4e-3, doc="above 1", low=0.0)
    clip_scale_beta: float = param(
        0.3, doc="beta: how far a clip's width follows its gain", low=0.0
    )
    gamma: float = param(1.0, doc="discount from turn to turn", low=0.0, high=1.0)
    gains_by: str = param(
        "trainer", doc="what scores the gold answer", choices=("trainer", "engine")
    )


# where: step, hops (0 for all questions)
_HELD_OUT = (
    Metric(
        name="search.exact_match",
        unit="%",
        doc="held-out questions answered exactly",
        better=_HIGHER,
    ),
    Metric(
        name="search.no_answer", unit="%", doc="held-out rollouts without an answer", better=_LOWER
    ),
    Metric(name="search.calls", unit="1", doc="searches of a held-out rollout, mean"),
)
_GAINED = (
    Metric(
        name="search.gain",
        unit="%",
        doc="held-out exact match, last step - first weights, points",
        better=_HIGHER,
    ),
    Metric(
        name="search.eval_auc",
        unit="%",
        doc="held-out exact match, mean over the evaluations after the first: how fast it learnt",
        better=_HIGHER,
    ),
    Metric(
        name="search.questions_trained",
        unit="count",
        doc="questions of the evaluations that training had played too",
    ),
    Metric(
        name="search.rollout_errors",
        unit="count",
        doc="rollouts that broke; they count in no other figure",
    ),
)

# where: step
_BATCH = (
    Metric(name="train.reward", unit="1", doc="mean of the rollouts", better=_HIGHER),
    Metric(name="train.exact_match", unit="%", doc="of the training rollouts", better=_HIGHER),
    Metric(name="train.calls", unit="1", doc="searches of a training rollout, mean"),
    Metric(name="train.learning_rate", unit="1", doc="as the optimizer held it when it stepped"),
    *agreement.METRICS,
    Metric(
        name="train.zero_variance_groups",
        unit="count",
        doc="groups without reward spread (no gradient)",
    ),
    Metric(name="train.clip_ratio", unit="%", doc="clipped tokens"),
    Metric(name="train.importance_ratio_mean", unit="1", doc="mean importance ratio pi / pi_old"),
    Metric(name="train.entropy", unit="nat", doc="of the policy's distribution a token"),
    Metric(name="train.update_norm", unit="1", doc="L2 of the step's change of the weights"),
    Metric(name="train.tokens", unit="token", doc="trained"),
)

_CREDIT = (
    Metric(name="gain.count", unit="count", doc="information gains computed"),
    Metric(
        name="gain.singletons",
        unit="%",
        doc="gains whose turn only one rollout of the group reached",
    ),
    Metric(
        name="gain.logprob_abs_diff_max",
        unit="nat",
        doc="|server - trainer| of the gold answer's log-probabilities, largest of a step",
        better=_LOWER,
    ),
    Metric(
        name="advantage.turn_bias",
        unit="1",
        doc="|mean of a turn's scores within its group|, mean over turns and groups",
        better=_LOWER,
    ),
    Metric(
        name="advantage.process_std",
        unit="1",
        doc="deviation of the advantages' process term at a turn; where: turn",
    ),
    Metric(
        name="advantage.depth_ratio",
        unit="x",
        doc="that at the first turn over that at the last before the answer, of one length",
    ),
    Metric(
        name="advantage.repeated_turns", unit="%", doc="turns whose advantage is the one before's"
    ),
    Metric(name="clip.scale_mean", unit="1", doc="of process turns"),
    Metric(name="clip.scale_std", unit="1", doc="of process turns"),
    Metric(name="clip.scale_min", unit="1", doc="smallest"),
    Metric(name="clip.scale_max", unit="1", doc="largest"),
)

_TIMES = (
    Metric(name="serve.engine", unit="text", doc="what served the policy, with its version"),
    Metric(name="retrieve.by", unit="text", doc="the retriever, with its version"),
    Metric(name="retrieve.time", unit="ms", doc="of a search, mean", better=_LOWER, timing=True),
    Metric(name="step.time", unit="s", doc="one step, median", better=_LOWER, timing=True),
    Metric(name="step.rollout_time", unit="s", doc="rollouts of a step, median", timing=True),
    Metric(name="step.gain_time", unit="s", doc="gains of a step, median", timing=True),
    Metric(name="step.update_time", unit="s", doc="update of a step, median", timing=True),
    Metric(
        name="gain.engine_time",
        unit="s",
        doc="the same gains by the server's log-probabilities, of the first step",
        timing=True,
    ),
    Metric(
        name="gain.trainer_time",
        unit="s",
        doc="and by the trainer's forward pass",
        timing=True,
    ),
)

_ENCODER_GIB = 0.5  # e5-base-v2 in float32, and its vectors of the made world


def memory_of(params: A2tgpoParams) -> tuple[StepMemory, ...]:
    """Return what training takes beside the policy's server and the retriever."""
    shape = published_shape(params.model)
    if shape is None:
        return ()
    step = adapters_step(
        "training",
        shape,
        params,
        tokens=params.max_model_len,
        trained_tokens=(params.max_calls + 1) * params.max_new_tokens,
        replies=(params.max_model_len, params.max_concurrency),
    )
    encoder_gib = _ENCODER_GIB if params.retriever == "e5" else 0.0
    return (
        replace(
            step,
            processes_gib=step.processes_gib + encoder_gib,
            beside_gib=params.retriever_memory_gib,
        ),
    )


A2TGPO = Workload(
    name="search.a2tgpo",
    doc="train a policy to search, rewarding each search by its information gain",
    params=A2tgpoParams,
    metrics=(*_HELD_OUT, *_GAINED, *_BATCH, *_CREDIT, *_TIMES, *REQUEST_METRICS),
    entry="harness.experiments.a36.run:run",
    requires=("torch", "transformers", "peft", "bm25s"),
    memory=memory_of,
)

WORKLOADS = (A2TGPO,)
