"""Workload ``distill.clone``: article 25, from a trajectory to a race.

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
    Asking,
    BriefQuestion,
    IterationExample,
    LoopQuestion,
    PromptVersion,
    ProposalQuestion,
    TrainTestSplit,
    rows,
    split,
)
from harness.experiments.a25.evidence import asking_of
from harness.experiments.a25.figures import BASELINES, CONSTRUCTED, CORPUS, RACE, Constructed, Raced
from harness.experiments.a25.params import TEACHER_CACHE_GIB, CloneParams
from harness.experiments.a25.race import Prediction, RepeatedPredictions, read_pick
from harness.experiments.a25.student import make_student
from harness.records import Scalar
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name
from harness.workloads.api.passes import passes, uncut
from harness.workloads.autoresearch.as_trials import ProposerContext
from harness.workloads.autoresearch.guardrails import Guardrails
from harness.workloads.autoresearch.loop import TRAJECTORY_FILE, Session
from harness.workloads.autoresearch.loop_process import complete
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.prompt import PromptWriter
from harness.workloads.autoresearch.search_space import ARTICLE, SMALL, Space
from harness.workloads.autoresearch.trajectory import Trajectory, read_trajectory
from harness.workloads.inference.chat import ChatSamplingParams, Endpoint, chat
from harness.workloads.inference.chat_template import ChatTemplate, Message, Role
from harness.workloads.inference.observed import REQUESTS, report_requests
from harness.workloads.inference.opened_chat import opened_chat
from harness.workloads.models.example import Example, masked
from harness.workloads.rl.runner import seed_of
from harness.workloads.tiny_models.checkpoint import tiny_model
from harness.workloads.training.params import SMALL as SMALL_POLICY
from harness.workloads.training.policy import (
    ServedPolicy,
    open_policy,
    sampling_params,
)
from harness.workloads.training.schedule import Decay
from harness.workloads.training.sft import fit, mean_loss, supervise
from harness.workloads.training.sft_settings import SupervisedSettings

OWN = "own"
MADE = "made"
UNTUNED, DISTILLED, TEACHER = "untuned", "distilled", "teacher"
_HISTORY = 5  # trials that a question shows


@dataclass(frozen=True, kw_only=True)
class Course:
    """What every racer of a run shares.

    Attributes:
        space: whose changes count.
        parts: the rows, by construction.
    """

    context: Context
    params: CloneParams
    space: Space
    parts: dict[PromptVersion, TrainTestSplit]


@dataclass(frozen=True, kw_only=True)
class CloneResources(Course):
    """The same, and the student."""

    served: ServedPolicy


def run(context: Context) -> None:
    """Make the corpus, train a student on each construction, and race all."""
    params: CloneParams = context.params
    context.emit.started(device_name())
    torch.set_num_threads(params.num_threads)
    trajectory, space = _trajectory(context)
    made = _corpora(context, trajectory, space)
    # before the student is loaded, so that both never need memory at once
    _teacher(Course(context=context, params=params, space=space, parts=made))
    with _opened(context, space, made) as race:
        for prompt_version, parts in race.parts.items():
            BASELINES.report(context.emit, Constructed(prompt_version=prompt_version, parts=parts))
        race.served.answer_with(None)  # the student as it is before it has learned anything
        race.served.settle()
        _race(race, next(iter(race.parts)), UNTUNED, _student(race, UNTUNED))
        start = race.served.policy.weights()
        for prompt_version in race.parts:
            race.served.policy.put(start)
            _distil(race, prompt_version)
        report_requests(context.emit, [context.out])


# --- the corpus -----------------------------------------------------------------------------------


def _trajectory(context: Context) -> tuple[Trajectory, Space]:
    """Return what is imitated, and the menu that it chose from."""
    params: CloneParams = context.params
    if params.trajectory != OWN:
        return read_trajectory(context.evidence(params.trajectory)), ARTICLE
    folder, began = context.out / "loop", time.monotonic()
    folder.mkdir()
    with uncut():  # the student's rows are made of all of it
        complete(Session(params=loop_of(params), seed=context.spec.seed), folder)
    context.emit.measured("loop.time", time.monotonic() - began)
    context.emit.artefact("trajectory", folder / TRAJECTORY_FILE)
    return read_trajectory(folder / TRAJECTORY_FILE), SMALL


def loop_of(params: CloneParams) -> LoopParams:
    """Return the loop that is run here: half-second pretrains on the CPU, the published rails."""
    return LoopParams(
        proposer=params.proposer,
        guardrails=Guardrails.PUBLISHED.value,
        search_space=SMALL.name,
        proposer_context=ProposerContext.WINDOW.value,
        iterations=params.iterations,
        history_window=_HISTORY,
        num_noise_samples=2,
        device="cpu",
        dropout=0.0,
        memory_gib=1.0,
        timeout_s=600.0,
    )


def _corpora(
    context: Context, trajectory: Trajectory, space: Space
) -> dict[PromptVersion, TrainTestSplit]:
    params: CloneParams = context.params
    asking: Asking
    if params.prompt_style == "published":
        asking = asking_of(context.evidence(params.published_rows).read_text(encoding="utf-8"))
    elif params.prompt_style == "brief":
        asking = BriefQuestion(history=_HISTORY)
    else:
        form = PromptWriter(
            search_space=space,
            guardrails=Guardrails.PUBLISHED,
            proposer_context=ProposerContext.WINDOW,
            history_window=_HISTORY,
        )
        asking = LoopQuestion(form=form)
    asked = list(rows(trajectory, asking, PromptVersion.CORRECTED))
    parts = {
        each: split(list(rows(trajectory, asking, each)), params.num_eval_examples)
        for each in map(PromptVersion, params.prompt_versions)
    }
    for prompt_version, own in parts.items():
        made = Constructed(prompt_version=prompt_version, parts=own, asked=asked)
        CONSTRUCTED.report(context.emit, made)
    CORPUS.report(context.emit, next(iter(parts.values())))
    return parts


# --- the student ----------------------------------------------------------------------------------


@contextmanager
def _opened(
    context: Context, space: Space, parts: dict[PromptVersion, TrainTestSplit]
) -> Iterator[CloneResources]:
    params: CloneParams = context.params
    folder = _student_folder(context, space)
    with open_policy(
        context, folder, "student", max_model_len=params.max_length, max_concurrency=1
    ) as served:
        served.engine.note_in(context.out / REQUESTS)
        context.emit.measured("clone.engine", served.engine.identity)
        context.emit.measured("clone.parameters", served.policy.num_trainable)
        yield CloneResources(
            context=context, params=params, space=space, parts=parts, served=served
        )


def _student_folder(context: Context, space: Space) -> Path:
    params: CloneParams = context.params
    if params.model == SMALL_POLICY:
        return tiny_model("files")
    if params.model != MADE:
        return context.model(params.model)
    folder, began = context.out / "student", time.monotonic()
    make_student(folder, space, context.spec.seed, params.format_pretrain_steps)
    context.emit.measured("clone.making", time.monotonic() - began)
    return folder


def _distil(race: CloneResources, prompt_version: PromptVersion) -> None:
    """Train the student on one construction, and race it."""
    parts, params = race.parts[prompt_version], race.params
    emit = race.context.emit
    where: dict[str, Scalar] = {"prompt_version": prompt_version.value}
    fitted = fit(
        [example(race.served.chat_template, row) for row in parts.train], params.max_length
    )
    held_out = fit(
        [example(race.served.chat_template, row) for row in parts.test], params.max_length
    )
    if prompt_version is next(iter(race.parts)):
        _report_tokens(race, fitted.examples, fitted.truncated)

    def measure(epoch: int) -> bool:
        loss = mean_loss(race.served.policy, held_out.examples)
        emit.measured("clone.held_out_loss", loss, where={**where, "epoch": epoch})
        return False

    measure(0)
    steps = list(
        supervise(race.served.policy, fitted, settings_of(params, race.context.spec.seed), measure)
    )
    for step in steps:
        at = {**where, "step": step.step}
        emit.measured("clone.loss", step.loss, where=at, count=step.tokens)
    rates = [step.learning_rate for step in steps]
    for end, rate in (("lowest", min(rates)), ("highest", max(rates))):
        emit.measured("clone.learning_rate", rate, where={**where, "end": end})
    seen = {row.tokens for row in fitted.examples}
    trained = sum(row.tokens in seen for row in held_out.examples)
    emit.measured("clone.held_out_trained", trained, where=where)
    if prompt_version is next(iter(race.parts)):
        emit.measured("clone.steps", len(steps))
    emit.measured("clone.time", math.fsum(step.step_s for step in steps), where=where)
    race.served.sync_weights(prompt_version.value)
    _race(race, prompt_version, DISTILLED, _student(race, DISTILLED))


def settings_of(params: CloneParams, seed: int) -> SupervisedSettings:
    """Return how the student learns."""
    return SupervisedSettings(
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        num_train_epochs=params.num_train_epochs,
        per_device_train_batch_size=params.per_device_train_batch_size,
        gradient_accumulation_steps=params.gradient_accumulation_steps,
        decay=Decay.COSINE,
        seed=seed,
    )


def example(chat_template: ChatTemplate, row: IterationExample) -> Example:
    """Return a row as tokens, of which the answer's are trained."""
    asked, said = chat_template.opening(messages_of(row.question)), chat_template.said(row.answer)
    return masked((*asked, *said), [False] * len(asked) + [True] * len(said))


def messages_of(question: ProposalQuestion) -> list[Message]:
    """Return a question as messages; without a system's part where it is empty."""
    asked = [Message(role=Role.USER, content=question.user)]
    if not question.system:
        return asked
    return [Message(role=Role.SYSTEM, content=question.system), *asked]


def _report_tokens(race: CloneResources, examples: Sequence[Example], truncated: int) -> None:
    emit = race.context.emit
    answers = [len(each.trained) for each in examples]
    questions = [len(each.tokens) - len(each.trained) for each in examples]
    for metric, counts in (("clone.question_tokens", questions), ("clone.answer_tokens", answers)):
        for statistic, count in (
            ("min", min(counts)),
            ("median", median(counts)),
            ("max", max(counts)),
        ):
            emit.measured(metric, count, where={"statistic": statistic})
    emit.measured("clone.num_truncated", truncated)


# --- the race -------------------------------------------------------------------------------------

Say = Callable[
    [IterationExample, int], str
]  # a racer: a row's question, and which answer to it is wanted


def _race(race: Course, prompt_version: PromptVersion, racer: str, say: Say) -> None:
    """Let a racer answer every question, and report it; one answer before that is not counted."""
    parts = race.parts[prompt_version]
    say(parts.test[0], -1)
    heats = []
    of, asked = len(parts.test), passes(parts.test, f"ask {racer}")
    for row in progress.tracked(asked, f"ask {racer}", of, unit="question"):
        predictions = []
        for sample in range(race.params.num_samples):
            began = time.perf_counter()
            text = say(row, sample)
            took_s = time.perf_counter() - began
            change = read_pick(text, race.space)
            predictions.append(Prediction(change=change, latency_s=took_s))
        heats.append(
            RepeatedPredictions(
                iteration=row.iteration, truth=truth(row), predictions=tuple(predictions)
            )
        )
    emit = race.context.emit
    raced = Raced(prompt_version=prompt_version, racer=racer, heats=heats, parts=parts)
    RACE.report(emit, raced)
    share = fmean(heat.modal == heat.truth for heat in heats)
    emit.measured("eval.majority_exact_match", share, where=raced.where, count=len(heats))


def _student(race: CloneResources, racer: str) -> Say:
    """Return a function that asks the model that the engine serves."""
    chat_template, engine = race.served.chat_template, race.served.engine

    def say(row: IterationExample, sample: int) -> str:
        seed = seed_of(race.context.spec.seed, racer, row.iteration, sample)
        prompt = chat_template.opening(messages_of(row.question))
        return chat_template.text(engine.reply(prompt, sampling_params(race.params, seed)))

    return say


def _teacher(race: Course) -> None:
    """Ask the teacher the same questions again, where there is one.

    Raises:
        HostError: no server answers; or its model, or what serves it, is not here.
        EngineError: the run's own server does not start.
    """
    params, context = race.params, race.context
    if not (params.teacher_base_url or params.serves_teacher):
        context.emit.note("no server for the teacher is given: it is not asked again")
        return
    at = Endpoint(base_url=params.teacher_base_url, model=params.teacher_model)
    size = {"max_model_len": 2 * params.max_length, "kv_cache_gib": TEACHER_CACHE_GIB}
    with opened_chat(context, TEACHER, at, **size) as endpoint:
        _race(race, next(iter(race.parts)), TEACHER, _asked(race, endpoint))


def _asked(race: Course, endpoint: Endpoint) -> Say:
    """Return a function that asks a model in chats."""
    params, context = race.params, race.context

    def say(row: IterationExample, sample: int) -> str:
        sampling = ChatSamplingParams(
            temperature=params.temperature,
            max_new_tokens=params.max_new_tokens,
            seed=seed_of(context.spec.seed, TEACHER, row.iteration, sample),
            top_p=params.top_p,
        )
        return chat(endpoint, messages_of(row.question), sampling)

    return say
