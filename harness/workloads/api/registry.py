"""Every workload by name. A declaration is imported only when its workload is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module

from harness.errors import InputError, unknown
from harness.workloads.api.declare import Law, Workload

# name -> the torch-free module that declares it, in its constant WORKLOADS
DECLARED_IN = {
    "noop": "harness.workloads.noop",
    "capacity.training": "harness.experiments.cpt.memory",
    "continued.bridge": "harness.experiments.cpt.params",
    "continued.replay": "harness.experiments.cpt.params",
    "continued.nemo": "harness.experiments.cpt.params",
    "distill.clone": "harness.experiments.a25.params",
    "distill.clone_evidence": "harness.experiments.a25.evidence",
    "economics.campaign": "harness.experiments.a23_24.campaign",
    "economics.training_tiers": "harness.experiments.a23_24.training_tiers",
    "pretrain.envelope": "harness.experiments.a19.params",
    "pretrain.frameworks": "harness.experiments.a18.params",
    "pretrain.frameworks_evidence": "harness.experiments.a18.evidence",
    "pretrain.envelope_evidence": "harness.experiments.a19.evidence",
    "curate.path": "harness.experiments.a20.params",
    "curate.path_evidence": "harness.experiments.a20.evidence",
    "autoresearch.trajectory_evidence": "harness.experiments.a22.evidence",
    "autoresearch.loop": "harness.experiments.a22.params",
    "autoresearch.ablation": "harness.experiments.a35.params",
    "lineage.release_evidence": "harness.experiments.a35.evidence",
    "clawgym.tasks": "harness.experiments.a32_34.params",
    "clawgym.task_evidence": "harness.experiments.a32_34.tasks_evidence",
    "agent.sft": "harness.experiments.a32_34.params",
    "agent.grpo": "harness.experiments.a32_34.params",
    "agent.t2po": "harness.experiments.a32_34.params",
    "agent.grpo_evidence": "harness.experiments.a32_34.evidence",
    "agent.t2po_evidence": "harness.experiments.a32_34.evidence",
    "search.a2tgpo": "harness.experiments.a36.params",
    "search.a2tgpo_evidence": "harness.experiments.a36.evidence",
}


@cache
def workload(name: str) -> Workload:
    """Return the declaration of the workload `name`.

    Raises:
        InputError: there is no such workload; names the nearest.
    """
    if name not in DECLARED_IN:
        raise InputError([unknown("workload", name, DECLARED_IN, key="workload")])
    declared: tuple[Workload, ...] = import_module(DECLARED_IN[name]).WORKLOADS
    return next(each for each in declared if each.name == name)


@cache
def law(name: str) -> Law | None:
    """Return the law of that name that a workload declares; None where none does."""
    return next((each for each in _laws() if each.name == name), None)


def law_names() -> list[str]:
    """Return the names of all laws that workloads declare, sorted."""
    return sorted({each.name for each in _laws()})


def _laws() -> Iterator[Law]:
    for module in dict.fromkeys(DECLARED_IN.values()):
        for declared in import_module(module).WORKLOADS:
            yield from declared.laws
