"""Parameters of a search loop. Loads no torch."""

from __future__ import annotations

from harness.records import record
from harness.workloads.api.declare import ServiceParams, param


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
    guardrails: str = param(
        "closed",
        doc="guardrails and held-out tokens: as published, or with the holes closed",
        choices=("published", "closed"),
    )
    search_space: str = param(
        "article", doc="the menu and its baseline", choices=("article", "small")
    )
    precision: str = param(
        "menu",
        doc="precision of the baseline; menu: the search space's",
        choices=("menu", "bf16", "fp8", "fp32"),
    )
    iterations: int = param(50, doc="proposals", unit="count", low=1, high=5000)
    hill_climb: bool = param(
        False,
        doc="hill climbing, as in article 35: proposals change the last kept; else the "
        "baseline, as in article 22",
    )
    min_improvement: float = param(
        0.005,
        doc="a keep improves by at least this, or by more where it hill_climb",
        low=0.0,
        high=0.5,
    )
    reseed_candidates: bool = param(
        True,
        doc="each evaluation has its own initial weights, as published; else all share them",
    )
    history: int = param(
        5, doc="iterations in the window that a proposer sees", unit="count", low=0
    )
    history_window: int = param(5, doc="iterations that a window shows", unit="count", low=0)
    num_noise_samples: int = param(
        8, doc="further evaluations of the baseline, each from other weights", unit="count", low=2
    )
    alpha: float = param(
        0.05, doc="chance of any false keep that the noise rule allows itself", low=1e-6, high=0.5
    )
    device: str = param("cuda", doc="where candidates are trained", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)
    dropout: float = param(
        0.1, doc="embedding, attention weights and residual branches", low=0.0, high=0.9
    )
    memory_gib: float = param(
        4.0, doc="memory limit of an evaluation on the CPU, above an idle one", unit="GiB", low=0.05
    )
    timeout_s: float = param(600.0, doc="most that any evaluation takes", unit="s", low=0.1)
    eval_timeout_factor: float | None = param(
        None,
        doc="time limit of a candidate as a multiple of the baseline's time",
        unit="x",
        low=1.0,
    )
    eval_flop_factor: float | None = param(
        None,
        doc="most floating-point operations that a candidate trains for, as a multiple of the "
        "baseline's: a limit that no clock decides",
        unit="x",
        low=1.0,
    )
    corpus: str = param(
        "source",
        doc="training data: tokens sampled from a source, or article 20's wikitext-103",
        choices=("source", "wikitext"),
    )
    proposer_base_url: str = param(
        "http://127.0.0.1:8000/v1",
        doc="where the language model is served; empty: the run serves it beside the search",
    )
    proposer_model: str = param(
        "meta/llama-3.1-8b-instruct",
        doc="its name there; the published model as organisation/name@revision where the run "
        "serves it",
    )
    temperature: float = param(0.5, doc="of its answers", low=0.0, high=2.0)
    max_new_tokens: int = param(200, doc="of an answer", unit="token", low=1)
    answer_timeout_s: float = param(60.0, doc="for one answer", unit="s", low=1.0)


@record
class LoopParams(SearchParams):
    """One loop; the defaults are article 22's."""

    proposer_context: str = param(
        "window",
        doc="what a proposer sees of the past: only the best, the last iterations as in "
        "article 22, or the record as in article 35",
        choices=("none", "window", "lineage"),
    )
    kills: int = param(0, doc="how often the workload kills the loop", unit="count", low=0)


SERVICES = (
    ServiceParams(
        role="proposer",
        address="proposer_base_url",
        model="proposer_model",
        is_asked=lambda params: params.proposer == "llm" and bool(params.proposer_base_url),
    ),
)
