"""The records of an agent loop's trajectory, and a strict reader of its file.

One JSON object a line: a header, then one record for each iteration (and one for each pause), then
a ``loop_complete`` record when the loop ends (article 22, "Trajectory schema").
Names follow the file, except ``iter``, ``ts`` and ``_meta``, which are given plain ones here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import InputError, Problem, unknown
from harness.reading import read_json
from harness.records import Scalar, from_json, record
from harness.workloads.models.shape import ModelShape, gpt_shape

RENAMED = {"iter": "iteration", "ts": "ended_at", "_meta": "meta"}
STAMP = "%Y-%m-%d %H:%M:%S"


class Stage(StrEnum):
    """Outcome of an iteration, or of the loop."""

    EVALUATED = "evaluated"
    BLOCKED = "blocked"  # a rail refused the proposal
    EVAL_FAILED = "eval_failed"  # the training run of the candidate broke
    NIM_ERROR = "nim_error"  # the proposer's server gave no answer
    PAUSED = "paused"
    LOOP_COMPLETE = "loop_complete"


class Decision(StrEnum):
    """What the loop did with an evaluated candidate."""

    KEEP = "keep"
    REVERT = "revert"


@record
class TrainConfig:
    """The configuration of one candidate pretrain; the first thirteen fields are the knobs."""

    n_layer: int
    n_head: int
    d_model: int
    d_ff: int
    lr: float
    lr_warmup: int
    grad_clip: float
    weight_decay: float
    beta1: float
    beta2: float
    batch_size: int
    seq_len: int
    precision: str
    vocab_size: int
    steps: int
    val_chunk_tokens: int
    seed: int

    @property
    def shape(self) -> ModelShape:
        """The model."""
        return gpt_shape(
            vocab_size=self.vocab_size,
            num_positions=self.seq_len,
            num_hidden_layers=self.n_layer,
            hidden_size=self.d_model,
            num_attention_heads=self.n_head,
            intermediate_size=self.d_ff,
        )


@record
class Proposal:
    """One change that the language model asked for."""

    knob: str
    new_value: Scalar
    reason: str

    @property
    def pair(self) -> str:
        """The change itself, without its reason: ``knob=value``."""
        return f"{self.knob}={self.new_value}"


@record
class EvalMetrics:
    """What the evaluator measured of one candidate.

    Attributes:
        train_loss_first: cross-entropy of the first step, nats per token.
        train_loss_last: the same of the last step.
        val_bpb: bits per *token* of the held-out text; the file's name for it says byte.
        mean_step_ms: optimizer step, milliseconds.
        peak_gpu_mem_gib: most that torch had allocated on a GPU; on a CPU the largest resident
            set of the evaluating process.
    """

    ok: bool
    params_m: float
    train_steps: int
    train_loss_first: float
    train_loss_last: float
    val_bpb: float
    val_n_batches: int
    mean_step_ms: float
    train_wall_s: float
    val_wall_s: float
    peak_gpu_mem_gib: float


@record
class EvalFailure:
    """How the evaluation of a candidate broke.

    Attributes:
        timed_out: it was ended at its limit of time or of operations; the published loop has none.
    """

    ok: bool
    oom: bool
    error: str
    trace: str = ""
    timed_out: bool = False


@record
class Header:
    """The first line: what every iteration is compared with.

    Attributes:
        accept_delta_frac: the improvement from which on a candidate is kept, as a fraction.
        climbs: a keep is what later proposals change, and are compared with; never so in
            article 22.
        noise_val_bpb: further draws of the baseline, each from other weights.
        settings: digest of all that decides the loop; one of another digest does not resume it.
    """

    meta: str
    baseline_val_bpb: float
    baseline_cfg: TrainConfig
    accept_delta_frac: float
    hill_climb: bool = False
    noise_val_bpb: tuple[float, ...] = ()
    settings: str = ""


@record
class BaselineEval:
    """The evaluation of the baseline, which the loop keeps in a separate file.

    Attributes:
        device: the device used; the published file does not name it.
        train_flop: floating-point operations of its training steps.
        entropy_floor_bits: of a model that knows the source of the held-out tokens, bits per token.
    """

    baseline_cfg: TrainConfig
    baseline_metrics: EvalMetrics
    device: str = ""
    train_flop: float = 0.0
    entropy_floor_bits: float | None = None


@record
class Evaluated:
    """An iteration whose candidate was trained and measured.

    Attributes:
        baseline_val_bpb: the score that it was compared with.
        eval_seed: what its weights were drawn from.
        energy_j: of the whole iteration; None where no probe tells.
    """

    stage: Stage
    iteration: int
    ended_at: str
    verdict_ok: bool
    proposal: Proposal
    diff: str
    candidate_cfg: TrainConfig
    eval_metrics: EvalMetrics
    val_bpb: float
    baseline_val_bpb: float
    improvement_frac: float
    decision: Decision
    is_new_best: bool
    nim_latency_s: float
    iter_wall_s: float
    eval_seed: int = 0
    energy_j: float | None = None

    @property
    def ended_at_s(self) -> float:
        """The end of the iteration, seconds since 1970; the file gives UTC in whole seconds."""
        return datetime.strptime(self.ended_at, STAMP).replace(tzinfo=UTC).timestamp()

    @property
    def started_at_s(self) -> float:
        """The start of the iteration, seconds since 1970."""
        return self.ended_at_s - self.iter_wall_s


@record
class Blocked:
    """An iteration whose proposal a rail refused.

    Attributes:
        proposal: the JSON that was proposed, whatever it was; None where it was not JSON.
        raw: the first 300 characters of the answer.
    """

    stage: Stage
    iteration: int
    ended_at: str
    verdict_ok: bool
    rail: str
    reason: str
    proposal: object
    raw: str
    nim_latency_s: float
    iter_wall_s: float


@record
class EvalFailed:
    """An iteration whose candidate could not be evaluated."""

    stage: Stage
    iteration: int
    ended_at: str
    verdict_ok: bool
    proposal: Proposal
    diff: str
    candidate_cfg: TrainConfig
    eval_metrics: EvalFailure
    decision: str
    nim_latency_s: float
    iter_wall_s: float
    eval_seed: int = 0
    energy_j: float | None = None


@record
class NimError:
    """An iteration in which the proposer's server failed; it uses up the iteration's number."""

    stage: Stage
    iteration: int
    ended_at: str
    nim_error: str
    iter_wall_s: float


@record
class Paused:
    """The loop stopped before `iteration`, which a resumed loop runs again."""

    stage: Stage
    iteration: int
    ended_at: str
    reason: str
    completed_iters: int
    requested_iters: int


@record
class LoopComplete:
    """The end of the loop, with its own summary."""

    stage: Stage
    iters_requested: int
    accept_count: int
    revert_count: int
    block_count: int
    eval_fail_count: int
    loop_wall_s: float
    loop_wall_min: float
    baseline_val_bpb: float
    best_val_bpb: float
    best_proposal: Proposal | None
    best_improvement_frac: float


Iteration = Evaluated | Blocked | EvalFailed | NimError
TrajectoryRecord = Iteration | Paused | LoopComplete

_KINDS: dict[Stage, type[TrajectoryRecord]] = {
    Stage.EVALUATED: Evaluated,
    Stage.BLOCKED: Blocked,
    Stage.EVAL_FAILED: EvalFailed,
    Stage.NIM_ERROR: NimError,
    Stage.PAUSED: Paused,
    Stage.LOOP_COMPLETE: LoopComplete,
}


@record
class Trajectory:
    """A whole trajectory, in the order of its file.

    Attributes:
        torn: what follows the last newline, a record that was being written when the loop was
            killed; it is not counted. Empty if there is none.
    """

    header: Header
    records: tuple[TrajectoryRecord, ...]
    torn: str = ""

    @property
    def iterations(self) -> tuple[Iteration, ...]:
        """Every iteration once, without pauses."""
        return tuple(r for r in self.records if not isinstance(r, Paused | LoopComplete))

    @property
    def evaluated(self) -> tuple[Evaluated, ...]:
        """The iterations that have a figure."""
        return tuple(r for r in self.records if isinstance(r, Evaluated))

    @property
    def summary(self) -> LoopComplete | None:
        """The loop's own summary, the last one where it was resumed; None where it never ended."""
        summaries = [r for r in self.records if isinstance(r, LoopComplete)]
        return summaries[-1] if summaries else None

    def count(self, resources: Stage) -> int:
        """Return how many records are of this stage."""
        return sum(r.stage is resources for r in self.records)


def read_trajectory(path: Path) -> Trajectory:
    """Return the trajectory in `path`.

    Raises:
        InputError: with file and line each, every line that is not a record of a known stage with
            exactly its fields, a header that is not the first line, an iteration given twice.
    """
    *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
    problems: list[Problem] = []
    header: Header | None = None
    records: dict[int, TrajectoryRecord] = {}
    for number, line in enumerate(lines, 1):
        try:
            if number == 1:
                header = from_json(Header, _document(line))
            else:
                records[number] = _record(_document(line))
        except ValueError as error:
            problems.append(Problem(message=str(error), path=path, line=number))
    problems.extend(_repeated_iterations(path, records))
    if header is None or problems:
        raise InputError(problems or [Problem(message="holds no whole line", path=path)])
    return Trajectory(header=header, records=tuple(records.values()), torn=torn)


def read_baseline(path: Path) -> BaselineEval:
    """Return the evaluation of the baseline in `path`.

    Raises:
        InputError: the file is not JSON, or has not exactly the fields of the record.
    """
    try:
        return from_json(BaselineEval, read_json(path.read_bytes()))
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path)]) from None


def _record(document: dict[str, Any]) -> TrajectoryRecord:
    stage, stages = document.get("stage"), [str(known) for known in Stage]
    if stage not in stages:
        raise ValueError(str(unknown("stage", stage, stages)))
    found = from_json(_KINDS[Stage(stage)], document)
    if not isinstance(found, LoopComplete):
        datetime.strptime(found.ended_at, STAMP).replace(tzinfo=UTC)  # a wrong stamp is refused
    return found


def _document(line: str) -> dict[str, Any]:
    document = read_json(line, mend=True)  # it holds the answers of models
    if not isinstance(document, dict):
        message = f"wanted an object, got {type(document).__name__}"
        raise ValueError(message)  # noqa: TRY004 - a mistake in the file, not in the program
    return {RENAMED.get(str(name), str(name)): value for name, value in document.items()}


def _repeated_iterations(path: Path, records: dict[int, TrajectoryRecord]) -> Iterator[Problem]:
    first_line: dict[int, int] = {}
    for number, found in records.items():
        if isinstance(found, Paused | LoopComplete):  # a paused iteration is run again
            continue
        before = first_line.setdefault(found.iteration, number)
        if before != number:
            message = f"iteration {found.iteration} is already on line {before}"
            yield Problem(message=message, path=path, line=number, key="iter")
