"""Parameters of a search loop. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import param


@record
class SearchParams:
    """All params of a search, except what its proposer sees of the past."""

    proposer: str = param(
        "random",
        doc="proposer: uniformly random, the article's proposals, a bandit that reads the "
        "record, answers that must be refused, a language model at base_url, or the small model, "
        "served here with output constrained to a JSON pattern",
        choices=("random", "replay", "bandit", "hostile", "llm", "served"),
    )
    rules: str = param(
        "closed",
        doc="guardrails and held-out tokens: as published, or with the holes closed",
        choices=("published", "closed"),
    )
    space: str = param("article", doc="search space and baseline", choices=("article", "small"))
    precision: str = param(
        "menu",
        doc="precision of the baseline; menu: the search space's",
        choices=("menu", "bf16", "fp8", "fp32"),
    )
    iterations: int = param(50, doc="proposals", unit="count", low=1, high=5000)
    climbs: bool = param(
        False,
        doc="hill climbing, as in article 35: proposals change the last kept; else the "
        "baseline, as in article 22",
    )
    accept_delta: float = param(
        0.005,
        doc="smallest improvement of a kept candidate; hill climbing: more than this",
        low=0.0,
        high=0.5,
    )
    own_weights: bool = param(
        True,
        doc="each evaluation has its own initial weights, as published; else all share them",
    )
    history: int = param(
        5, doc="iterations in the window that a proposer sees", unit="count", low=0
    )
    noise_draws: int = param(
        8,
        doc="extra evaluations of the baseline, each from other initial weights",
        unit="count",
        low=2,
    )
    level: float = param(
        0.05, doc="family-wise false-alarm rate of the noise rule", low=1e-6, high=0.5
    )
    device: str = param("cuda", doc="where candidates are trained", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)
    dropout: float = param(
        0.1, doc="embedding, attention weights and residual branches", low=0.0, high=0.9
    )
    memory_gib: float = param(
        4.0, doc="memory limit of an evaluation on the CPU, above an idle one", unit="GiB", low=0.05
    )
    timeout_s: float = param(600.0, doc="time limit of any evaluation", unit="s", low=0.1)
    budget: float | None = param(
        None,
        doc="time limit of a candidate as a multiple of the baseline's: CPU time on the CPU, by "
        "the clock on a GPU",
        unit="x",
        low=1.0,
    )
    corpus: str = param(
        "source",
        doc="training data: tokens sampled from a source, or article 20's wikitext-103",
        choices=("source", "wikitext"),
    )
    base_url: str = param("http://127.0.0.1:8000/v1", doc="address of the language model's server")
    model: str = param("meta/llama-3.1-8b-instruct", doc="model name on that server")
    temperature: float = param(0.5, doc="sampling temperature", low=0.0, high=2.0)
    max_tokens: int = param(200, doc="longest answer", unit="token", low=1)
    answer_timeout_s: float = param(60.0, doc="time limit of one answer", unit="s", low=1.0)


@record
class LoopParams(SearchParams):
    """One loop; the defaults are article 22's."""

    memory: str = param(
        "window",
        doc="what a proposer sees of the past: only the best, the last iterations as in "
        "article 22, or the record as in article 35",
        choices=("none", "window", "lineage"),
    )
    kills: int = param(0, doc="how often the workload kills the loop", unit="count", low=0)
