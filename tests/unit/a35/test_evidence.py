"""The workload as a whole: on a run made by hand, and the sums by hand; then the published ones."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.experiments.a35.evidence import WORKLOADS
from harness.experiments.a35.release import read_run
from harness.records import Profile, RunSpec, Scalar
from harness.variables import EVIDENCE_VARIABLE
from harness.workloads.__main__ import run
from harness.workloads.api.declare import defaults_of
from harness.workloads.api.emit import EVENTS_FILE, read_events
from harness.workloads.trials import recount
from harness.workloads.trials.history import History
from harness.workloads.trials.trial import PARAMETER_GOLF, Label, Trial
from tests.unit.trials.conftest import BASELINE, KEEP, OVERRUN, Folder

DECLARED = WORKLOADS[0]
Figures = dict[tuple[str, frozenset[tuple[str, Scalar]]], Scalar]


def recounted(root: Path, out: Path, params: Mapping[str, object]) -> Figures:
    files = [path for path in root.rglob("*") if path.is_file()]
    hashes = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    spec = RunSpec(
        scenario="a35-auto-research-loop",
        profile=Profile.EVIDENCE,
        workload=DECLARED.name,
        params={**defaults_of(DECLARED.params), **params},
        evidence=hashes,
    )
    out.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EVIDENCE_VARIABLE, str(root))
        run(DECLARED.name, spec, out)
    measured = [e.payload for e in read_events(out / EVENTS_FILE) if e.kind == "measured"]
    figures = {(p["metric"], frozenset(p["where"].items())): p["value"] for p in measured}
    assert len(figures) == len(measured), "a figure was reported twice"
    return figures


NAMES = {"with_lineage": "any name", "without_lineage": "the same", "others": []}


def both_arms(folder: Folder) -> tuple[Path, Path]:
    """Copy the run, as the ablation wants two; return the evidence and an output folder."""
    shutil.copytree(folder.path, folder.path.with_name("the same"))
    return folder.path.parent, folder.path.parent / "out"


def test_two_runs_of_one_name_are_refused(folder: Folder) -> None:
    folder.results([BASELINE])
    folder.tree([])
    folder.best("000")
    with pytest.raises(InputError, match="two runs have one name"):
        recounted(*both_arms(folder), {**NAMES, "others": ["the same"]})


def test_a_run_made_by_hand(folder: Folder) -> None:
    again = replace(KEEP, exp_id="003", parent_exp="001", specialist="arch", total_s=1000.0)
    rows = [BASELINE, KEEP, OVERRUN, again]
    folder.results(rows)
    folder.tree(rows)
    folder.best("001")
    figures = recounted(*both_arms(folder), NAMES)

    def at(metric: str, **where: Scalar) -> Scalar:
        return figures[metric, frozenset({"run": "any name", **where}.items())]

    assert at("run.trials") == 3
    assert at("label.count", label="keep") == 2
    assert at("best.trial") == at("best.recorded") == "001"
    assert at("unguarded.trial") == "002"
    assert at("edges.crossing", subset="trials") == 2
    assert at("edges.count", subset="accepted") == 1
    assert at("overrun.would_be_accepted_trials") == "002"
    assert at("overrun.overshoot") == pytest.approx(100 * 3.4 / 600)
    assert at("lost.share") == pytest.approx(100 * 1505 / (1462 + 1505 + 1000))
    assert at("hour.trials") == pytest.approx(3.0)
    assert at("forecast.right") == 2
    assert at("trial.time", label="keep") == 1231.0
    assert figures["accepted.ratio", frozenset()] == 1.0
    assert figures["fisher.accepted_p", frozenset()] == pytest.approx(1.0)


def test_a_run_of_a_baseline_alone_has_figures_or_reasons(folder: Folder) -> None:
    folder.results([replace(BASELINE, val_bpb=None)])
    folder.tree([])
    folder.best("000")
    figures = recounted(*both_arms(folder), NAMES)
    assert figures["best.score", frozenset({"run": "any name"}.items())] is None
    assert figures["accepted.ratio", frozenset()] is None


def test_a_drought_is_counted_between_keeps_and_at_the_ends() -> None:
    labels = "dkddkddd"
    kinds = {"d": Label.DISCARD, "k": Label.KEEP}
    trials = [Trial(exp_id=str(n), status=kinds[each]) for n, each in enumerate(labels)]
    assert recount.longest_drought(trials) == 3
    assert recount.longest_drought(trials[:-2]) == 2
    assert recount.longest_drought([]) == 0


def test_a_miss_counts_against_the_best_of_its_time() -> None:
    late = replace(OVERRUN, exp_id="003", val_bpb=1.0805)
    history = History(PARAMETER_GOLF, [BASELINE, replace(late, exp_id="004"), KEEP, late])
    assert [trial.exp_id for trial in recount.would_have_been_keeps(history)] == ["004"]


# roles in columns; keep, discard, overrun, size, crash (and abort) in rows: the figures of the
# paper's and of an earlier count, not of this program
ROLES = ("arch", "curr", "eval", "loss", "meta", "opt", "quant", "reg", "tok", "ttt")
LABELS = ("keep", "discard", "eval_budget_overrun", "size_blocked", "crash", "harness_abort")
COUNTED = {
    "pg_ablation_lineage_on": (
        "1/6/10/2/3 1/9/5/0/6 1/12/5/0/0 0/16/2/0/0 3/17/2/0/0 4/14/1/1/0 2/11/1/6/1 2/17/1/0/0 "
        "0/12/5/2/1 2/10/6/0/0"
    ),
    "pg_ablation_lineage_off": (
        "0/0/13/0/14 0/0/14/0/4 0/3/16/0/0 0/9/9/0/2 0/4/10/7/0 2/15/2/0/0 1/0/18/1/0 0/0/18/0/0 "
        "0/1/17/0/0 0/14/6/0/0"
    ),
    "pg_main": (
        "4/24/16/32/14/5 2/47/2/26/4/3 3/38/16/20/2/5 4/44/2/33/1/4 3/45/1/40/2/4 5/54/3/28/3/3 "
        "5/33/1/48/1/5 2/46/1/31/2/4 3/36/3/36/9/4 5/43/10/25/0/5"
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_each_role_of_a_published_run_ended_as_was_counted_before(
    name: str, evidence_dir: Path
) -> None:
    trials = recount.proposed(read_run(evidence_dir / "a35" / name).history)
    for role, counts in zip(ROLES, COUNTED[name].split(), strict=True):
        for label, count in zip(LABELS, counts.split("/"), strict=False):
            of_role = [trial for trial in trials if trial.specialist == role]
            assert len(recount.of(of_role, Label(label))) == int(count), (role, label)
