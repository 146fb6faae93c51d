"""Train a base on one language, and continue on another.

Every arm continues the same weights for the same number of steps with a fresh optimizer, as one
does from a published checkpoint, and the learning rate is warmed up and decayed again. An arm with
replay reads fewer new texts, not more in all (Ibrahim et al. 2024, arXiv 2403.08763). One arm
trains adapters instead of all weights (Biderman et al. 2024, arXiv 2405.09673).

How it departs from the article: that plans an 8B model and a corpus that it does not name; here
both languages are generated, so that their entropy is known and every machine has them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.experiments.cpt.params import BridgeParams, ReplayParams
from harness.reading import read_json
from harness.records import Scalar, record, to_json
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.device import device_name, torch_device
from harness.workloads.api.passes import part, passes
from harness.workloads.api.steps import Step
from harness.workloads.data.languages import Language, entropy_nats, language, relative
from harness.workloads.data.mixture import ReplayMixture
from harness.workloads.data.windows import content_of
from harness.workloads.models.frameworks import hand_written
from harness.workloads.models.gpt import Gpt
from harness.workloads.models.gpt_lora import adapt
from harness.workloads.models.memory import GIB
from harness.workloads.models.precision import arithmetic
from harness.workloads.training.loop import AdamW, Batch, TrainingRun, cross_entropy
from harness.workloads.training.memory_tracker import peak_counter

OLD, NEW = "old", "new"  # domains
BASE = "base"  # the name of its training
ALL, ADAPTERS = "all", "adapters"  # ways
_MODEL, _LOSSES = "model.pt", "losses.json"  # of a step's files
_COUNTED_STEPS = 2  # from the second on, a step holds what every later one holds


@record
class ReplayVariant:
    """One way to go on.

    Attributes:
        variant: what is trained: all weights, or adapters beside them.
        replay_ratio: the share of old texts.
    """

    variant: str
    replay_ratio: float

    @property
    def row(self) -> dict[str, Scalar]:
        """The row keys of its figures."""
        return {"variant": self.variant, "replay_ratio": self.replay_ratio}

    @property
    def name(self) -> str:
        """The name of its training."""
        return f"{self.variant}-replay-{self.replay_ratio:g}"


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """Texts (N, S + 1) of both languages, on the CPU, whatever the model's device."""

    old: Tensor
    new: Tensor
    held_out: dict[str, Tensor]


@record
class Trained:
    """The result of one training.

    Attributes:
        measured: number of steps -> losses after so many.
        losses: of each step, before it, nats a word.
        num_steps: how many steps this process took; fewer than all where it began at a checkpoint.
        wall_s: what these took, measurements included, seconds.
    """

    measured: Mapping[int, Mapping[str, float]]
    losses: tuple[float, ...]
    num_steps: int
    wall_s: float


Measure = Callable[[], Mapping[str, float]]
# name of the training, what decides its steps, how many, number of steps -> what to measure then
Train = Callable[[str, TrainingRun, int, Mapping[int, Measure]], Trained]


def run(context: Context) -> None:
    """Run `continued.replay`."""
    Experiment(context, train).run()


def train(
    name: str, training: TrainingRun, num_steps: int, measure: Mapping[int, Measure]
) -> Trained:
    """Train by the harness's own loop."""
    measured, losses = {}, []
    began = time.perf_counter()
    for step in passes(training.steps(num_steps), "steps", num_steps):
        losses.append(step.loss)
        progress.tell(f"train {name}", step.index + 1, num_steps, {"loss": step.loss})
        if (measure_now := measure.get(step.index + 1)) is not None:
            with part("measure", once=True):
                measured[step.index + 1] = measure_now()
    for number in sorted(measure.keys() - measured.keys()):  # a rehearsal did not come as far
        measured[number] = measure[number]()
    wall_s = time.perf_counter() - began
    return Trained(measured=measured, losses=tuple(losses), num_steps=num_steps, wall_s=wall_s)


def arms(params: ReplayParams) -> Iterator[ReplayVariant]:
    """Yield every way to go on: all weights with each share of replay, then adapters without."""
    for share in params.replay_ratios:
        yield ReplayVariant(variant=ALL, replay_ratio=share)
    yield ReplayVariant(variant=ADAPTERS, replay_ratio=0.0)


def sampled_texts(params: ReplayParams, seed: int) -> Corpora:
    """Return two languages' texts; each seed has languages of its own."""
    generator = torch.Generator().manual_seed(seed)
    old = language(params.vocab_size, params.branching_factor, generator)
    new = relative(old, params.overlap, generator)

    def texts(of: Language, count: int) -> Tensor:
        return of.texts(count, params.seq_len, generator)

    return Corpora(
        old=texts(old, params.base_steps * params.batch_size),
        new=texts(new, params.max_steps * params.batch_size),
        held_out={
            OLD: texts(old, params.num_eval_examples),
            NEW: texts(new, params.num_eval_examples),
        },
    )


def adamw_of(params: ReplayParams, num_steps: int, learning_rate: float) -> AdamW:
    """Return how the base, or a continuation of it, is trained."""
    return AdamW(
        learning_rate=learning_rate,
        num_warmup=max(1, round(params.warmup_ratio * num_steps)),
        num_steps=num_steps,
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
    )


class Replayed:
    """Batches on their way to the model, counted: which of their texts are of the old corpus.

    Args:
        batch: makes them.
        old: the old corpus (N, S + 1).

    Attributes:
        by_step: step -> how many texts of its batch are old ones.
        texts: how many were fed.
        seen: every text that was fed.
    """

    def __init__(self, batch: Callable[[int], Batch], old: Tensor) -> None:
        self._batch = batch
        self._old = {content_of(text) for text in old[:, :-1]}
        self.by_step: dict[int, int] = {}
        self.texts = 0
        self.seen: set[bytes] = set()

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step."""
        batch = self._batch(step)
        fed = [content_of(text) for text in batch[0].cpu()]
        self.by_step[step] = sum(text in self._old for text in fed)
        self.texts += len(fed)
        self.seen.update(fed)
        return batch


class Experiment:
    """One run: a base, and every way to go on from it.

    Args:
        context: of the run.
        train: runs one training.
        code: the module that does.
    """

    def __init__(self, context: Context, train: Train, code: str = __name__) -> None:
        self.params: ReplayParams = context.params
        self.train = train
        self.context, self.code = context, code
        self.emit, self.seed = context.emit, context.spec.seed
        self.device = torch_device(self.params.device, self.params.num_threads)
        self.corpora = sampled_texts(self.params, self.seed)
        self.arithmetic = arithmetic(self.params.conditions.precision, self.device)

    def run(self) -> None:
        """Train the base, continue it in every way, and measure both languages before and after.

        Each training is a step of the run; those of the arms begin with the base's weights.
        """
        emit = self.emit
        emit.started(device_name(self.device.type), torch=torch.__version__)
        with self._step(BASE, {}) as made:
            if made.is_new:
                trained = self.base()
                torch.save(trained.state_dict(), made.folder / _MODEL)
                _write_losses(made, self.losses(trained))
        before = _read_losses(made)
        for domain, loss in before.items():
            emit.measured("base.loss", loss, where={"domain": domain})
        for arm in arms(self.params):
            with self._step(arm.name, {"base": made.digest(_MODEL)}) as step:
                if step.is_new:
                    base = self.untrained()
                    base.load_state_dict(torch.load(made.folder / _MODEL, weights_only=True))
                    _write_losses(step, self.continued(base, arm))
            after = _read_losses(step)
            emit.measured("forgetting", after[OLD] - before[OLD], where=arm.row)
            emit.measured("gain", before[NEW] - after[NEW], where=arm.row)

    def _step(self, name: str, reads: Mapping[str, str]) -> AbstractContextManager[Step]:
        params = {
            key: value for key, value in to_json(self.params).items() if key != "replay_ratios"
        }
        return self.context.steps.step(
            name,
            decides={"params": params, "seed": self.seed},
            reads=reads,
            code=tuple(dict.fromkeys((__name__, self.code))),
        )

    def untrained(self) -> Gpt:
        """Return the model, with weights that are drawn."""
        params = self.params
        return hand_written(params.shape, params.conditions, self.arithmetic, device=self.device)

    def base(self) -> Gpt:
        """Return the base, trained; the first steps under the counter of live memory."""
        params, emit = self.params, self.emit
        with ExitStack() as counting:
            counter = counting.enter_context(peak_counter(self.device))
            torch.manual_seed(self.seed)
            model = self.untrained()
            training = self.training(
                model, self.in_order(), params.base_steps, params.learning_rate
            )

            def stop_counting() -> Mapping[str, float]:
                counting.close()
                return {"peak_bytes": counter.peak_bytes}

            trained = self.train(BASE, training, params.base_steps, {_COUNTED_STEPS: stop_counting})
        peak_bytes = trained.measured[_COUNTED_STEPS]["peak_bytes"]
        tokens = trained.num_steps * params.tokens_per_step
        emit.measured(
            "tokens_per_second",
            tokens / trained.wall_s if tokens else None,
            absent="" if tokens else "an earlier attempt at this run had trained the base",
        )
        emit.measured("tokens.base", params.base_steps * params.tokens_per_step)
        emit.measured("parameters", _count(model))
        emit.measured("memory.peak_allocated", peak_bytes / GIB)
        emit.measured("memory.counter", counter.name)
        emit.measured("conditions", params.conditions.text)
        emit.measured("loss.entropy_floor", entropy_nats(params.branching_factor))
        return model

    def continued(self, base: Gpt, arm: ReplayVariant) -> Mapping[str, float]:
        """Train the base on as the arm does; return what it loses on either language."""
        params, emit = self.params, self.emit
        torch.manual_seed(self.seed)  # adapters are drawn
        model, rate = base, params.learning_rate
        if arm.variant == ADAPTERS:
            model, rate = adapt(model, params.lora_rank), params.lora_learning_rate
        mixture = ReplayMixture(share=arm.replay_ratio, batch_size=params.batch_size)
        replayed = Replayed(self._mixed(mixture), self.corpora.old)
        training = self.training(model, replayed, params.max_steps, rate)
        first, *later = curve_steps(params)
        curve = {first: self.losses(model)}
        measure = dict.fromkeys(later, lambda: self.losses(model))
        curve |= self.train(arm.name, training, params.max_steps, measure).measured
        for step, found in curve.items():
            for domain, loss in found.items():
                emit.measured(f"eval.loss_{domain}", loss, where={**arm.row, "step": step})
        last = curve[params.max_steps]
        for domain, loss in last.items():
            emit.measured("loss", loss, where={"domain": domain, **arm.row})
        absent = ""
        if len(replayed.by_step) < params.max_steps:
            absent = "an earlier attempt at this run had taken some of the steps"
        for metric, texts in (
            ("tokens.continued", replayed.texts),
            ("tokens.replayed", sum(replayed.by_step.values())),
            ("tokens.distinct", len(replayed.seen)),
        ):
            value = None if absent else texts * params.seq_len
            emit.measured(metric, value, where=arm.row, absent=absent)
        emit.measured("parameters.trained", _count(model, trained=True), where=arm.row)
        return last

    def losses(self, model: Gpt) -> Mapping[str, float]:
        """Return the mean cross-entropy of both held-out sets, nats a word."""
        model.eval()
        found = {
            domain: self._loss(model, texts) for domain, texts in self.corpora.held_out.items()
        }
        model.train()
        return found

    def _loss(self, model: Gpt, texts: Tensor) -> float:
        total = 0.0
        for some in torch.split(texts, self.params.batch_size):
            ids, targets = self._batch(some)
            with torch.no_grad(), self.arithmetic.forward_context():
                total += cross_entropy(model(ids), targets).item() * len(some)
        return total / len(texts)

    def training(
        self, model: Gpt, batch: Callable[[int], Batch], num_steps: int, rate: float
    ) -> TrainingRun:
        """Return a run over what of the model is to be trained, with a fresh optimizer."""
        adamw = adamw_of(self.params, num_steps, rate)
        return adamw.run(model, batch, self.arithmetic.forward_context)

    def in_order(self) -> Callable[[int], Batch]:
        """Return the base's batches: every old text once."""
        size, old = self.params.batch_size, self.corpora.old

        def batch(step: int) -> Batch:
            # copied, so that the counter of live memory does not take a batch for all texts
            return self._batch(old[torch.arange(step * size, (step + 1) * size)])

        return batch

    def _mixed(self, mixture: ReplayMixture) -> Callable[[int], Batch]:
        """Return a continuation's batches: new texts in order, and old ones, seen before."""
        old, new = self.corpora.old, self.corpora.new
        order = torch.randperm(len(old), generator=torch.Generator().manual_seed(self.seed))

        def batch(step: int) -> Batch:
            replayed = torch.arange(
                mixture.replayed_before(step), mixture.replayed_before(step + 1)
            )
            fresh = new[mixture.new_before(step) : mixture.new_before(step + 1)]
            return self._batch(torch.cat((old[order[replayed % len(old)]], fresh)))

        return batch

    def _batch(self, texts: Tensor) -> Batch:
        """Return the words read (B, S) and those that follow them (B, S), on the device."""
        return (
            texts[:, :-1].contiguous().to(self.device),
            texts[:, 1:].contiguous().to(self.device),
        )


def curve_steps(params: ReplayParams | BridgeParams) -> list[int]:
    """Return the steps after which both languages are measured: the start and even parts of all."""
    points = params.num_eval_points
    return [round(params.max_steps * point / points) for point in range(points + 1)]


def _write_losses(step: Step, losses: Mapping[str, float]) -> None:
    (step.folder / _LOSSES).write_text(json.dumps(losses), encoding="utf-8")


def _read_losses(step: Step) -> Mapping[str, float]:
    found: Mapping[str, float] = read_json((step.folder / _LOSSES).read_bytes(), as_python=True)
    return found


def _count(model: Gpt, *, trained: bool = False) -> int:
    return sum(each.numel() for each in model.parameters() if each.requires_grad or not trained)
