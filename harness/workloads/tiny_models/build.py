"""Train a tiny model from scratch, measure it, and write it.

All models have one architecture, one training loop and one kind of recipe. They differ in what
`TinyModel` names: their words, their conversations, and how their skill is measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import GenerationConfig

from harness.records import to_json
from harness.workloads.tiny_models import files, recipe, search, skill
from harness.workloads.tiny_models.checkpoint import LOSS_STEPS, ModelCard, hashes
from harness.workloads.tiny_models.recipe import Recipe
from harness.workloads.tiny_models.samples import OpenConversations, SequenceSampler
from harness.workloads.tiny_models.tokenizer import save_tokenizer, train_tokenizer
from harness.workloads.tiny_models.train import TrainingProgress, train


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """What one model is made of.

    Attributes:
        recipe: how it is trained.
        texts: yields what its tokenizer is trained on.
        phrases: that are one token each.
        vocabulary: tokens before the phrases, all bytes included.
        conversations: samples its training data.
        measure: returns the scores of the model in a folder, given a seed; None if nothing is
            measured.
    """

    recipe: Recipe
    texts: Callable[[], Iterable[str]]
    phrases: Sequence[str]
    vocabulary: int
    conversations: OpenConversations
    measure: Callable[[Path, int], object] | None


FILES = TinyModel(
    recipe=recipe.FILES,
    texts=files.texts,
    phrases=files.PHRASES,
    vocabulary=files.VOCABULARY,
    conversations=files.conversations,
    measure=skill.measure_files,
)
SEARCH = TinyModel(
    recipe=recipe.SEARCH,
    texts=search.texts,
    phrases=search.PHRASES,
    vocabulary=search.VOCABULARY,
    conversations=search.conversations,
    measure=skill.measure_search,
)
MODELS = {"files": FILES, "search": SEARCH}


def build(out: Path, model: TinyModel, listen: Callable[[TrainingProgress], None]) -> ModelCard:
    """Train a model into the folder `out`, for minutes, and return its card.

    After each phase that makes a policy the policy is written and measured; the last one stays.

    Args:
        out: created if missing; files with the model's names are replaced.
        model: its configuration.
        listen: is told of every step.
    """
    tokenizer = train_tokenizer(model.texts(), model.phrases, model.vocabulary)
    sampler = SequenceSampler(tokenizer, model.recipe.seed, model.conversations)
    losses: dict[str, list[float]] = defaultdict(list)

    def hear(progress: TrainingProgress) -> None:
        losses[progress.phase.name].append(progress.loss)
        listen(progress)

    skills: dict[str, Any] = {}
    for phase, policy in train(model.recipe, tokenizer, sampler, hear):
        if phase.makes:
            # write what transformers and vLLM load
            out.mkdir(parents=True, exist_ok=True)
            end = policy.config.eos_token_id
            policy.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end)
            policy.save_pretrained(out)
            save_tokenizer(tokenizer, out)
            if model.measure is not None:
                skills[phase.makes] = to_json(model.measure(out, model.recipe.seed))
    return ModelCard(
        recipe=model.recipe.digest,
        seed=model.recipe.seed,
        torch=torch.__version__,
        losses={name: mean_losses(each) for name, each in losses.items()},
        eval_results=skills,
        files=hashes(out),
    )


def mean_losses(losses: Sequence[float]) -> tuple[float, ...]:
    """Return the mean of every `LOSS_STEPS` losses."""
    starts = range(0, len(losses), LOSS_STEPS)
    return tuple(round(fmean(losses[start : start + LOSS_STEPS]), 4) for start in starts)
