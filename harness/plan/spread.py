"""What a run that its engine spreads over several nodes takes of each: arithmetic, nothing is run.

The engine is vLLM with its Ray executor, which splits every matrix and every head's cache evenly
(tensor parallelism). The trainer of a policy is not spread: it has the first node's memory.
"""

from __future__ import annotations

from dataclasses import replace

from harness.errors import HostError
from harness.records import Profile, RunSpec
from harness.units import counted
from harness.workloads.api.registry import workload
from harness.workloads.models.memory import GIB, number_format, serving_need, share_of
from harness.workloads.models.presets import DGX_SPARK
from harness.workloads.models.step_memory import PUBLISHED, published_shape
from harness.workloads.training.params import PolicyParams


def memory_of_each_node(spec: RunSpec) -> str:
    """Return what the server of a run takes of each node, in words.

    Raises:
        HostError: it cannot be spread over so many nodes, or does not fit.
    """
    nodes, params = spec.limits.nodes, spec.params
    ask_for_one = "set limits.nodes to 1"
    if not issubclass(workload(spec.workload).params, PolicyParams):
        message = f"{spec.workload} serves no model that {nodes} nodes could share (limits.nodes)"
        raise HostError(message, ask_for_one)
    model = str(params["model"])
    shape = published_shape(model)
    if shape is None:
        known = ", ".join(PUBLISHED)
        message = (
            f"the memory of {model} on {nodes} nodes is not known: its shape is none of {known}"
        )
        raise HostError(message, ask_for_one)
    dtype = number_format(str(params["dtype"]))
    # a workload without rollouts has neither: its replies are short
    context, sessions = int(params.get("max_model_len", 0)), int(params.get("max_concurrency", 1))
    need = serving_need(shape, dtype, dtype, context, sessions)
    cached = f"for {counted(sessions, 'sequence')} of {context} tokens" if context else "of cache"
    if given_gib := float(params["kv_cache_gib"]):
        need = replace(need, kv_cache=round(given_gib * GIB))
        cached = "of cache, by kv_cache_gib"
    try:
        share = share_of(need, shape, nodes)
    except ValueError as error:
        raise HostError(str(error), ask_for_one) from None
    weights, cache, total = (size / GIB for size in (share.weights, share.kv_cache, share.total))
    words = (
        f"{total:.1f} GiB on each of {nodes} nodes ({weights:.1f} of weights, {cache:.1f} {cached})"
    )
    bounds = []
    if spec.limits.memory_gib is not None:
        bounds.append((spec.limits.memory_gib, "limits.memory_gib"))
    if spec.profile is Profile.SPARK:
        bounds.append((DGX_SPARK.visible / GIB, "the memory of a DGX Spark"))
    for limit, what in bounds:
        if total > limit:
            message = f"the server needs {words}, and {what} is {limit:.1f} GiB"
            raise HostError(message, "give it less to cache, or more memory or nodes")
    held = "; ".join(f"{what}: {limit:.1f} GiB" for limit, what in bounds)
    return f"{words}{f'; {held}' if held else ''}"
