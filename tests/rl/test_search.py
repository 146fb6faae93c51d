"""The made world behind its real retriever, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from harness.workloads.envs.search.bm25 import Bm25
from harness.workloads.envs.search.retriever_server import retriever_service
from harness.workloads.envs.search.world import World
from harness.workloads.inference.service import ServiceDied

_WORLD = World(42, 40)


def test_every_fact_is_the_first_that_its_phrase_finds() -> None:
    retriever = Bm25(_WORLD.passages)
    for fact in _WORLD.facts:
        assert retriever.search(fact.phrase, 3)[0].contents == fact.passage


def test_scores_fall_and_never_reach_zero() -> None:
    hits = Bm25(_WORLD.passages).search(_WORLD.facts[0].phrase, 50)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


@pytest.mark.parametrize("query", ["", "of the", "Unheardof", "?"])
def test_what_no_passage_says_finds_nothing(query: str) -> None:
    assert Bm25(_WORLD.passages).search(query, 3) == ()


def test_equal_scores_keep_the_passages_order() -> None:
    hits = Bm25(["b sun", "a sun", "c sun", "moon light"]).search("sun", 3)
    assert [hit.contents for hit in hits] == ["b sun", "a sun", "c sun"]


def test_the_service_finds_the_same_and_ends_with_its_block(tmp_path: Path) -> None:
    here, before = Bm25(_WORLD.passages), set(psutil.Process().children(recursive=True))
    with retriever_service(_WORLD.passages, tmp_path) as retriever:
        (service,) = set(psutil.Process().children(recursive=True)) - before
        for fact in _WORLD.facts[:20]:
            assert retriever.search(fact.phrase, 3) == here.search(fact.phrase, 3)
    assert not service.is_running()


def test_a_service_that_has_ended_is_no_stumble(tmp_path: Path) -> None:
    """It ends the run (`harness.workloads.rl.runner`), whatever share of its rollouts is played."""
    before = set(psutil.Process().children(recursive=True))
    with retriever_service(_WORLD.passages, tmp_path) as retriever:
        (service,) = set(psutil.Process().children(recursive=True)) - before
        assert retriever.search(_WORLD.facts[0].phrase, 3)
        service.kill()
        with pytest.raises(ServiceDied, match="service retriever ended with exit code -9"):
            retriever.search(_WORLD.facts[0].phrase, 3)
