"""Every workload by name. A declaration is imported only when its workload is asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from harness.errors import InputError, unknown
from harness.workloads.declare import Workload

# name -> the torch-free module that declares it, in its constant WORKLOADS
DECLARED_IN = {
    "noop": "harness.workloads.noop",
    "capacity.training": "harness.workloads.capacity.declare",
    "continued.bridge": "harness.workloads.continued.declare",
    "continued.replay": "harness.workloads.continued.declare",
    "distill.clone": "harness.workloads.distill.declare",
    "distill.race_evidence": "harness.workloads.distill.evidence_declare",
    "economics.campaign": "harness.workloads.economics.declare",
    "economics.training_tiers": "harness.workloads.economics.declare",
    "pretrain.envelope": "harness.workloads.pretrain.declare",
    "pretrain.frameworks": "harness.workloads.pretrain.declare",
    "pretrain.frameworks_evidence": "harness.workloads.pretrain.frameworks_declare",
    "pretrain.envelope_evidence": "harness.workloads.pretrain.declare",
    "curate.path": "harness.workloads.curate.declare",
    "curate.path_evidence": "harness.workloads.curate.declare",
    "autoresearch.trajectory_evidence": "harness.workloads.autoresearch.declare",
    "autoresearch.loop": "harness.workloads.autoresearch.loop_declare",
    "autoresearch.ablation": "harness.workloads.autoresearch.loop_declare",
    "lineage.release_evidence": "harness.workloads.lineage.declare",
    "clawgym.tasks": "harness.workloads.clawgym.declare",
    "clawgym.task_evidence": "harness.workloads.clawgym.declare",
    "agent.sft": "harness.workloads.agent.declare",
    "agent.grpo": "harness.workloads.agent.declare",
    "agent.t2po": "harness.workloads.agent.declare",
    "agent.grpo_evidence": "harness.workloads.agent.declare",
    "agent.t2po_evidence": "harness.workloads.agent.declare",
    "search.a2tgpo": "harness.workloads.search.declare",
    "search.a2tgpo_evidence": "harness.workloads.search.declare",
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
