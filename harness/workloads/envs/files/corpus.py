"""What a model is shown to imitate: graded rollouts of others, as its own tokens.

Article 32 imitates a model's rollouts: those that pass, and those in which three assertions of four
hold (`worth_imitating`). None of its 42 ended with a clean stop, and a model trained on them never
stops either. Its rollouts are not published, and a machine without such a model has none of its
own. There the same fault is made on purpose: `NEVER_STOPPING` does a task by its author's commands,
and then looks around until its turns are over. Its demonstrations are perfect but for the end;
those of `players.ORACLE` have the end too, and a share of them among the others makes the fault
milder.

A demonstration is tokenised from its text, as whoever gave it may have had another tokenizer. What
a model drew itself is learnt from its trace instead (`rl.example.traced`).

Trained is what the agent says, its end token included. The article's mask also covers the tokens
that open an agent's message, which no agent ever draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.workloads.envs.files.grade import MAX_TURNS
from harness.workloads.envs.files.players import ScriptedFilePolicy
from harness.workloads.envs.files.protocol import conversation
from harness.workloads.envs.files.rollout import FileRollout
from harness.workloads.envs.files.task import Task
from harness.workloads.inference.chat_template import ChatTemplate
from harness.workloads.training.example import Example, traced
from harness.workloads.training.trace import Trace, TurnTrace

NEAR_MISS = 0.75  # share of the assertions that hold; article 32, section "The corpus"
LOOK_AROUND = "ls"  # what the article's trained model repeats until its turns are over


def _work_and_look_around(task: Task) -> Sequence[str]:
    return (*task.oracle, *(LOOK_AROUND,) * MAX_TURNS)[:MAX_TURNS]


NEVER_STOPPING = ScriptedFilePolicy(name="never-stopping", commands=_work_and_look_around)


def worth_imitating(rollouts: Iterable[FileRollout]) -> tuple[FileRollout, ...]:
    """Return the rollouts that pass or nearly do."""
    return tuple(each for each in rollouts if _share_held(each) >= NEAR_MISS)


def examples(
    rollouts: Iterable[FileRollout], tasks: Mapping[str, Task], chat_template: ChatTemplate
) -> tuple[Example, ...]:
    """Return the rollouts as sequences whose replies are trained.

    Args:
        rollouts: of whomever.
        tasks: theirs, by id.
        chat_template: of the model that will be trained.
    """
    return tuple(traced(retold(each, tasks[each.task_id], chat_template)) for each in rollouts)


def retold(rollout: FileRollout, task: Task, chat_template: ChatTemplate) -> Trace:
    """Return a rollout in the tokens of another model, which drew none of them: no probabilities.

    The listing is that of the task's workspace, which is what the agent was shown.
    """
    listing, prompt_style = sorted(task.workspace), rollout.prompt_style
    opening = conversation(task.intent, listing, (), prompt_style)
    exchange = conversation(task.intent, listing, rollout.turns, prompt_style)[len(opening) :]
    replies = [chat_template.said(message.content) for message in exchange[::2]]
    answers = [message.content for message in exchange[1::2]]  # none to a stop
    shown = [
        chat_template.opening(opening),
        *(chat_template.following(*each) for each in zip(replies, answers, strict=False)),
    ]
    turns = (
        TurnTrace(context=context, reply=reply, logprobs=())
        for context, reply in zip(shown, replies, strict=False)
    )
    return Trace(turns=tuple(turns))


def _share_held(rollout: FileRollout) -> float:
    graded = rollout.grade
    if graded is None or not graded.num_total:
        return 0.0
    return graded.num_passed / graded.num_total
