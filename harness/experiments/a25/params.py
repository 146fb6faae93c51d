"""What imitating a proposer takes and reports. Loads no torch."""

from __future__ import annotations

from harness.experiments.a25.figures import BASELINES, CONSTRUCTED, CORPUS, RACE
from harness.records import record
from harness.workloads.api.declare import (
    Better,
    Metric,
    ServiceParams,
    StepMemory,
    Workload,
    override,
    param,
)
from harness.workloads.api.figures import metrics_of
from harness.workloads.inference.observed import CHAT_METRICS, REQUEST_METRICS
from harness.workloads.models.step_memory import (
    adapters_step,
    published_shape,
    serving_step,
    weights_gib,
)
from harness.workloads.training.params import GenerationParams, LoraParams, PolicyParams

_LOWER = Better.LOWER


@record
class CloneParams(PolicyParams, LoraParams, GenerationParams):
    """A trajectory, a student and a race; the defaults are article 25's."""

    trajectory: str = param(
        "own", doc="what is imitated: own, a loop that is run here, or a published trajectory"
    )
    proposer: str = param(
        "replay",
        doc="who proposes in the loop that is run here: the article's own proposals, or a draw",
        choices=("replay", "random"),
    )
    iterations: int = param(50, doc="of the loop that is run here", low=10, high=1000)
    prompt_style: str = param(
        "asked",
        doc="how a question is put: as the loop of this harness does, as article 22's did, or in "
        "a few words",
        choices=("asked", "published", "brief"),
    )
    published_rows: str = param(
        "a25/train.jsonl", doc="where the published wording is taken from: its first row"
    )
    prompt_versions: tuple[str, ...] = param(
        ("published", "corrected"),
        doc="which configuration questions show; a student is trained on each",
        choices=("published", "corrected"),
    )
    num_eval_examples: int = param(8, doc="last rows that are held out", low=1)
    model: str = override(
        PolicyParams,
        "model",
        "made",
        doc="the student: made, of a million parameters, that knows the form of an answer and no "
        "more; small, the file agent's policy; or a published model as organisation/name@revision",
    )
    format_pretrain_steps: int = param(
        300, doc="training steps in which a made student learns the form", low=1
    )
    learning_rate: float = param(
        3e-4, doc="AdamW, peak of a cosine after a tenth of warm-up", low=0.0
    )
    weight_decay: float = param(0.01, doc="AdamW", low=0.0)
    num_train_epochs: int = param(5, doc="passes over the training rows", low=1)
    per_device_train_batch_size: int = param(
        2, doc="rows whose tokens are averaged together", low=1
    )
    gradient_accumulation_steps: int = param(4, doc="of those, an optimizer step", low=1)
    max_length: int = param(2048, doc="a longer row loses its end", unit="token", low=32)
    num_samples: int = param(5, doc="answers to each held-out question", low=1)
    temperature: float = override(GenerationParams, "temperature", 0.5, doc="of the answers")
    max_new_tokens: int = override(GenerationParams, "max_new_tokens", 200, doc="of an answer")
    teacher_base_url: str = param(
        "",
        doc="where the teacher is served, to be asked again; empty: by the run, or it is not asked",
    )
    teacher_model: str = param(
        "meta/llama-3.1-8b-instruct",
        doc="its name there; the published model as organisation/name@revision where the run "
        "serves it",
    )

    @property
    def serves_teacher(self) -> bool:
        """Whether the run serves the teacher itself, before it loads the student."""
        return not self.teacher_base_url and "@" in self.teacher_model


TEACHER_CACHE_GIB = 1  # 4096 tokens of Llama 3.1 8B take 0.5


def memory_of(params: CloneParams) -> tuple[StepMemory, ...]:
    """Return what a served teacher takes, and then a student that is trained beside its server."""
    found = []
    if params.serves_teacher and (teacher := published_shape(params.teacher_model)):
        found.append(serving_step("teacher", weights_gib(teacher, "bfloat16"), TEACHER_CACHE_GIB))
    shape = published_shape(params.model)
    if shape is None:
        return tuple(found)
    step = adapters_step(
        "students",
        shape,
        params,
        tokens=params.per_device_train_batch_size * params.max_length,
        trained_tokens=params.per_device_train_batch_size * params.max_new_tokens,
        replies=(params.max_length, 1),
    )
    return (*found, step)


CLONE = Workload(
    name="distill.clone",
    doc="train a student on a proposer's answers, and compare it with trivial baselines",
    params=CloneParams,
    entry="harness.experiments.a25.run:run",
    requires=("torch", "transformers", "peft"),
    memory=memory_of,
    services=(
        ServiceParams(
            role="teacher",
            address="teacher_base_url",
            model="teacher_model",
            is_asked=lambda params: bool(params.teacher_base_url),
        ),
    ),
    metrics=(
        *metrics_of(CORPUS, CONSTRUCTED, BASELINES, RACE),
        *REQUEST_METRICS,
        *CHAT_METRICS,
        Metric(
            name="eval.majority_exact_match",
            unit="1",
            doc="questions whose most frequent answer is exact; where: prompt_version, variant",
            better=Better.HIGHER,
        ),
        Metric(name="clone.parameters", unit="parameter", doc="of the adapter"),
        Metric(name="clone.steps", unit="step", doc="optimizer steps of one student"),
        Metric(name="clone.question_tokens", unit="token", doc="where: statistic"),
        Metric(name="clone.answer_tokens", unit="token", doc="trained in a row; where: statistic"),
        Metric(name="clone.num_truncated", unit="count", doc="rows that lost their end"),
        Metric(
            name="clone.loss",
            unit="nat",
            doc="of a step, a trained token; where: prompt_version, step",
            better=_LOWER,
        ),
        Metric(
            name="clone.held_out_loss",
            unit="nat",
            doc="of the held-out answers, a token; where: prompt_version, epoch",
            better=_LOWER,
        ),
        Metric(
            name="clone.learning_rate",
            unit="1",
            doc="as the optimizer held it; where: prompt_version, end",
        ),
        Metric(
            name="clone.held_out_trained",
            unit="count",
            doc="held-out rows that were trained on too; where: prompt_version",
        ),
        Metric(
            name="clone.time",
            unit="s",
            doc="all steps of one student; where: prompt_version",
            better=_LOWER,
            timing=True,
        ),
        Metric(name="clone.engine", unit="text", doc="what served the student"),
        Metric(name="clone.making", unit="s", doc="of a student that is made", timing=True),
        Metric(name="loop.time", unit="s", doc="the loop that was run here", timing=True),
    ),
)

WORKLOADS = (CLONE,)
