"""The data path for any documents: duplicates, round trips, orders, shares."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workloads.data.clean import Fate, FilterLimits, first_of_each, judge, key, ngram_shares
from harness.workloads.data.loader import BatchShape, InOrder, Shuffled
from harness.workloads.data.pack import open_packed, pack
from harness.workloads.data.repair import repair
from harness.workloads.data.tokens import ByteTokenizer

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_SIMILAR = st.text("aAbB \n\t", max_size=5)  # many are the same but for case and spacing
_WORDS = st.lists(st.sampled_from(["a", "b", "c", "ab", "abc", "#", "..."]), max_size=40)


@given(st.lists(_SIMILAR, max_size=30))
def test_the_first_of_each_is_what_brute_force_finds(documents: list[str]) -> None:
    def same(one: str, other: str) -> bool:
        return one.lower().split() == other.lower().split()

    expected = [
        not any(same(text, earlier) for earlier in documents[:number])
        for number, text in enumerate(documents)
    ]
    assert list(first_of_each(documents)) == expected


@given(_SIMILAR, _SIMILAR)
def test_keys_are_equal_exactly_for_duplicates(one: str, other: str) -> None:
    assert (key(one) == key(other)) == (one.lower().split() == other.lower().split())


@settings(max_examples=50, deadline=None)
@given(st.lists(_TEXTS, min_size=1, max_size=8), st.integers(5, 50))
def test_what_is_packed_comes_back(documents: list[str], shard_tokens: int) -> None:
    tokenizer = ByteTokenizer()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "packed"
        pack(tokenizer.encode(documents), place, tokenizer.vocabulary, shard_tokens)
        packed = open_packed(place)
        ids = packed.read(0, packed.num_tokens)
    parts = np.split(ids, np.flatnonzero(ids == 256) + 1)[:-1]
    assert [tokenizer.decode(part[:-1]) for part in parts] == documents


@given(_WORDS)
def test_the_share_of_the_top_ngram_is_what_brute_force_finds(words: list[str]) -> None:
    text = " ".join(words)
    ngrams = [tuple(words[start : start + 3]) for start in range(len(words) - 2)]
    if not ngrams:
        assert ngram_shares(text, words, FilterLimits()) == [1.0]
        return
    most = max(map(ngrams.count, ngrams))
    top = [each for each in dict.fromkeys(ngrams) if ngrams.count(each) == most]
    shares = [1 - len(text.replace(" ".join(each), "")) / len(text) for each in top]
    found = ngram_shares(text, words, FilterLimits())
    assert np.allclose(found, shares[: len(found)])
    assert len(found) in (1, len(shares))


@given(_WORDS, st.integers(0, 50))
def test_a_document_is_kept_or_dropped_for_one_reason(words: list[str], fewest: int) -> None:
    judged = judge(" ".join(words), FilterLimits(min_words=fewest, max_words=30))
    if len(words) < fewest:
        assert judged.fate is Fate.SHORT
    elif len(words) > 30:
        assert judged.fate is Fate.LONG
    else:
        assert judged.fate in (Fate.KEPT, Fate.REPETITIVE, Fate.SYMBOLS)


@given(st.text(st.characters(), max_size=40))
def test_mended_text_has_nothing_left_to_mend(text: str) -> None:
    mended = repair(text)
    assert repair(mended) == mended


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 300), st.integers(0, 60))
def test_in_order_goes_back_to_the_start_where_a_batch_would_not_fit(
    batch_size: int, seq_len: int, spare: int, steps: int
) -> None:
    shape = BatchShape(batch_size=batch_size, seq_len=seq_len)
    num_tokens = batch_size * (seq_len + 1) + spare
    start = spare // 2
    order, cursor = InOrder(shape=shape, num_tokens=num_tokens, cursor=start), start
    for step in range(steps):
        if cursor + batch_size * (seq_len + 1) > num_tokens:
            cursor = 0
        assert order.cursor_at(step) == cursor
        cursor += batch_size * seq_len


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 300), st.integers(0, 9))
def test_an_epoch_has_no_stretch_twice(
    batch_size: int, seq_len: int, spare: int, seed: int
) -> None:
    shape = BatchShape(batch_size=batch_size, seq_len=seq_len)
    num_tokens = batch_size * (seq_len + 1) + spare
    order = Shuffled(shape=shape, num_tokens=num_tokens, seed=seed)
    starts = np.concatenate([order(step) for step in range(order.steps_per_epoch)])
    assert len(set(starts.tolist())) == len(starts) == batch_size * order.steps_per_epoch
    assert starts.max() + seq_len + 1 <= num_tokens
