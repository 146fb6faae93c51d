from harness.history.memory import Past, memory
from harness.history.pairs import Outcome

_HIGH, _LOW = [0.0] * 30, [-0.05] * 6


def _cleared(at: int, level: float | None = -0.05) -> Past:
    return Past(night=at, outcome=Outcome.NOT_REGRESSED, nights=2, level=level)


def test_a_cleared_level_is_known_while_the_figure_stays_there() -> None:
    values = [*_HIGH, *_LOW]
    assert memory(values, [_cleared(31)]).cleared == -0.05
    assert memory([*values, 0.0], [_cleared(31)]).cleared == -0.05
    assert memory([*values, 0.0, 0.0], [_cleared(31)]).cleared is None


def test_a_fluke_leaves_no_level() -> None:
    """The old version was as fast as ever that night: it was not the machine."""
    assert memory([*_HIGH, *_LOW], [_cleared(31, 0.001)]).cleared is None
    # of the same code no pairs are run, and then the nights themselves are the machine's
    assert memory([*_HIGH, *_LOW], [_cleared(31, None)]).cleared == -0.05


def test_nights_are_evidence_once() -> None:
    assert memory([*_HIGH, *_LOW], [_cleared(31)]).fresh == 4
    assert memory([*_HIGH, *_LOW], []).fresh == 36


def test_what_a_glance_did_not_show_is_known_too() -> None:
    seen = Past(night=31, outcome=Outcome.NOT_SEEN, nights=2, is_costly=False, level=-0.05)
    known = memory([*_HIGH, *_LOW], [seen])
    assert (known.cleared, known.may_confirm, known.fresh) == (-0.05, True, 4)


def test_other_findings_clear_nothing() -> None:
    past = Past(night=31, outcome=Outcome.INCONCLUSIVE, nights=2)
    assert memory([*_HIGH, *_LOW], [past]).cleared is None


def test_a_figure_is_confirmed_twice_in_sixty_nights() -> None:
    past = [Past(night=at, outcome=Outcome.INCONCLUSIVE, nights=1) for at in (10, 40)]
    values = [0.0] * 61
    assert not memory(values, past).may_confirm
    assert memory([0.0] * 71, past).may_confirm
    free = [
        Past(night=at, outcome=Outcome.NOT_REGRESSED, nights=1, is_costly=False) for at in (10, 40)
    ]
    assert memory(values, free).may_confirm
