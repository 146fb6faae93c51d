"""Workloads ``agent.grpo_evidence`` and ``agent.t2po_evidence``: arithmetic on printed figures.

Neither run's raw data is published. What a formula of printed numbers says stands in the ledgers.
Here is what takes more: whether printed counts can be told apart, and the images that article 33's
rollouts left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from harness.experiments.a32_34 import printed
from harness.experiments.a32_34.counts import PrintedEvaluation
from harness.experiments.a32_34.tasks_evidence import END_STATES, Runs, read_end_states
from harness.records import record
from harness.statistics import clustered_z, design_effect, fisher_exact, trials_per_arm
from harness.workloads.api.context import Context
from harness.workloads.api.declare import Workload, param
from harness.workloads.api.figures import Figures, Where

_OWN_RUN = "phase6-grpo/eval-"  # article 33's evaluations among the published end states
_SFT_RUN = "qwen-sft"


@record
class GrpoEvidenceParams:
    """What article 33 is recounted from."""

    end_states: str = param("a32/clawgym_png_end_states.json", doc="images left by each rollout")


@record
class T2poEvidenceParams:
    """Article 34 is recomputed from what it prints."""


class Pair(NamedTuple):
    """Two evaluations that are compared."""

    one: PrintedEvaluation
    other: PrintedEvaluation


def _pairs(
    table: Mapping[str, PrintedEvaluation], *names: tuple[str, str]
) -> Callable[[object], Iterator[tuple[Where, Pair]]]:
    return lambda _: (
        ({"policy": policy, "other": other}, Pair(table[policy], table[other]))
        for policy, other in names
    )


# 8 % of all tasks have all five of their assertions at a rate of one half: what a correlation of
# 0.14 gives (beta-binomial)
_CORRELATION = 0.2


def _effect(found: PrintedEvaluation) -> float:
    return design_effect(found.assertions / found.tasks, _CORRELATION)


# whether printed counts can be told apart, and the tasks that this would take
APART: Figures[Pair] = Figures(keys="policy, other")
APART("agent.pass_rate_p", "1", "two-sided p of equal rates, Fisher's exact test")(
    lambda p: fisher_exact(p.one.passed, p.other.passed)
)
APART("agent.assertion_pass_rate_p", "1", "two-sided p of equal rates, Fisher's exact test")(
    lambda p: fisher_exact(p.one.held, p.other.held)
)
APART(
    "agent.assertion_pass_rate_clustered_p",
    "1",
    "two-sided p of equal rates, z-test with assertions of a task correlated by 0.2",
)(lambda p: clustered_z(p.one.held, p.other.held, (_effect(p.one), _effect(p.other))))
APART("agent.tasks_needed", "count", "tasks each, to tell these rates apart 4 times in 5")(
    lambda p: trials_per_arm(p.one.passed.rate, p.other.passed.rate)
)

grpo: Figures[Runs] = Figures()
grpo.include(_pairs(printed.GRPO, ("grpo-34", "sft"), ("grpo-34", "grpo-25")), APART)
grpo.include(
    lambda runs: [({}, {n: run for n, run in runs.items() if _OWN_RUN in n or _SFT_RUN in n})],
    END_STATES,
)

t2po: Figures[None] = Figures()
t2po.include(
    _pairs(printed.T2PO, ("t2po-45", "grpo-34"), ("t2po-50", "grpo-34"), ("t2po-25", "t2po-45")),
    APART,
)
t2po("pool.best_step", "step", "by the training batch")(
    lambda _: max(printed.T2PO_BATCHES, key=lambda step: printed.T2PO_BATCHES[step])
)
t2po("held_out.best_step", "step", "by the held-out tasks")(
    lambda _: max((25, 45, 50), key=lambda step: printed.T2PO[f"t2po-{step}"].tasks_passed)
)


def run_grpo(context: Context) -> None:
    """Recompute article 33."""
    params: GrpoEvidenceParams = context.params
    context.emit.started("no device: printed figures and published files")
    grpo.report(context.emit, read_end_states(context.evidence(params.end_states)))


def run_t2po(context: Context) -> None:
    """Recompute article 34."""
    context.emit.started("no device: printed figures")
    t2po.report(context.emit, None)


WORKLOADS = (
    Workload(
        name="agent.grpo_evidence",
        doc="recompute article 33 from what it prints and the images its rollouts left",
        params=GrpoEvidenceParams,
        metrics=grpo.metrics,
        entry="harness.experiments.a32_34.evidence:run_grpo",
    ),
    Workload(
        name="agent.t2po_evidence",
        doc="recompute article 34 from what it prints",
        params=T2poEvidenceParams,
        metrics=t2po.metrics,
        entry="harness.experiments.a32_34.evidence:run_t2po",
    ),
)
