"""Search by meaning, with an encoder of random weights: what is nearest is what is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from harness.workloads.envs.search.dense import Dense
from harness.workloads.envs.search.retriever_server import retriever_service
from harness.workloads.envs.search.world import World

_PASSAGES = World(1, 10).passages


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    words = sorted({word for text in _PASSAGES for word in _words(text)} | {"query", "passage"})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", '"', ".", *words]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _words(text: str) -> list[str]:
    return text.lower().replace('"', " ").replace(".", " ").split()


def test_scores_are_cosines_and_fall(encoder: Path) -> None:
    hits = Dense(_PASSAGES, encoder).search("mayor", 5)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1.001 for score in scores)


def test_padding_changes_no_vector(encoder: Path) -> None:
    short, long = "The mayor.", "The mayor of a town. " * 20
    alone = Dense([short], encoder).search("mayor", 1)[0].score
    beside = {hit.contents: hit.score for hit in Dense([short, long], encoder).search("mayor", 2)}
    assert beside[short] == pytest.approx(alone, abs=1e-5)


def test_the_service_searches_by_meaning_too(encoder: Path, tmp_path: Path) -> None:
    here = Dense(_PASSAGES, encoder).search("mayor of a town", 3)
    with retriever_service(_PASSAGES, tmp_path, encoder) as retriever:
        there = retriever.search("mayor of a town", 3)
    assert [hit.contents for hit in there] == [hit.contents for hit in here]
