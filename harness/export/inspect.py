"""Inspect: an ``.eval`` log for each run and policy, with every turn, for ``inspect view``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from harness import __version__, atomic
from harness.errors import HostError
from harness.export.source import AnyRollout, Exported, messages, require, tags, title
from harness.records import FinishedRun, to_json
from harness.workloads.envs.files.environment import FileEpisode
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import Message, Role


def export(source: Exported, path: Path) -> list[str]:
    """Write a folder of logs; a rollout is a sample, and which of several of a task its epoch.

    Raises:
        HostError: the runs have no rollouts here.
    """
    require("inspect_ai")
    from inspect_ai.log import write_eval_log  # noqa: PLC0415 - an extra, and slow to load

    logs: dict[str, Any] = {}
    for run in source.runs:
        tasks = source.tasks(run)
        by_policy: dict[str, list[AnyRollout]] = {}
        for rollout in source.rollouts(run):
            by_policy.setdefault(rollout.policy, []).append(rollout)
        for policy, played in by_policy.items():
            name = re.sub(r"[^\w.-]", "-", f"{title(run)}_{policy}")
            logs[f"{name}.eval"] = _log(source, run, policy, played, tasks)
    if not logs:
        message = f"the runs of {source.name} {source.report.profile} have no rollouts here"
        raise HostError(message, f"harness run {source.name} --profile {source.report.profile}")
    with atomic.new_folder(path) as folder:
        for name, log in logs.items():
            write_eval_log(log, str(folder / name))
    return [f"{path / name}: {len(log.samples)} samples" for name, log in logs.items()]


def _log(
    source: Exported,
    run: FinishedRun,
    policy: str,
    played: Sequence[AnyRollout],
    tasks: Mapping[str, Task],
) -> Any:
    from inspect_ai.log import (  # noqa: PLC0415 - an extra
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
    )

    began = run.outcome.started_at or datetime.now(UTC).isoformat()
    samples = [_sample(each, tasks) for each in played]
    scores = []
    for name in dict.fromkeys(name for each in samples for name in each.scores or {}):
        values = [float(each.scores[name].value) for each in samples if name in (each.scores or {})]
        mean = EvalMetric(name="mean", value=fmean(values))
        scores.append(
            EvalScore(name=name, scorer=name, scored_samples=len(values), metrics={"mean": mean})
        )
    ids = list(dict.fromkeys(each.id for each in samples))
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=began,
            task=source.name,
            task_id=f"{run.spec.point_id}-{policy}",
            eval_id=f"{run.spec.run_id}-{policy}",
            run_id=run.spec.run_id,
            task_args=to_json(run.spec.params),
            model=f"harness/{policy}",
            dataset=EvalDataset(name=source.name, samples=len(ids), sample_ids=ids),
            config=EvalConfig(epochs=max(each.epoch for each in samples)),
            packages={"spark-article-harness": __version__},
            metadata={**tags(run), "policy": policy},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=sum(each.error is None for each in samples),
            scores=scores,
        ),
        samples=samples,
    )


def _sample(rollout: AnyRollout, tasks: Mapping[str, Task]) -> Any:
    from inspect_ai._util.error import EvalError  # noqa: PLC0415 - an extra
    from inspect_ai.log import EvalSample  # noqa: PLC0415
    from inspect_ai.model import ModelOutput  # noqa: PLC0415

    said = messages(rollout, tasks)
    first = next((at for at, each in enumerate(said) if each.role is Role.ASSISTANT), len(said))
    replies = [each.content for each in said if each.role is Role.ASSISTANT]
    error = None
    if rollout.is_error:
        error = EvalError(message=rollout.error, traceback="", traceback_ansi="")
    return EvalSample(
        id=rollout.task_id,
        epoch=rollout.sample + 1,
        input=[_message(each) for each in said[:first]],
        target="",
        messages=[_message(each) for each in said],
        output=ModelOutput.from_content(
            f"harness/{rollout.policy}", replies[-1] if replies else ""
        ),
        scores=_scores(rollout),
        metadata={
            "stop_reason": rollout.stop_reason.value,
            "turn_rewards": list(rollout.turn_rewards),
            "settings": rollout.settings,
            "engine": rollout.engine,
            "weights": rollout.served,
        },
        total_time=rollout.timings.total_s,
        error=error,
        turn_count=len(rollout.turn_rewards),
    )


def _message(given: Message) -> Any:
    from inspect_ai.model import (  # noqa: PLC0415 - an extra
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
    )

    kinds = {
        Role.SYSTEM: ChatMessageSystem,
        Role.USER: ChatMessageUser,
        Role.ASSISTANT: ChatMessageAssistant,
    }
    return kinds[given.role](content=given.content)


def _scores(rollout: AnyRollout) -> dict[str, Any]:
    """Return what a rollout earned; one that broke has earned neither much nor little."""
    from inspect_ai.scorer import Score  # noqa: PLC0415 - an extra

    if rollout.reward is None:
        return {}
    scores = {"reward": Score(value=rollout.reward)}
    episode: Any = rollout.episode
    if isinstance(episode, FileEpisode):
        if episode.grade is not None:
            failed = [f"{each.kind} {each.path}: {each.detail}" for each in episode.grade.results]
            held = [each.passed for each in episode.grade.results]
            why = "; ".join(each for each, ok in zip(failed, held, strict=True) if not ok)
            scores["passed"] = Score(value=float(episode.grade.passed), explanation=why or None)
    else:
        scores["passed"] = Score(value=float(episode.is_right), answer=episode.answer)
    return scores
