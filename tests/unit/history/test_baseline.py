import math
import random

from harness.history.baseline import (
    FALSE_DISCOVERIES,
    FEWEST,
    GLANCES,
    LEAST,
    discoveries,
    explained,
    look,
    normalised,
)


def test_too_few_nights_say_nothing() -> None:
    assert look([0.0] * FEWEST) is None
    assert look([0.01 * (at % 3) for at in range(FEWEST + 1)]) is not None


def test_quiet_nights_are_hardly_ever_suspected() -> None:
    suspected = 0
    for seed in range(200):
        found = look(_noise(seed, 60))
        assert found is not None
        suspected += found.p_value <= FALSE_DISCOVERIES
    assert suspected <= 10  # 2 % of 200 are 4


def test_a_lasting_loss_is_seen_within_five_nights() -> None:
    seen = sure = 0
    for seed in range(100):
        values = _noise(seed, 55)
        values[50:] = [each - 0.03 for each in values[50:]]
        looks = [look(values[:end]) for end in range(51, 56)]
        seen += any(each is not None and each.p_value <= GLANCES for each in looks)
        sure += any(each is not None and each.p_value <= FALSE_DISCOVERIES for each in looks)
    assert seen == 100
    assert sure >= 97


def test_a_great_loss_is_seen_the_same_night() -> None:
    values = _noise(1, 50)
    found = look([*values, values[-1] - 0.1])
    assert found is not None
    assert found.p_value < 1e-6
    assert found.nights == 1
    assert math.isclose(found.shift, values[-1] - 0.1 - found.level)


def test_a_slow_night_is_nothing_new_where_there_was_one_before() -> None:
    values = _noise(2, 50)
    values[20] -= 0.12
    found = look([*values, -0.12])
    assert found is not None
    assert found.p_value > FALSE_DISCOVERIES


def test_one_slow_night_of_two_is_no_shift() -> None:
    values = _noise(2, 50)
    values[20] -= 0.12
    for two in ([-0.12, 0.0], [0.0, -0.12]):
        found = look([*values, *two])
        assert found is not None
        assert found.shift > -LEAST


def test_a_slow_night_does_not_move_the_baseline() -> None:
    values = _noise(3, 50)
    before = look(values)
    values[20] -= 0.5
    after = look(values)
    assert before is not None
    assert after is not None
    assert abs(before.level - after.level) < 0.001
    assert after.scale < 1.2 * before.scale


def test_a_level_known_to_be_the_machines_is_no_shift() -> None:
    values = [*_noise(4, 50), *(each - 0.05 for each in _noise(5, 5))]
    unknown, known = look(values), look(values, cleared=-0.05)
    assert unknown is not None
    assert known is not None
    assert unknown.p_value < FALSE_DISCOVERIES < known.p_value
    # a further loss is
    further = look([each - 0.03 * (at >= 51) for at, each in enumerate(values)], cleared=-0.05)
    assert further is not None
    assert further.p_value < FALSE_DISCOVERIES


def test_noise_that_remembers_is_not_taken_for_a_shift() -> None:
    suspected = 0
    for seed in range(150):
        draw, now, values = random.Random(seed), 0.0, []  # noqa: S311 - noise
        for _ in range(60):
            now = 0.7 * now + math.sqrt(1 - 0.49) * draw.gauss(0, 0.01)
            values.append(now)
        found = look(values)
        assert found is not None
        suspected += found.p_value <= FALSE_DISCOVERIES
    assert suspected <= 8


def test_a_figure_that_never_varied_is_suspected_as_soon_as_it_does() -> None:
    found = look([1.0] * 20 + [1.02])
    assert found is not None
    assert found.p_value < FALSE_DISCOVERIES


def test_false_discoveries_are_those_of_benjamini_and_hochberg() -> None:
    # their example of 1995, section 4.1: at 5 % the first four of fifteen
    p_values = [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459),
        *(0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
    assert discoveries(p_values, 0.05) == [True] * 4 + [False] * 11
    assert discoveries([], 0.05) == []


def test_what_the_probe_tells_is_taken_away() -> None:
    draw = random.Random(6)  # noqa: S311 - noise
    host = [draw.gauss(0, 0.02) for _ in range(40)]
    values = [0.8 * speed + draw.gauss(0, 0.002) for speed in host]
    even, share = normalised(values, [*host])
    assert abs(share - 0.8) < 0.05
    assert max(even) - min(even) < 0.02
    # a probe that the figure does not follow is left alone
    other = [draw.gauss(0, 0.02) for _ in range(40)]
    assert normalised(values, [*other]) == (values, 0.0)
    assert normalised(values, [None] * 40) == (values, 0.0)


def test_a_machine_that_slowed_explains_a_loss_and_not_a_greater_one() -> None:
    host: list[float | None] = [0.001 * (at % 3) for at in range(30)]
    host.append(-0.05)
    assert explained(-0.05, host, 1)
    assert not explained(-0.15, host, 1)
    assert not explained(0.05, host, 1)
    assert not explained(-0.05, [*host[:-1], None], 1)


def _noise(seed: int, count: int) -> list[float]:
    draw = random.Random(seed)  # noqa: S311 - noise
    return [draw.gauss(0, 0.01) for _ in range(count)]
