"""What articles 32 to 34 print of their runs, as far as a formula in a ledger cannot say it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.experiments.a32_34.counts import Evaluation

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


def _held_out(tasks_passed: int, assertions_passed: int) -> Evaluation:
    return Evaluation(
        tasks=HELD_OUT,
        tasks_passed=tasks_passed,
        assertions=ASSERTIONS,
        assertions_passed=assertions_passed,
    )


SFT = EVALUATIONS[TRAINED]
GRPO: Mapping[str, Evaluation] = {  # article 33, results
    "sft": SFT,
    "grpo-25": _held_out(11, 386),
    "grpo-34": _held_out(13, 389),
}
T2PO: Mapping[str, Evaluation] = {  # article 34, held-out table
    "grpo-34": GRPO["grpo-34"],
    "t2po-25": _held_out(12, 371),
    "t2po-45": _held_out(9, 373),
    "t2po-50": _held_out(11, 372),
}
T2PO_BATCHES: Mapping[int, int] = {1: 20, 11: 8, 25: 12, 45: 28, 50: 4}  # step -> rollouts passed

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
