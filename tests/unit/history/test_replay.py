"""The screen of the replay passes over nothing that the program suspects."""

import numpy as np
import pytest

from harness.history.baseline import GLANCES, LEAST, look

nights = pytest.importorskip("tests.bench.nights")
replay = pytest.importorskip("tests.bench.replay")


def test_what_the_screen_passes_over_is_not_suspected() -> None:
    random = np.random.default_rng(0)
    values = np.stack(
        [
            np.cumsum(random.normal(0, 0.004, nights.NIGHTS)) * (at % 2)
            + random.normal(0, 0.01, nights.NIGHTS)
            - 0.03 * (np.arange(nights.NIGHTS) >= 50)
            for at in range(8)
        ]
    )
    may, suspected = replay.screen(values), 0
    for one, passed in zip(values.tolist(), may, strict=True):
        for night in range(12, nights.NIGHTS):
            found = look(one[: night + 1])
            assert found is not None
            if found.p_value <= GLANCES and found.shift < -LEAST:
                suspected += 1
                assert passed[night]
    assert suspected > 10
    assert may.mean() < 0.3
