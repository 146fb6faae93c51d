"""The five operations: by their definitions, at their limits, and on documents of known fate."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from harness.experiments.a20.prepare import mistakes
from harness.workloads.data.clean import (
    Fate,
    FilterLimits,
    clean,
    first_of_each,
    judge,
    ngram_shares,
    normalise_newlines,
    share_taken,
    symbol_share,
)
from harness.workloads.data.planted import COUNTS, PlantedKind, expected, planted
from harness.workloads.data.repair import repair

_LIMITS = FilterLimits()


def _words(count: int) -> str:
    return " ".join(f"word{number}" for number in range(count))


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("plain text\n", "plain text\n"),
        ("naïve café, 日本", "naïve café, 日本"),
        ("naÃ¯ve cafÃ©", "naïve café"),
        ("â€œquotedâ€\x9d", "“quoted”"),
        ("ÃƒÂ© twice over", "é twice over"),
        ("fish &amp; chips, &eacute;, P&EACUTE;REZ, &#65;", "fish & chips, é, PÉREZ, A"),
        ("&unknown; &amp without an end", "&unknown; &amp without an end"),
        ("&amp;\n<b>&amp;</b>\n&amp;", "&\n<b>&amp;</b>\n&amp;"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("it\x80s \x93so\x94", "it€s “so”"),
        ("a\x00b\x0bc\x7fd\ufeff\te\r\n", "abcd\te\r\n"),
        ("\ud83d\ude00 and a half \ud83d", "\U0001f600 and a half \ufffd"),
        ("one line cafÃ©\nand another, café", "one line café\nand another, café"),
    ],
)
def test_text_that_was_decoded_wrongly_is_mended(broken: str, mended: str) -> None:
    assert repair(broken) == mended
    assert repair(mended) == mended


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("a\n\nb", "a\n\nb"),
        ("a\n\n\nb\n\n\n\n\nc", "a\n\nb\n\nc"),
        ("a\r\n\r\n\r\n\r\nb", "a\r\n\r\nb"),
    ],
)
def test_three_line_ends_and_more_become_two(given: str, wanted: str) -> None:
    assert normalise_newlines(given) == wanted


@pytest.mark.parametrize(
    ("num_words", "fate"),
    [
        (0, Fate.SHORT),
        (49, Fate.SHORT),
        (50, Fate.KEPT),
        (100_000, Fate.KEPT),
        (100_001, Fate.LONG),
    ],
)
def test_both_ends_of_the_word_count_are_kept(num_words: int, fate: Fate) -> None:
    assert judge(_words(num_words), _LIMITS).fate is fate


def test_the_share_of_an_ngram_counts_every_occurrence_also_inside_words() -> None:
    text = "a b c x a b c y xa b cy"
    assert share_taken(text, "a b c") == pytest.approx(3 * 5 / len(text))
    assert ngram_shares(text, text.split(), _LIMITS)[0] == pytest.approx(15 / len(text))


def test_words_apart_by_more_than_a_space_make_an_ngram_that_is_nowhere() -> None:
    text = "a  b  c  a  b  c"
    assert ngram_shares(text, text.split(), _LIMITS)[0] == 0.0


def test_a_document_that_hangs_on_a_tie_is_counted() -> None:
    long_one, short_one = "extraordinarily " * 2 + "long", "a b c"
    text = f"{short_one} 1 {long_one} 2 {short_one} 3 {long_one} " + _words(40)
    limits = FilterLimits(min_words=5, max_ngram_share=0.15)
    judged = judge(text, limits)
    assert judged.fate is Fate.KEPT
    assert judged.undecided
    assert not judge(_words(60), limits).undecided


@pytest.mark.parametrize(
    ("word", "share"),
    [("#", 0.5), ("##", 0.0), ("#a", 0.0), ("...", 0.5), ("[…]", 0.5), ("....", 0.0)],
)
def test_a_symbol_is_an_ellipsis_or_a_lone_hash(word: str, share: float) -> None:
    assert symbol_share([word, "word"]) == share


@pytest.mark.parametrize("seed", [0, 20])
def test_every_planted_document_meets_the_fate_it_was_planted_for(seed: int) -> None:
    corpus = planted(seed)
    judged = clean((each.text for each in corpus), _LIMITS)
    assert mistakes(corpus, judged) == 0
    assert Counter(each.fate for each in corpus) == expected()
    kept = [each.text for each in judged if each.fate is Fate.KEPT]
    assert sum(first_of_each(kept)) == expected()[Fate.KEPT]


def test_what_is_planted_is_what_is_counted_and_the_same_bytes_everywhere() -> None:
    corpus = planted(0)
    assert Counter(each.kind for each in corpus) == COUNTS
    content = "\0".join(each.text for each in corpus).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == "f61fb4ea2d2594a3"
    assert expected(3) == {fate: 3 * count for fate, count in expected().items()}


def test_a_wrong_fate_and_a_wrong_text_are_mistakes() -> None:
    corpus = [each for each in planted(0) if each.kind is PlantedKind.MOJIBAKE][:3]
    judged = clean([each.text for each in corpus], _LIMITS)
    assert mistakes(corpus, judged) == 0
    strict = clean([each.text for each in corpus], FilterLimits(min_words=1000))
    assert mistakes(corpus, strict) == 3
    other = replace(judged[1], text=corpus[1].text)
    assert mistakes(corpus, [judged[0], other, judged[2]]) == 1
