"""Make the policy again: train it, measure it, and write it with its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen2ForCausalLM

from harness.workloads.envs.files.personas import Split, slots, split_of
from harness.workloads.envs.files.task import Task
from harness.workloads.envs.files.template_author import TemplateAuthor
from harness.workloads.tiny_models.checkpoint import LOSS_STEPS, Card, Skill, hashes, write_card
from harness.workloads.tiny_models.recipe import Recipe
from harness.workloads.tiny_models.skill import measure
from harness.workloads.tiny_models.tokenizer import save_tokenizer, train_tokenizer
from harness.workloads.tiny_models.train import Progress, train

_TEMPERATURES = (0.0, 0.2, 1.0)  # 0.2 is article 32's


def rebuild(out: Path, recipe: Recipe, listen: Callable[[Progress], None]) -> Card:
    """Train a policy by `recipe` into the folder `out`; on one thread, for minutes.

    Args:
        out: made where it does not exist; what lies there under the policy's names is replaced.
        recipe: how.
        listen: is told of every step.
    """
    torch.set_num_threads(1)
    tokenizer = train_tokenizer()
    steps: list[Progress] = []

    def hear(progress: Progress) -> None:
        steps.append(progress)
        listen(progress)

    tasks = held_out()
    skill: dict[str, tuple[Skill, ...]] = {}
    for phase, model in train(recipe, tokenizer, hear):
        if phase.makes:
            skill[phase.makes] = tuple(
                measure(model, tokenizer, tasks, temperature=each, seed=recipe.seed)
                for each in _TEMPERATURES
            )
            save(model, tokenizer, out)
    card = Card(
        recipe=recipe.digest,
        seed=recipe.seed,
        torch=torch.__version__,
        losses=losses_of(recipe, steps),
        skill=skill,
        files=hashes(out),
    )
    write_card(out, card)
    return card


def held_out() -> list[Task]:
    """Return the tasks that no policy is trained on: 158, in the article's order."""
    author = TemplateAuthor()
    return [author.write(slot) for slot in slots() if split_of(slot.task_id) is Split.HELD_OUT]


def mean_losses(losses: Sequence[float]) -> tuple[float, ...]:
    """Return the mean of every `LOSS_STEPS` losses."""
    starts = range(0, len(losses), LOSS_STEPS)
    return tuple(round(fmean(losses[start : start + LOSS_STEPS]), 4) for start in starts)


def losses_of(recipe: Recipe, steps: Sequence[Progress]) -> dict[str, tuple[float, ...]]:
    """Return the mean losses of each phase, by its name."""
    return {
        phase.name: mean_losses([each.loss for each in steps if each.phase == phase])
        for phase in recipe.phases
    }


def save(model: Qwen2ForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write what transformers and vLLM load the policy from."""
    out.mkdir(parents=True, exist_ok=True)
    end = model.config.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end)
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)
