"""The loop: propose, judge, evaluate, keep or revert, write down; and go on after a kill.

Article 22, "Apply / evaluate / decide", and article 35's hill climb if requested. The state of a
loop is in its folder: the trajectory first, then the record of trials, which is caught up from it.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from harness.errors import HostError
from harness.probes.energy import EnergyCounter
from harness.records import digest, record, to_json
from harness.workloads.api import progress
from harness.workloads.api.passes import passes
from harness.workloads.autoresearch import iteration as outcomes
from harness.workloads.autoresearch.as_trials import (
    LAYOUT,
    Author,
    ProposerContext,
    baseline_trial,
    catch_up,
    shown,
)
from harness.workloads.autoresearch.evaluator import CandidateEvaluation, Evaluates, Limit
from harness.workloads.autoresearch.guardrails import Gate, Guardrails, Refused, is_finite
from harness.workloads.autoresearch.iteration import AskedProposal, Laps
from harness.workloads.autoresearch.journal import Journal
from harness.workloads.autoresearch.loop_state import Standing, after, standing
from harness.workloads.autoresearch.params import LoopParams
from harness.workloads.autoresearch.prompt import PromptWriter, Proposer, ProposerError
from harness.workloads.autoresearch.search_space import SPACES, Space
from harness.workloads.autoresearch.trajectory import (
    BaselineEval,
    EvalFailed,
    EvalFailure,
    EvalMetrics,
    Evaluated,
    Header,
    Iteration,
    Trajectory,
    read_baseline,
)
from harness.workloads.trials.store import TrialStore

TRAJECTORY_FILE = "trajectory.jsonl"
BASELINE_FILE = "baseline_eval.json"
RECORD_FILE = "results.tsv"
_META = "a loop of this harness: the fields of article 22, and some more"
_SEEDS = 100_000  # of one loop: the baseline's first, behind it one for each iteration
_NOISE_SEEDS = 50_000  # and behind those the further draws of the baseline


@record
class Session:
    """One loop, completely decided.

    Attributes:
        noise: draws of the baseline that were made elsewhere; empty makes `num_noise_samples` here.
    """

    params: LoopParams
    seed: int
    noise: tuple[float, ...] = ()

    @property
    def search_space(self) -> Space:
        """The menu, and the baseline that the params make of its own."""
        space = SPACES[self.params.search_space]
        if self.params.precision == "menu":
            return space
        return replace(space, baseline=replace(space.baseline, precision=self.params.precision))

    @property
    def guardrails(self) -> Guardrails:
        """The rails."""
        return Guardrails(self.params.guardrails)

    @property
    def settings(self) -> str:
        """A digest of all that decides the loop; where its model is served does not."""
        if self.params.proposer not in ("served", "llm"):
            return digest(self)
        return digest(replace(self, params=replace(self.params, proposer_base_url="")))

    def weights_seed(self, iteration: int) -> int:
        """Return what the weights of an iteration's candidate are drawn from; 0: the baseline's."""
        return self.seed * _SEEDS + (iteration if self.params.reseed_candidates else 0)

    def noise_seeds(self) -> range:
        """Return the same for the further draws of the baseline."""
        first = self.seed * _SEEDS + _NOISE_SEEDS
        return range(first, first + self.params.num_noise_samples)


@record
class Parts:
    """What a loop is made of.

    Attributes:
        energy_j: of the device that it runs on.
    """

    proposer: Proposer
    evaluator: Evaluates
    energy_j: EnergyCounter


class Loop:
    """One loop in one folder.

    Args:
        session: the settings.
        folder: its state.
        parts: who does it.
    """

    def __init__(self, session: Session, folder: Path, parts: Parts) -> None:
        self._session, self._params, self._folder = session, session.params, folder
        self._proposer, self._evaluator = parts.proposer, parts.evaluator
        self._laps = Laps(parts.energy_j)
        self._memory = ProposerContext(session.params.proposer_context)
        self._author = Author(name=parts.proposer.identity, guardrails=session.guardrails)
        self._gate = Gate(space=session.search_space, guardrails=session.guardrails)
        self._form = PromptWriter(
            search_space=session.search_space,
            guardrails=session.guardrails,
            proposer_context=self._memory,
            history_window=session.params.history_window,
        )
        self._store = TrialStore(folder / RECORD_FILE, LAYOUT)

    def run(self) -> None:
        """Run the remaining iterations.

        Raises:
            HostError: the baseline cannot be evaluated.
            InputError: the folder holds another loop, or a damaged one.
        """
        with Journal(self._folder / TRAJECTORY_FILE) as journal:
            found = journal.resume(self._session.settings)
            if found is None:
                found = Trajectory(header=self._baseline(), records=())
                journal.write(found.header)
            header, past = found.header, list(found.iterations)
            here, trials = standing(header, ()), [baseline_trial(header)]
            for done in past:
                trials.append(self._author.trial(done, here))
                here = after(header, here, done)
            catch_up(self._store, trials)
            if found.summary is not None:
                return
            limit = self._limit()
            self._laps.start()
            first = 1 + max((each.iteration for each in past), default=0)
            for iteration in passes(range(first, self._params.iterations + 1), "iterations"):
                done = self._iterate(iteration, header, here, past, limit)
                lap = self._laps.end()
                done = replace(done, iter_wall_s=lap.wall_s)
                if isinstance(done, Evaluated | EvalFailed):
                    done = replace(done, energy_j=lap.energy_j)
                journal.write(done)
                self._store.append(self._author.trial(done, here))
                here = after(header, here, done)
                past.append(done)
                told = {"val_bpb": done.val_bpb} if isinstance(done, Evaluated) else {}
                total = self._params.iterations
                progress.tell("search", iteration, total, told, unit="iteration")
            journal.write(outcomes.summary(header, past))

    def _iterate(
        self, iteration: int, header: Header, here: Standing, past: list[Iteration], limit: Limit
    ) -> Iteration:
        """Return the record of one iteration; `run` adds its time."""
        block = shown(self._store.history(), self._memory, self._author.name)
        brief, began_s = self._form.brief(iteration, here.base, past, block), time.monotonic()
        try:
            answer = self._proposer.propose(brief)
        except ProposerError as error:
            return outcomes.unanswered(iteration, str(error))
        asked = AskedProposal(
            iteration=iteration, answer=answer, latency_s=time.monotonic() - began_s
        )
        verdict = self._gate.judge(answer, here.base)
        if isinstance(verdict, Refused):
            return asked.blocked(verdict)
        if not is_finite(verdict.candidate):
            return asked.impossible(verdict, here.base)
        seed = self._session.weights_seed(iteration)
        result = self._evaluator.evaluate(verdict.candidate, seed, limit).result
        if isinstance(result, EvalFailure):
            return asked.failed(verdict, result, seed)
        return asked.evaluated(verdict, result, seed, header, here)

    def _baseline(self) -> Header:
        """Evaluate the baseline, and how far its figure scatters; keep the evaluation."""
        progress.tell("evaluate the baseline")
        cfg = self._session.search_space.baseline
        first = self._evaluated(self._session.weights_seed(0))
        noise = self._session.noise or tuple(
            _metrics(self._evaluated(seed)).val_bpb
            for seed in passes(self._session.noise_seeds(), "evaluate the baseline again")
        )
        baseline = BaselineEval(
            baseline_cfg=cfg,
            baseline_metrics=_metrics(first),
            device=first.device,
            train_flop=first.train_flop,
            entropy_floor_bits=self._evaluator.entropy_floor_bits,
        )
        (self._folder / BASELINE_FILE).write_text(json.dumps(to_json(baseline)), encoding="utf-8")
        return Header(
            meta=_META,
            baseline_val_bpb=_metrics(first).val_bpb,
            baseline_cfg=cfg,
            accept_delta_frac=self._params.min_improvement,
            hill_climb=self._params.hill_climb,
            noise_val_bpb=noise,
            settings=self._session.settings,
        )

    def _evaluated(self, seed: int) -> CandidateEvaluation:
        limit = Limit(wall_s=self._params.timeout_s)
        return self._evaluator.evaluate(self._session.search_space.baseline, seed, limit)

    def _limit(self) -> Limit:
        """Return what a candidate's evaluation may take."""
        baseline = read_baseline(self._folder / BASELINE_FILE)
        wall_s, most_flop = self._params.timeout_s, None
        if (times := self._params.eval_timeout_factor) is not None:
            took_s = baseline.baseline_metrics.train_wall_s + baseline.baseline_metrics.val_wall_s
            wall_s = min(wall_s, times * took_s)
        if (times := self._params.eval_flop_factor) is not None:
            most_flop = times * baseline.train_flop
        return Limit(wall_s=wall_s, most_flop=most_flop)


def _metrics(evaluation: CandidateEvaluation) -> EvalMetrics:
    """Return the figures of a baseline.

    Raises:
        HostError: it has none: without a baseline there is nothing to compare with.
    """
    result = evaluation.result
    if isinstance(result, EvalFailure):
        message = f"the baseline cannot be evaluated: {result.error}"
        raise HostError(message, "harness doctor")
    return result
