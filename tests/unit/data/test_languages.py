"""Generated languages: what follows a word, how often, and the entropy that this comes to."""

from __future__ import annotations

import math

import pytest
import torch

from harness.workloads.data.languages import entropy_nats, language, relative, shares


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_shares_are_zipf_s() -> None:
    assert shares(3) == pytest.approx((6 / 11, 3 / 11, 2 / 11))
    assert math.fsum(shares(50)) == pytest.approx(1.0)


def test_the_entropy_of_two_branches() -> None:
    p, q = 2 / 3, 1 / 3
    assert entropy_nats(2) == pytest.approx(-p * math.log(p) - q * math.log(q))


def test_every_word_is_followed_by_its_own_successors_only() -> None:
    spoken = language(30, 4, _generator())
    texts = spoken.texts(200, 12, _generator(1))
    assert texts.shape == (200, 13)
    follows = spoken.successors_VK[texts[:, :-1]]  # (N, S, K)
    assert (follows == texts[:, 1:, None]).any(-1).all()
    assert all(len(set(row)) == 4 for row in spoken.successors_VK.tolist())


def test_they_follow_in_their_shares() -> None:
    spoken = language(20, 3, _generator())
    texts = spoken.texts(2000, 20, _generator(1))
    chosen = (spoken.successors_VK[texts[:, :-1]] == texts[:, 1:, None]).float().mean((0, 1))
    # 40,000 draws: a share of 0.55 is known within 0.01, four standard errors
    assert chosen.tolist() == pytest.approx(shares(3), abs=0.01)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_relatives_share_as_many_lists_as_asked(shared: float) -> None:
    old = language(200, 5, _generator())
    new = relative(old, shared, _generator(1))
    same = (old.successors_VK == new.successors_VK).all(-1).sum().item()
    assert same == 200 * shared


def test_a_seed_has_its_own_language() -> None:
    one, same, other = (language(50, 4, _generator(seed)).successors_VK for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
