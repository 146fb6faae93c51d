"""A run in one line, and in a block: it fits, and what matters most is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.follow.remaining import Left
from harness.follow.text import RunView, block, one_line, rough
from harness.follow.told import Count
from harness.probes.channels import Channel

SEEN = RunView(
    name="a34 cpu 1/2",
    elapsed_s=754.0,
    left=Left(seconds=15_120.0, whole=True),
    phase=Count(what="train full", step=12, of=50),
    detail=Count(what="rollouts", step=5, of=32, unit="rollout"),
    values={"reward": 0.4123, "stops_pct": 83.3, "tokens_per_second": 210.4},
    pace_s=41.2,
    machine={
        Channel.MEMORY_USED_GIB: 31.25,
        Channel.NODE_POWER_W: 67.8,
        Channel.GPU_TEMPERATURE_C: 61.0,
        Channel.GPU_UTILISATION_PCT: 96.0,
    },
)


def test_a_line_at_80_columns_has_phase_step_figures_and_time_left() -> None:
    assert one_line(SEEN, 80) == (
        "a34 cpu 1/2 | train full 12/50 | reward 0.412 | rollouts 5/32 | left 4 h 12 min"
    )
    assert one_line(SEEN, 60) == "a34 cpu 1/2 | train full 12/50 | 31.2 GiB | left 4 h 12 min"
    assert one_line(SEEN, 200) == (
        "a34 cpu 1/2 | train full 12/50 | reward 0.412 | rollouts 5/32 | stops 83.3 | "
        "tokens/s 210 | 31.2 GiB | 68 W | 61 °C | GPU 96 % | left 4 h 12 min"
    )


def test_a_run_that_has_told_nothing_has_a_line() -> None:
    seen = RunView(name="a24 cpu 1/3", elapsed_s=3.0, values={}, machine={})
    assert one_line(seen, 80) == "a24 cpu 1/3 | 3 s"
    assert block(seen, 80) == ["run     a24 cpu 1/3: running for 3 s", "phase   nothing told yet"]


def test_a_block_says_all_of_it() -> None:
    log = ["one", "\x1b[31mtwo\x1b[0m" + "x" * 200]
    beside = ["a34 cpu on spark-b: 2 s", "and 3 more"]
    lines = block(SEEN, 80, stored=["1 finished"], beside=beside, log=log)
    assert lines[0] == "run     a34 cpu 1/2: running for 12 min 34 s, about 4 h 12 min left"
    assert "phase   train full: step 12 of 50, 41.2 s a step; rollouts: rollout 5 of 32" in lines
    assert "machine 31.2 GiB, 68 W, 61 °C, GPU 96 %" in lines
    assert "stored  1 finished" in lines
    at = lines.index("beside  a34 cpu on spark-b: 2 s")
    assert lines[at + 1] == "        and 3 more"
    assert all(len(line) <= 80 and line.isprintable() for line in lines)


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.dictionaries(st.text(max_size=30), st.floats(allow_nan=False, allow_infinity=False)),
    st.integers(min_value=20, max_value=200),
)
def test_whatever_a_run_tells_the_line_fits_and_is_harmless(
    name: str, phase: str, values: dict[str, float], width: int
) -> None:
    seen = RunView(
        name=name,
        elapsed_s=1.0,
        left=Left(seconds=1e9, whole=False),
        phase=Count(what=phase, step=10**9, of=10**10),
        values=values,
        machine={},
    )
    line = one_line(seen, width)
    assert len(line) <= width
    assert line.isprintable()
    assert all(each.isprintable() for each in block(seen, width))


def test_times_are_rough() -> None:
    assert [rough(each) for each in (0.4, 59.4, 61.0, 4000.0)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 7 min",
    ]
