"""Make the policy that searches again: train it, measure it, and write it with its card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer

from harness.workloads.envs.search.bm25 import Bm25
from harness.workloads.envs.search.demonstrations import NONE, Demonstrator, Faults
from harness.workloads.envs.search.rollout import Player, play_all
from harness.workloads.envs.search.skill import Skill, skill_of
from harness.workloads.envs.search.world import World
from harness.workloads.inference.chat_template import load_dialogue
from harness.workloads.inference.engine import Sampling
from harness.workloads.inference.transformers_engine import TransformersEngine
from harness.workloads.inference.vllm import Dtype, OnCpu, Serving
from harness.workloads.tiny_models.build import losses_of, save
from harness.workloads.tiny_models.checkpoint import hashes, write_card
from harness.workloads.tiny_models.recipe import Phase, Recipe
from harness.workloads.tiny_models.samples import Sample, Sampler
from harness.workloads.tiny_models.search_checkpoint import Card
from harness.workloads.tiny_models.search_recipe import (
    NAMES_PER_KIND,
    PHRASES,
    TOKENIZER_CONVERSATIONS,
    TOKENIZER_SEED,
    VOCABULARY,
    WASTE,
)
from harness.workloads.tiny_models.tokenizer import MAX_TOKENS, train_tokenizer
from harness.workloads.tiny_models.train import Progress, train

_HOPS = (1, 2, 3)
_TEMPERATURES = (0.0, 1.0)
_WORLD_SEED, _QUESTIONS = 1000, 120  # of the skill that the card states; no run plays in this world
_REPLY_TOKENS = 48


def rebuild(out: Path, recipe: Recipe, listen: Callable[[Progress], None]) -> Card:
    """Train a policy by `recipe` into the folder `out`; on one thread, for minutes.

    Args:
        out: made where it does not exist; what lies there under the policy's names is replaced.
        recipe: how.
        listen: is told of every step.
    """
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(_said(), PHRASES, VOCABULARY)
    steps: list[Progress] = []

    def hear(progress: Progress) -> None:
        steps.append(progress)
        listen(progress)

    skill: dict[str, dict[str, Skill]] = {}
    sampler = SearchSampler(tokenizer, recipe.seed)
    for phase, model in train(recipe, tokenizer, hear, sampler):
        if phase.makes:
            save(model, tokenizer, out)
            skill[phase.makes] = measure(out, recipe.seed)
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


class SearchSampler(Sampler):
    """Draws conversations that search; a phase's operations are its questions' facts at most."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        super().__init__(tokenizer, seed)
        self._demonstrator = Demonstrator(self._random, Bm25, NAMES_PER_KIND)

    def _task(self, phase: Phase) -> Sample:
        faults = Faults(give_up=phase.hazard, waste=WASTE * phase.hazard)
        return self.encode(self._demonstrator.draw(_HOPS[: phase.operations], faults))


def measure(folder: Path, seed: int) -> dict[str, Skill]:
    """Return what the policy in a folder can do in a world of its own, by temperature."""
    world = World(_WORLD_SEED, NAMES_PER_KIND)
    questions = world.questions(_WORLD_SEED, _QUESTIONS, _HOPS)
    dialogue = load_dialogue(folder)
    serving = Serving(
        model_dir=folder,
        name="policy",
        dtype=Dtype.FLOAT32,
        max_model_len=MAX_TOKENS,
        max_num_seqs=1,
        seed=seed,
        place=OnCpu(kv_cache_gib=1),
    )
    engine, retriever = TransformersEngine(serving, dialogue.end), Bm25(world.passages)
    return {
        f"{temperature:g}": skill_of(
            play_all(
                Player(
                    engine=engine,
                    dialogue=dialogue,
                    retriever=retriever,
                    sampling=Sampling(temperature=temperature, max_tokens=_REPLY_TOKENS, seed=seed),
                ),
                questions,
                samples=1,
                threads=1,
            )
        )
        for temperature in _TEMPERATURES
    }


def _said() -> Iterator[str]:
    """Yield what the tokenizer is trained on."""
    demonstrator = Demonstrator(Random(TOKENIZER_SEED), Bm25, NAMES_PER_KIND)  # noqa: S311
    for _ in range(TOKENIZER_CONVERSATIONS):
        yield from (each.content for each in demonstrator.draw(_HOPS, NONE))
