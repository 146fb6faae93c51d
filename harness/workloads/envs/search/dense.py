"""Search by meaning: passages and queries as vectors of intfloat/e5-base-v2, or a model like it.

The recipe is the model's own: ``query: `` and ``passage: `` before the texts, the mean of the last
hidden states, length 1, inner products. Every passage is compared, as the paper's flat index does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from harness.workloads.envs.search.retriever import Hit

_BATCH = 64
_MAX_TOKENS = 512


class Dense:
    """A retriever over `passages`; passages of equal score keep their order.

    Args:
        passages: what is searched.
        encoder: folder of the model.
    """

    def __init__(self, passages: Sequence[str], encoder: Path) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True)
        self._model = AutoModel.from_pretrained(encoder, local_files_only=True).to(device).eval()
        self._lock = threading.Lock()  # tokenizers are not made for threads
        self._passages = tuple(passages)
        texts = [f"passage: {passage}" for passage in passages]
        self._index_Pd = torch.cat(list(self._vectors(texts)))

    def search(self, query: str, count: int) -> tuple[Hit, ...]:
        """Return the `count` passages that are nearest, best first."""
        with self._lock:
            (query_1d,) = self._vectors([f"query: {query}"])
            scores_P = (self._index_Pd @ query_1d.T).squeeze(1)
            best = scores_P.sort(descending=True, stable=True)
        pairs = zip(best.indices[:count].tolist(), best.values[:count].tolist(), strict=True)
        return tuple(Hit(contents=self._passages[at], score=score) for at, score in pairs)

    @torch.inference_mode()
    def _vectors(self, texts: Sequence[str]) -> Iterator[Tensor]:
        """Yield the vectors of texts, batch by batch, each of length 1."""
        for start in range(0, len(texts), _BATCH):
            given = self._tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=_MAX_TOKENS,
                return_tensors="pt",
            ).to(self._model.device)
            hidden_BTd = self._model(**given).last_hidden_state
            mask_BT1 = given["attention_mask"].unsqueeze(-1)
            mean_Bd = (hidden_BTd * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
            yield functional.normalize(mean_Bd, dim=-1)
