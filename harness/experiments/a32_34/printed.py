"""What articles 32 to 34 print of their runs, and arithmetic that their settings decide."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.experiments.a32_34.counts import Evaluation
from harness.records import record

HELD_OUT, ASSERTIONS = 158, 780

# --- The held-out tables --------------------------------------------------------------------------

BASE, TRAINED = "qwen-base", "qwen-sft"

EVALUATIONS: Mapping[str, Evaluation] = {  # article 32
    "llama-pilot": Evaluation(tasks=7, tasks_passed=2, assertions=36, assertions_passed=24),
    "llama": Evaluation(
        tasks=200,
        tasks_passed=17,
        assertions=980,
        assertions_passed=497,
        wall_s=4517.0,  # 13:15:02 to 14:30:19
    ),
    BASE: Evaluation(
        tasks=HELD_OUT,
        tasks_passed=4,
        assertions=ASSERTIONS,
        assertions_passed=248,
        task_complete=147,
        mean_turns=4.59,
        mean_wall_s=12.4,
        by_persona=(0, 2, 0, 0, 0, 1, 2, 1),
    ),
    TRAINED: Evaluation(
        tasks=HELD_OUT,
        tasks_passed=10,
        assertions=ASSERTIONS,
        assertions_passed=365,
        task_complete=0,
        mean_turns=12.0,
        mean_wall_s=28.3,
        by_persona=(2, 1, 3, 0, 0, 1, 2, 1),
    ),
}


def _held_out(
    tasks_passed: int,
    assertions_passed: int,
    mean_turns: float,
    task_complete: int | None = None,
    mean_wall_s: float | None = None,
) -> Evaluation:
    return Evaluation(
        tasks=HELD_OUT,
        tasks_passed=tasks_passed,
        assertions=ASSERTIONS,
        assertions_passed=assertions_passed,
        task_complete=task_complete,
        mean_turns=mean_turns,
        mean_wall_s=mean_wall_s,
    )


SFT = EVALUATIONS[TRAINED]
GRPO: Mapping[str, Evaluation] = {  # article 33, results
    "base": EVALUATIONS[BASE],
    "sft": SFT,
    "grpo-25": _held_out(11, 386, mean_turns=5.39),
    "grpo-34": _held_out(13, 389, task_complete=154, mean_turns=5.00, mean_wall_s=10.7),
}
T2PO: Mapping[str, Evaluation] = {  # article 34, held-out table
    "sft": SFT,
    "grpo-34": GRPO["grpo-34"],
    "t2po-25": _held_out(12, 371, task_complete=148, mean_turns=5.37),
    "t2po-45": _held_out(9, 373, task_complete=150, mean_turns=4.87),
    "t2po-50": _held_out(11, 372, task_complete=154, mean_turns=4.61),
}

# article 33, section "The parser": of the trained model's stored rollouts, how many the new parser
# would have stopped, and how many turns earlier in all
STOPPED_BY_NEW_PARSER, TURNS_SAVED = 69, 433

# --- Training by rewards --------------------------------------------------------------------------

LEARNING_RATE = 1e-5  # by the scripts; the text prints 5e-6, which the recorded change excludes
KL_WEIGHT = 0.04
ADAPTER_PARAMETERS = 40_370_176
TASKS_PER_STEP, ROLLOUTS_PER_TASK = 8, 4
MAX_TURNS = 12


@record
class Batch:
    """One printed training step: 32 rollouts in 8 groups.

    Attributes:
        passed: rollouts that passed; None where not printed.
        task_complete: rollouts that stopped by themselves.
        groups_used: groups whose rewards differ; None where not printed.
        weighted_kl: as logged, times `KL_WEIGHT`; None where not printed.
    """

    task_complete: int
    mean_turns: float
    passed: int | None = None
    groups_used: int | None = None
    weighted_kl: float | None = None


GRPO_STEPS: Mapping[int, Batch] = {  # article 33, telemetry
    1: Batch(task_complete=24, mean_turns=7.38, weighted_kl=0.0),
    5: Batch(task_complete=26, mean_turns=6.53, weighted_kl=0.0001),
    10: Batch(task_complete=30, mean_turns=5.28, weighted_kl=0.0002),
    16: Batch(task_complete=32, mean_turns=4.41, weighted_kl=0.0006),
    22: Batch(task_complete=32, mean_turns=4.38, weighted_kl=0.0011),
    29: Batch(task_complete=32, mean_turns=3.69, weighted_kl=0.0011),
    32: Batch(task_complete=32, mean_turns=4.09, weighted_kl=0.0016),
    34: Batch(task_complete=31, mean_turns=4.62, weighted_kl=0.0020),
}
T2PO_STEPS: Mapping[int, Batch] = {  # article 34, training batches
    1: Batch(passed=20, task_complete=23, mean_turns=7.31, groups_used=7),
    11: Batch(passed=8, task_complete=30, mean_turns=5.03, groups_used=7),
    25: Batch(passed=12, task_complete=32, mean_turns=3.78, groups_used=4),
    45: Batch(passed=28, task_complete=32, mean_turns=3.66, groups_used=1),
    50: Batch(passed=4, task_complete=29, mean_turns=4.53, groups_used=3),
}
WEIGHT_CHANGE = 0.0622  # of one step, article 33's log; article 34 logs 0.0625 at every step
MAX_WEIGHTED_KL = 0.0034  # article 34

# article 33: 8.5 hours for 34 steps and one evaluation; how its trainer's time is summed
GRPO_WALL_H, GRPO_STEPS_DONE, TRAINER_MIN = 8.5, 34, 43.8
# article 34: the loop's log, which holds 50 steps and two evaluations of 36 minutes
T2PO_WALL_S, T2PO_STEPS_DONE, EVALUATION_MIN, EVALUATIONS_IN_LOG = 66_692.0, 50, 36.0, 2
PRINTED_STEP_MIN, PRINTED_EVALUATIONS = 22.0, 3
RESAMPLES = 6.39  # per rollout, mean
MAX_RESAMPLES = 2  # per turn, from the second on
TOKEN_CAP, TOKEN_CAP_BEFORE = 450, 400

# --- Training on the demonstrations: article 32, section "LoRA SFT" -------------------------------

DEMONSTRATIONS, ACCUMULATED, PEAK_RATE = 42, 4, 2e-4
WARM_UP = 0.1  # of the steps, rounded down, at least one
ADAPTER_RANK = 16
TOTAL_PARAMETERS = 7_655_986_688  # of the model and its adapter, as printed
FIRST_LOSS, LAST_LOSS = 1.2075, 0.3871

# Qwen2.5-7B: 28 layers; inputs and outputs of q, k, v, o, gate, up, down
_LAYERS = 28
_WIDTH, _KEYS, _INNER = 3584, 512, 18944
_MATRICES = (
    *((_WIDTH, _WIDTH), (_WIDTH, _KEYS), (_WIDTH, _KEYS), (_WIDTH, _WIDTH)),
    *((_WIDTH, _INNER), (_WIDTH, _INNER), (_INNER, _WIDTH)),
)


def adapter_parameters() -> int:
    """Trainable parameters: rank times (inputs + outputs), over all adapted matrices."""
    return _LAYERS * ADAPTER_RANK * sum(sum(shape) for shape in _MATRICES)


def num_steps() -> int:
    """Optimizer steps of one epoch; the last one accumulates what is left."""
    return math.ceil(DEMONSTRATIONS / ACCUMULATED)


def learning_rates() -> tuple[float, ...]:
    """The rate that each step is taken with: a linear warm-up that begins at 0, then down to 0.

    The scheduler moves on after the step, so the first step is taken with a rate of 0, and what is
    logged beside a step is the next one's rate.
    """
    steps = num_steps()
    warm_up = max(1, int(WARM_UP * steps))
    rising = [PEAK_RATE * step / warm_up for step in range(warm_up)]
    return (
        *rising,
        *(PEAK_RATE * (steps - at) / (steps - warm_up) for at in range(warm_up, steps)),
    )
