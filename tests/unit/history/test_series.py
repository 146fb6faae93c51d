import math
import random
from dataclasses import replace

from harness.history.pairs import Outcome
from harness.history.rows import Accepted, HistoryFigure, HistoryRows, Renamed
from harness.history.series import NightState, Tonight, judge, oriented, series_of
from harness.workloads.api.declare import Better
from tests.unit.history.builders import METRICS, finding, history, night


def tonight(rows: HistoryRows) -> Tonight:
    series, _ = series_of(rows, METRICS)
    (seen,) = judge(rows, series, METRICS)
    return seen


def noise(count: int, seed: int = 0) -> list[float]:
    draw = random.Random(seed)  # noqa: S311 - noise
    return [100 * math.exp(draw.gauss(0, 0.005)) for _ in range(count)]


def test_a_young_history_says_how_young_it_is() -> None:
    seen = tonight(history(noise(5)))
    assert (seen.state, seen.why) == (NightState.TOO_FEW, "5 nights since the baseline")


def test_a_loss_is_suspected_and_the_good_version_is_of_the_baseline() -> None:
    seen = tonight(history([*noise(30), 90.0]))
    assert seen.state is NightState.SUSPECTED
    assert -0.11 < seen.effect < -0.09
    assert seen.good is not None
    assert seen.good.id == "night-25"


def test_a_dirty_night_is_no_version_to_go_back_to() -> None:
    rows = history([*noise(30), 90.0])
    nights = [replace(each, dirty=True) if each.id == "night-25" else each for each in rows.nights]
    seen = tonight(replace(rows, nights=tuple(nights)))
    assert seen.good is not None
    assert seen.good.id == "night-24"


def test_a_loss_that_is_seen_late_is_compared_with_the_version_before_it() -> None:
    late = 0
    for seed in range(20):
        nights = noise(34, seed)
        nights[30:] = [0.985 * each for each in nights[30:]]  # three times the noise
        for last in range(31, 35):
            seen = tonight(history(nights[:last]))
            if seen.state in {NightState.SUSPECTED, NightState.DOUBTED}:
                assert seen.good is not None
                assert int(seen.good.id.removeprefix("night-")) < 30
                late += last > 31
    assert late


def test_a_gain_is_told_and_not_suspected() -> None:
    assert tonight(history([*noise(30), 110.0])).state is NightState.BETTER


def test_of_a_latency_more_is_worse() -> None:
    def of(value: float) -> Tonight:
        figures = [HistoryFigure(metric="latency", unit="ms", value=value)]
        nights = [
            night(at, [HistoryFigure(metric="latency", unit="ms", value=each)])
            for at, each in enumerate(noise(30))
        ]
        return tonight(HistoryRows(nights=(*nights, night(30, figures))))

    assert of(110.0).state is NightState.SUSPECTED
    assert of(90.0).state is NightState.BETTER


def test_a_confirmed_loss_is_known_until_it_is_accepted() -> None:
    nights = [*noise(30), *(0.95 * each for each in noise(4, 1))]
    alarm = finding(30, Outcome.REGRESSED)
    seen = tonight(history(nights, [alarm]))
    assert seen.state is NightState.KNOWN
    assert seen.open == alarm
    accepted = Accepted(id="a", time=alarm.time, finding=alarm.id, why="more work is done")
    after = tonight(replace(history(nights, [alarm]), accepted=(accepted,)))
    assert after.state is NightState.TOO_FEW


def test_a_figure_that_recovered_is_no_alarm() -> None:
    nights = [*noise(30), *(0.95 * each for each in noise(4, 1)), *noise(3, 2)]
    assert tonight(history(nights, [finding(30, Outcome.REGRESSED)])).state is NightState.NOTHING


def test_a_further_loss_is_suspected_on_top_of_a_known_one() -> None:
    alarm = finding(30, Outcome.REGRESSED)
    nights = [*noise(30), *(0.95 * each for each in noise(20, 1)), 80.0]
    assert tonight(history(nights, [alarm])).state is NightState.SUSPECTED


def test_what_the_machine_explains_is_not_suspected() -> None:
    rows = history([*noise(30), 90.0])
    probed = [
        replace(each, probe={"matmul_tflop_s": 81.0 if each.id == "night-30" else 91.5})
        for each in rows.nights
    ]
    assert tonight(replace(rows, nights=tuple(probed))).state is NightState.HOST


def test_a_unit_is_converted_and_one_of_another_kind_begins_anew() -> None:
    latency = [
        night(at, [HistoryFigure(metric="latency", unit=unit, value=value)])
        for at, (unit, value) in enumerate([("token", 5.0), ("s", 0.2), ("ms", 201.0)])
    ]
    series, problems = series_of(HistoryRows(nights=tuple(latency)))
    assert series[0].values == [200.0, 201.0]
    assert "latency was in token and is in ms" in str(problems[0])


def test_a_renamed_metric_goes_on_where_that_is_declared() -> None:
    old = [night(0, [HistoryFigure(metric="speed", unit="token/s", value=99.0)]), night(1, 100.0)]
    assert len(series_of(HistoryRows(nights=tuple(old)))[0]) == 2
    renamed = Renamed(id="r", time="", old="speed", new="throughput", why="the field's word")
    (one,), _ = series_of(HistoryRows(nights=tuple(old), renamed=(renamed,)))
    assert one.values == [99.0, 100.0]


def test_another_question_and_another_device_are_other_series() -> None:
    nights = (night(0, 1.0), night(1, 1.0, point="other"), night(2, 1.0, device="NVIDIA H200"))
    assert len(series_of(HistoryRows(nights=nights))[0]) == 3


def test_figures_around_zero_are_shares_of_their_size() -> None:
    assert oriented([-2.0, 4.0, 2.0], Better.HIGHER) == [-1.0, 2.0, 1.0]
    assert oriented([0.0, 0.0], Better.LOWER) is None
    assert oriented([1.0, math.e], Better.LOWER) == [0.0, -1.0]


def test_three_hundred_figures_raise_hardly_a_suspicion() -> None:
    draw = random.Random(3)  # noqa: S311 - noise
    nights = []
    for at in range(40):
        figures = [
            HistoryFigure(
                metric="throughput",
                unit="token/s",
                value=math.exp(draw.gauss(0, 0.01)),
                where={"row": row},
            )
            for row in range(300)
        ]
        nights.append(night(at, figures))
    rows = HistoryRows(nights=tuple(nights))
    series, _ = series_of(rows, METRICS)
    states = [each.state for each in judge(rows, series, METRICS)]
    assert len(states) == 300
    assert states.count(NightState.NOTHING) >= 299
