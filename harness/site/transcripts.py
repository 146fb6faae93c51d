"""Rollouts as pages: what an agent said and did, what came back, how it was graded.

Everything in a rollout was written by a model or by its commands, so it is data: control characters
are dropped, markup is shown as text, and what is long is cut, with how much was left out. A page
holds no more than `MOST_ROLLOUTS`, and a log that is damaged is shown up to there.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.printable import printable_lines
from harness.reading import read_json
from harness.records import FinishedRun, record
from harness.report import clean
from harness.results.store import RunStore

ROLLOUTS = "rollouts.jsonl"  # in the folder of a step that plays (`harness.workloads.rl.rollout`)
MOST_ROLLOUTS = 40  # of a page
MOST_CHARACTERS = 4000  # of one reply, command or output
MOST_TURNS = 60
_MOST_LINE_BYTES = 16 * 2**20
_MOST_PASSAGES = 10
_MOST_WORD = 200


@record
class Part:
    """A piece of a turn: what it is, and its text."""

    label: str
    text: str


@record
class ShownTurn:
    """One turn: the parts in their order."""

    parts: tuple[Part, ...]
    entropy: float | None = None
    num_tokens: int | None = None


@record
class Check:
    """What one assertion of the grade says."""

    kind: str
    path: str
    passed: bool
    detail: str


@record
class Transcript:
    """One rollout as a page shows it.

    Attributes:
        reward: None where it broke.
        advantage: the reward against those of its group, in their standard deviations; None for a
            group of one or of equal rewards.
    """

    task: str
    policy: str
    sample: str
    stop_reason: str
    reward: float | None
    turn_rewards: tuple[float, ...]
    turns: tuple[ShownTurn, ...]
    checks: tuple[Check, ...]
    verdict: str
    error: str
    left_out: int = 0
    advantage: float | None = None

    @property
    def summary(self) -> str:
        """The rollout in a line."""
        parts = [f"task {self.task}", f"policy {self.policy}", f"sample {self.sample}"]
        return ", ".join([*parts, self.stop_reason])


@record
class TranscriptLog:
    """The rollouts of one step of a run.

    Attributes:
        damaged: why no more of it can be read; empty where all of it was.
    """

    step: str
    run: str
    transcripts: tuple[Transcript, ...]
    num_rollouts: int
    damaged: str = ""


def transcript_logs(runs: Sequence[FinishedRun], store: RunStore) -> Iterator[TranscriptLog]:
    """Yield the rollouts of each step of some runs that played; those of a step once."""
    seen: set[str] = set()
    for run in runs:
        for step in run.outcome.steps:
            path = store.artefacts.files(step.key) / ROLLOUTS
            if step.key not in seen and path.is_file():
                seen.add(step.key)
                yield read_log(path, step.name, run.spec.run_id)


def read_log(path: Path, step: str, run: str) -> TranscriptLog:
    """Return the rollouts of a file, the first of them whole; a torn or wrong line ends it."""
    found: list[Mapping[str, Any]] = []
    number, damaged = 0, ""
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE_BYTES + 1):
            number += 1
            try:
                value = read_json(line, max_bytes=_MOST_LINE_BYTES, mend=True)
            except ValueError as error:
                damaged = f"line {number} {clean.plain(str(error))[:_MOST_WORD]}"
                break
            if not isinstance(value, dict):
                damaged = f"line {number} is no rollout"
                break
            found.append(value)
    groups = _rewards_of_groups(found)
    return TranscriptLog(
        step=_word(step),
        run=_word(run),
        transcripts=tuple(
            transcript(each, groups.get(_group(each), ())) for each in found[:MOST_ROLLOUTS]
        ),
        num_rollouts=len(found),
        damaged=damaged,
    )


def transcript(rollout: Mapping[str, Any], rewards: Sequence[float] = ()) -> Transcript:
    """Return a rollout for people, whatever its environment; what is missing is left out.

    Args:
        rollout: as its log holds it.
        rewards: of its whole group, for its advantage.
    """
    episode = _mapping(rollout.get("episode"))
    trace = _list(_mapping(rollout.get("trace")).get("turns"))
    turns = [_turn(_mapping(each)) for each in _list(episode.get("turns"))]
    turns = turns or [_call(_mapping(each)) for each in _list(episode.get("calls"))]
    if episode.get("answer") is not None:
        turns.append(ShownTurn(parts=(Part(label="answer", text=_text(episode["answer"])),)))
    shown = [
        ShownTurn(parts=turn.parts, entropy=_entropy(trace, at), num_tokens=_num_tokens(trace, at))
        for at, turn in enumerate(turns[:MOST_TURNS])
    ]
    checks = [
        Check(
            kind=_word(each.get("kind")),
            path=_word(each.get("path")),
            passed=each.get("passed") is True,
            detail=_word(each.get("detail")),
        )
        for each in map(_mapping, _list(_mapping(episode.get("grade")).get("results")))
    ]
    reward = _number(rollout.get("reward"))
    return Transcript(
        task=_word(rollout.get("task_id")),
        policy=_word(rollout.get("policy")),
        sample=_word(rollout.get("sample")),
        stop_reason=_word(rollout.get("stop_reason")),
        reward=reward,
        turn_rewards=tuple(
            number
            for each in _list(rollout.get("turn_rewards"))[:MOST_TURNS]
            if (number := _number(each)) is not None
        ),
        turns=tuple(shown),
        checks=tuple(checks),
        verdict=_verdict(episode, checks),
        error=_text(rollout.get("error") or ""),
        left_out=max(0, len(turns) - MOST_TURNS),
        advantage=_advantage(reward, rewards),
    )


def _turn(turn: Mapping[str, Any]) -> ShownTurn:
    """Return a turn of a file task: the reply, the command that it holds, and what came back."""
    action, back = _mapping(turn.get("action")), _mapping(turn.get("observation"))
    parts = [("reply", turn.get("response")), ("command", action.get("command"))]
    if back:
        ended = f"exit code {_word(back.get('exit_code'))}"
        ended += ", timed out" if back.get("timed_out") is True else ""
        parts += [("output", back.get("stdout")), ("errors", back.get("stderr")), ("", ended)]
    parts.append(("not understood", turn.get("parse_error")))
    return ShownTurn(
        parts=tuple(Part(label=name, text=_text(text)) for name, text in parts if text)
    )


def _call(call: Mapping[str, Any]) -> ShownTurn:
    """Return a search: what was asked, and the passages that were found."""
    passages = _list(call.get("passages"))
    parts = [Part(label="search", text=_text(call.get("query") or ""))]
    parts += [Part(label="found", text=_text(each)) for each in passages[:_MOST_PASSAGES]]
    return ShownTurn(parts=tuple(parts))


def _verdict(episode: Mapping[str, Any], checks: Sequence[Check]) -> str:
    if checks:
        return f"{sum(each.passed for each in checks)} of {len(checks)} assertions hold"
    if isinstance(episode.get("is_right"), bool):
        return "right" if episode["is_right"] else "wrong"
    return "not graded"


def _group(rollout: Mapping[str, Any]) -> tuple[str, str]:
    return _word(rollout.get("policy")), _word(rollout.get("task_id"))


def _rewards_of_groups(found: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[float]]:
    groups: dict[tuple[str, str], list[float]] = {}
    for each in found:
        reward = _number(each.get("reward"))
        if reward is not None:
            groups.setdefault(_group(each), []).append(reward)
    return groups


def _advantage(reward: float | None, rewards: Sequence[float]) -> float | None:
    if reward is None or len(rewards) < 2:  # noqa: PLR2004 - a group of one has no advantage
        return None
    spread = statistics.pstdev(rewards)
    return (reward - statistics.fmean(rewards)) / spread if spread > 0 else None


def _entropy(trace: Sequence[Any], at: int) -> float | None:
    return _number(_mapping(trace[at]).get("entropy")) if at < len(trace) else None


def _num_tokens(trace: Sequence[Any], at: int) -> int | None:
    reply = _mapping(trace[at]).get("reply") if at < len(trace) else None
    return len(reply) if isinstance(reply, list) else None


# --- what a model wrote ---------------------------------------------------------------------------


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _word(value: object) -> str:
    """Return a name in one short line."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return clean.plain(text[: _MOST_WORD * 4])[:_MOST_WORD]


def _text(value: object) -> str:
    """Return a text with its lines, without control characters, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value)
    kept = printable_lines(text[:MOST_CHARACTERS])
    left_out = len(text) - MOST_CHARACTERS
    return f"{kept}\n[{left_out:,} more characters]" if left_out > 0 else kept
