"""Whether what samples and what trains are one policy, as figures of every step. Loads no torch.

An engine and a trainer compute the same log-probabilities by two programs. Where they drift apart,
or where tokens are drawn from less than the whole distribution, an update is off the policy that
it takes itself to be on, and no reward tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.records import Scalar
from harness.workloads.api.declare import Better, Metric
from harness.workloads.api.emit import EventWriter

if TYPE_CHECKING:  # it loads torch, which declaring does not
    from harness.workloads.rl.trainer import Update

METRICS = (
    Metric(
        name="train.logprob_abs_diff_mean",
        unit="nat",
        doc="|server - trainer| of the same tokens' log-probabilities, mean of a step",
        better=Better.LOWER,
    ),
    Metric(
        name="train.logprob_abs_diff_p95",
        unit="nat",
        doc="the same, 95th percentile",
        better=Better.LOWER,
    ),
    Metric(
        name="train.logprob_abs_diff_max", unit="nat", doc="the same, largest", better=Better.LOWER
    ),
    Metric(
        name="train.ratio_outside_clip",
        unit="%",
        doc="tokens whose ratio trainer / server is outside the clip band before any update",
        better=Better.LOWER,
    ),
    Metric(
        name="train.sampling_bias",
        unit="nat",
        doc="log-probability as drawn (temperature, top-p, top-k) less the policy's, mean a token",
    ),
)


def report(emit: EventWriter, update: Update, where: Mapping[str, Scalar]) -> None:
    """Report how far engine and trainer were apart on the tokens of one step."""
    found = update.logprob_difference
    for name, value in (
        ("train.logprob_abs_diff_mean", found.mean),
        ("train.logprob_abs_diff_p95", found.p95),
        ("train.logprob_abs_diff_max", found.largest),
        ("train.ratio_outside_clip", 100 * found.outside_band),
        ("train.sampling_bias", found.sampling_bias),
    ):
        absent = "" if value is not None else "no token could have been drawn as is said"
        emit.measured(name, value, where=where, count=update.tokens, absent=absent)
