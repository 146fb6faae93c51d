"""How the small policy that searches is made, as data. Loads no torch.

It is the file agent's sister: the same architecture, copying heads and optimizers
(`recipe`), on other conversations and with a tokenizer of their words.
"""

from __future__ import annotations

from harness.workloads.tiny_models.recipe import Phase, Recipe, Source

NAMES_PER_KIND = 40  # of the worlds that it learns from
TOKENIZER_SEED, TOKENIZER_CONVERSATIONS = 7, 2000
VOCABULARY = 640  # with all bytes, before the phrases
# each stands before or after a name, so that a name has the same tokens wherever it is said
PHRASES = (
    *("<search>", "</search>", "<answer>", "</answer>"),
    *("What is the ", " of the ", " of ", "The ", " is "),
)
WASTE = 0.5  # wasted calls for each time that a demonstration gives up

RECIPE = Recipe(
    seed=1,
    context_weight=0.2,
    clip=1.0,
    muon_rate=0.02,
    adamw_rate=0.002,
    phases=(
        Phase(name="copy", source=Source.COPYING, steps=200, batch=48, warm_up=100, rates=(1, 1)),
        Phase(
            name="one fact", source=Source.TASKS, steps=200, batch=16, rates=(1, 1), operations=1
        ),
        Phase(
            name="skill",
            source=Source.TASKS,
            steps=600,
            batch=16,
            rates=(1.0, 0.05),
            makes="skilled",
        ),
        Phase(
            name="give up",
            source=Source.TASKS,
            steps=150,
            batch=16,
            rates=(0.1, 0.0),
            hazard=0.5,
            makes="base",
        ),
    ),
)
