"""Workload ``distill.clone``: article 25, from a trajectory to scores.

How it departs from the article: the loop that is imitated may be one of this harness, each question
is answered several times with seeds, and everything that sampling needs is said on both sides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import torch

from harness.experiments.a25.baselines import truth
from harness.experiments.a25.corpus import (
    AsAsked,
    Asking,
    Brief,
    Construction,
    Question,
    Row,
    Split,
    rows,
    split,
)
from harness.experiments.a25.evidence import asking_of
from harness.experiments.a25.figures import BASELINES, CONSTRUCTED, CORPUS, RACE, Constructed, Raced
from harness.experiments.a25.params import CloneParams
from harness.experiments.a25.race import Answer, Heat, read_pick
from harness.experiments.a25.student import make_student
from harness.records import Scalar
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.autoresearch.as_trials import Memory
from harness.workloads.autoresearch.guardrails import Rules
from harness.workloads.autoresearch.loop import TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import complete
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.prompt import Form
from harness.workloads.autoresearch.search_space import ARTICLE, SMALL, Space
from harness.workloads.autoresearch.trajectory import Trajectory, read_trajectory
from harness.workloads.envs.files.agent import seed_of
from harness.workloads.envs.files.protocol import Message, Role
from harness.workloads.inference.chat import Endpoint, chat
from harness.workloads.inference.chat import Sampling as ChatSampling
from harness.workloads.inference.chat_template import Dialogue, load_dialogue
from harness.workloads.inference.choice import EngineKind, Serve, serving_engine
from harness.workloads.inference.engine import Engine, Sampling
from harness.workloads.inference.vllm import Dtype as ServedDtype
from harness.workloads.models.lora import LoraPolicy
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.example import Example, masked
from harness.workloads.training.schedule import Decay
from harness.workloads.training.settings import (
    Compute,
    Dtype,
    LoraSettings,
    Product,
    SupervisedSettings,
)
from harness.workloads.training.sft import fit, mean_loss, supervise

OWN = "own"
MADE, SMALL_POLICY = "made", "small"
UNTUNED, DISTILLED, TEACHER = "untuned", "distilled", "teacher"
_HISTORY = 5  # trials that a question shows


@dataclass(frozen=True, kw_only=True)
class Race:
    """Common state of the models of a run.

    Attributes:
        space: whose changes count.
        parts: the rows, by construction.
    """

    context: Context
    params: CloneParams
    space: Space
    parts: dict[Construction, Split]
    dialogue: Dialogue
    engine: Engine
    policy: LoraPolicy


def run(context: Context) -> None:
    """Make the corpus, train a student on each construction, and evaluate all."""
    params: CloneParams = context.params
    context.emit.started(device_name())
    torch.set_num_threads(params.num_threads)
    trajectory, space = _trajectory(context)
    made = _corpora(context, trajectory, space)
    with _opened(context, space, made) as race:
        for construction, parts in race.parts.items():
            BASELINES.report(context.emit, Constructed(construction=construction, parts=parts))
        _untuned(race)
        start = race.policy.weights()
        for construction in race.parts:
            race.policy.put(start)
            _distil(race, construction)
        _teacher(race)


# --- the corpus -----------------------------------------------------------------------------------


def _trajectory(context: Context) -> tuple[Trajectory, Space]:
    """Return the trajectory to imitate, and its search space."""
    params: CloneParams = context.params
    if params.trajectory != OWN:
        return read_trajectory(context.evidence(params.trajectory)), ARTICLE
    folder, began = context.out / "loop", time.monotonic()
    folder.mkdir()
    complete(Session(params=loop_of(params), seed=context.spec.seed), folder)
    context.emit.measured("loop.wall", time.monotonic() - began)
    context.emit.artefact("trajectory", folder / TRAJECTORY_FILE)
    return read_trajectory(folder / TRAJECTORY_FILE), SMALL


def loop_of(params: CloneParams) -> LoopParams:
    """Return the loop that is run here: half-second pretrains on the CPU, the published rails."""
    return LoopParams(
        proposer=params.teacher,
        rules=Rules.PUBLISHED.value,
        space=SMALL.name,
        memory=Memory.WINDOW.value,
        iterations=params.iterations,
        history=_HISTORY,
        noise_draws=2,
        device="cpu",
        dropout=0.0,
        memory_gib=1.0,
        timeout_s=600.0,
    )


def _corpora(context: Context, trajectory: Trajectory, space: Space) -> dict[Construction, Split]:
    params: CloneParams = context.params
    asking = _asking(context, space)
    asked = list(rows(trajectory, asking, Construction.CORRECTED))
    parts = {
        each: split(list(rows(trajectory, asking, each)), params.held_out)
        for each in map(Construction, params.constructions)
    }
    for construction, own in parts.items():
        made = Constructed(construction=construction, parts=own, asked=asked)
        CONSTRUCTED.report(context.emit, made)
    CORPUS.report(context.emit, next(iter(parts.values())))
    return parts


def _asking(context: Context, space: Space) -> Asking:
    params: CloneParams = context.params
    if params.wording == "published":
        return asking_of(context.evidence(params.published_rows).read_text(encoding="utf-8"))
    if params.wording == "brief":
        return Brief(history=_HISTORY)
    rules, memory = Rules.PUBLISHED, Memory.WINDOW
    return AsAsked(form=Form(space=space, rules=rules, memory=memory, history=_HISTORY))


# --- the student ----------------------------------------------------------------------------------


@contextmanager
def _opened(context: Context, space: Space, parts: dict[Construction, Split]) -> Iterator[Race]:
    params: CloneParams = context.params
    folder, small = _student_folder(context, space), params.policy in (MADE, SMALL_POLICY)
    dialogue = load_dialogue(folder)
    lora = LoraSettings(
        rank=params.lora_rank,
        alpha=params.lora_alpha,
        dropout=params.lora_dropout,
        seed=context.spec.seed,
    )
    compute = Compute(
        dtype=Dtype(params.dtype),
        gradient_checkpointing=params.checkpointing,
        product=Product.FOLDED if small else Product.BRANCH,
    )
    policy = LoraPolicy.open(folder, lora, compute)
    served = _served(context, folder)
    with serving_engine(served, dialogue.end, context.out / "server.log") as engine:
        context.emit.measured("clone.engine", engine.identity)
        context.emit.measured("clone.parameters", policy.num_trainable)
        yield Race(
            context=context,
            params=params,
            space=space,
            parts=parts,
            dialogue=dialogue,
            engine=engine,
            policy=policy,
        )


def _student_folder(context: Context, space: Space) -> Path:
    params: CloneParams = context.params
    if params.policy == SMALL_POLICY:
        return tiny_model("files")
    if params.policy != MADE:
        return context.model(params.policy)
    folder, began = context.out / "student", time.monotonic()
    make_student(folder, space, context.spec.seed, params.form_steps)
    context.emit.measured("clone.making", time.monotonic() - began)
    return folder


def _served(context: Context, folder: Path) -> Serve:
    params: CloneParams = context.params
    return Serve(
        kind=EngineKind(params.engine),
        model_dir=folder,
        name="student",
        dtype=ServedDtype(params.dtype),
        context_tokens=params.max_tokens,
        at_once=1,
        seed=context.spec.seed,
        gpu_memory_share=params.gpu_memory_share,
        lora_rank=params.lora_rank,
    )


def _untuned(race: Race) -> None:
    """Evaluate the student before training."""
    construction = next(iter(race.parts))
    race.engine.refresh(None)
    _race(race, construction, UNTUNED, _student(race, UNTUNED))


def _distil(race: Race, construction: Construction) -> None:
    """Train the student on one construction, and evaluate it."""
    parts, params = race.parts[construction], race.params
    emit = race.context.emit
    where: dict[str, Scalar] = {"construction": construction.value}
    fitted = fit([example(race.dialogue, row) for row in parts.train], params.max_tokens)
    held_out = fit([example(race.dialogue, row) for row in parts.test], params.max_tokens)
    if construction is next(iter(race.parts)):
        _report_tokens(race, fitted.examples, fitted.truncated)

    def measure(epoch: int) -> bool:
        loss = mean_loss(race.policy, held_out.examples)
        emit.measured("clone.held_out_loss", loss, where={**where, "epoch": epoch})
        return False

    measure(0)
    steps = list(
        supervise(race.policy, fitted, settings_of(params, race.context.spec.seed), measure)
    )
    for step in steps:
        at = {**where, "step": step.step}
        emit.measured("clone.loss", step.loss, where=at, count=step.tokens)
    if construction is next(iter(race.parts)):
        emit.measured("clone.steps", len(steps))
    emit.measured("clone.wall", math.fsum(step.step_s for step in steps), where=where)
    adapter = race.context.out / "adapters" / construction.value
    race.policy.save(adapter)
    race.engine.refresh(adapter)
    _race(race, construction, DISTILLED, _student(race, DISTILLED))


def settings_of(params: CloneParams, seed: int) -> SupervisedSettings:
    """Return how the student learns."""
    return SupervisedSettings(
        learning_rate=params.rate,
        weight_decay=params.weight_decay,
        epochs=params.epochs,
        micro_batch=params.micro_batch,
        accumulated=params.accumulated,
        decay=Decay.COSINE,
        seed=seed,
    )


def example(dialogue: Dialogue, row: Row) -> Example:
    """Return a row as tokens, of which the answer's are trained."""
    asked, said = dialogue.opening(messages_of(row.question)), dialogue.said(row.answer)
    return masked((*asked, *said), [False] * len(asked) + [True] * len(said))


def messages_of(question: Question) -> list[Message]:
    """Return a question as messages; without a system's part where it is empty."""
    asked = [Message(role=Role.USER, content=question.user)]
    if not question.system:
        return asked
    return [Message(role=Role.SYSTEM, content=question.system), *asked]


def _report_tokens(race: Race, examples: Sequence[Example], truncated: int) -> None:
    emit = race.context.emit
    answers = [len(each.trained) for each in examples]
    questions = [len(each.tokens) - len(each.trained) for each in examples]
    for metric, counts in (("clone.question_tokens", questions), ("clone.answer_tokens", answers)):
        for statistic, count in (
            ("least", min(counts)),
            ("median", median(counts)),
            ("most", max(counts)),
        ):
            emit.measured(metric, count, where={"statistic": statistic})
    emit.measured("clone.cut", truncated)


# --- the race -------------------------------------------------------------------------------------

Say = Callable[[Row, int], str]  # a model: a row's question, and the number of the answer


def _race(race: Race, construction: Construction, racer: str, say: Say) -> None:
    """Let a model answer every question, and report it; a first warm-up answer is not counted."""
    parts, samples = race.parts[construction], range(race.params.samples)
    say(parts.test[0], -1)
    heats = [
        Heat(
            iteration=row.iteration,
            truth=truth(row),
            answers=tuple(_timed(race, say, row, sample) for sample in samples),
        )
        for row in parts.test
    ]
    emit = race.context.emit
    raced = Raced(construction=construction, racer=racer, heats=heats, parts=parts)
    RACE.report(emit, raced)
    share = fmean(heat.modal == heat.truth for heat in heats)
    emit.measured("race.modal_exact", share, where=raced.where, count=len(heats))


def _timed(race: Race, say: Say, row: Row, sample: int) -> Answer:
    began = time.perf_counter()
    text = say(row, sample)
    took_s = time.perf_counter() - began
    return Answer(pick=read_pick(text, race.space), latency_s=took_s)


def _student(race: Race, racer: str) -> Say:
    """Return the served model as one of the compared models."""
    params = race.params

    def say(row: Row, sample: int) -> str:
        sampling = Sampling(
            temperature=params.temperature,
            max_tokens=params.reply_tokens,
            seed=seed_of(race.context.spec.seed, racer, row.iteration, sample),
            top_p=params.top_p,
            top_k=params.top_likeliest,
        )
        prompt = race.dialogue.opening(messages_of(row.question))
        return race.dialogue.text(race.engine.reply(prompt, sampling))

    return say


def _teacher(race: Race) -> None:
    """Ask the teacher the same questions again, where somebody serves it."""
    params, context = race.params, race.context
    if not params.teacher_url:
        context.emit.note("the teacher has no server: it is not compared with its own answers")
        return
    endpoint = Endpoint(base_url=params.teacher_url, model=params.teacher_model)

    def say(row: Row, sample: int) -> str:
        sampling = ChatSampling(
            temperature=params.temperature,
            max_tokens=params.reply_tokens,
            seed=seed_of(context.spec.seed, TEACHER, row.iteration, sample),
            top_p=params.top_p,
        )
        return chat(endpoint, messages_of(row.question), sampling)

    _race(race, next(iter(race.parts)), TEACHER, say)
