"""Parameters and metrics of distilling a proposer. Loads no torch."""

from __future__ import annotations

from harness.experiments.a25.figures import BASELINES, CONSTRUCTED, CORPUS, RACE
from harness.records import record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.api.figures import metrics_of

_LOWER = Better.LOWER


@record
class CloneParams:
    """A trajectory, a student and a comparison; the defaults are article 25's."""

    trajectory: str = param(
        "own", doc="what to imitate: own, a loop that is run here, or a published trajectory"
    )
    teacher: str = param(
        "replay",
        doc="proposer of the loop that is run here: the article's proposals, or a random one",
        choices=("replay", "random"),
    )
    iterations: int = param(50, doc="iterations of the loop that is run here", low=10, high=1000)
    wording: str = param(
        "asked",
        doc="how a question is put: as the loop of this harness does, as article 22's did, or in "
        "a few words",
        choices=("asked", "published", "brief"),
    )
    published_rows: str = param(
        "a25/train.jsonl", doc="source of the published prompt: its first row"
    )
    constructions: tuple[str, ...] = param(
        ("published", "corrected"),
        doc="which configuration questions show; a student is trained on each",
        choices=("published", "corrected"),
    )
    held_out: int = param(8, doc="number of last rows that are held out", low=1)
    policy: str = param(
        "made",
        doc="the student: made, of a million parameters, that knows the form of an answer and no "
        "more; small, the file agent's policy; or a published model as organisation/name@revision",
    )
    form_steps: int = param(300, doc="steps in which a made student learns the form", low=1)
    engine: str = param(
        "auto", doc="engine that serves the student", choices=("auto", "vllm", "transformers")
    )
    dtype: str = param(
        "float32", doc="dtype of the student's weights", choices=("float32", "bfloat16")
    )
    checkpointing: bool = param(False, doc="recompute activations in the backward pass")
    num_threads: int = param(1, doc="torch threads of the trainer on the CPU", low=1)
    gpu_memory_share: float = param(
        0.35, doc="share of the GPU's memory for the server", low=0.05, high=0.95
    )
    lora_rank: int = param(16, doc="LoRA rank, on all seven matrices of a layer", low=1)
    lora_alpha: int = param(32, doc="LoRA alpha: the adapter is scaled by alpha / rank", low=1)
    lora_dropout: float = param(0.05, doc="LoRA dropout", low=0.0, high=0.9)
    rate: float = param(3e-4, doc="AdamW, peak of a cosine after 10 % warm-up", low=0.0)
    weight_decay: float = param(0.01, doc="AdamW", low=0.0)
    epochs: int = param(5, doc="passes over the training rows", low=1)
    micro_batch: int = param(2, doc="rows per micro-batch; their tokens are averaged", low=1)
    accumulated: int = param(4, doc="micro-batches per step", low=1)
    max_tokens: int = param(2048, doc="longer rows are truncated", unit="token", low=32)
    samples: int = param(5, doc="answers to each held-out question", low=1)
    temperature: float = param(0.5, doc="sampling temperature", low=0.0, high=2.0)
    top_p: float = param(1.0, doc="nucleus sampling", low=0.01, high=1.0)
    top_likeliest: int = param(0, doc="top-k sampling; 0 disables", low=0)
    reply_tokens: int = param(200, doc="longest answer", unit="token", low=8)
    teacher_url: str = param(
        "", doc="address of the teacher's server; empty: leave the teacher out"
    )
    teacher_model: str = param(
        "meta/llama-3.1-8b-instruct", doc="the teacher's model name on that server"
    )


CLONE = Workload(
    name="distill.clone",
    doc="train a student on a proposer's answers, and compare it with constant answers",
    params=CloneParams,
    entry="harness.experiments.a25.run:run",
    requires=("torch", "transformers", "peft"),
    metrics=(
        *metrics_of(CORPUS, CONSTRUCTED, BASELINES, RACE),
        Metric(
            name="race.modal_exact",
            unit="1",
            doc="questions whose most frequent answer is exact; where: construction, racer",
            better=Better.HIGHER,
        ),
        Metric(
            name="clone.parameters", unit="parameter", doc="trainable parameters of the adapter"
        ),
        Metric(name="clone.steps", unit="step", doc="optimizer steps of one student"),
        Metric(
            name="clone.question_tokens",
            unit="token",
            doc="prompt tokens per row; where: statistic",
        ),
        Metric(
            name="clone.answer_tokens", unit="token", doc="trained tokens per row; where: statistic"
        ),
        Metric(name="clone.cut", unit="count", doc="truncated rows"),
        Metric(
            name="clone.loss",
            unit="nat",
            doc="training loss per trained token; where: construction, step",
            better=_LOWER,
        ),
        Metric(
            name="clone.held_out_loss",
            unit="nat",
            doc="held-out loss per answer token; where: construction, epoch",
            better=_LOWER,
        ),
        Metric(
            name="clone.wall",
            unit="s",
            doc="time of all steps of one student; where: construction",
            better=_LOWER,
            timing=True,
        ),
        Metric(name="clone.engine", unit="text", doc="engine that served the student"),
        Metric(name="clone.making", unit="s", doc="time to make the small student", timing=True),
        Metric(name="loop.wall", unit="s", doc="time of the loop that was run here", timing=True),
    ),
)

WORKLOADS = (CLONE,)
