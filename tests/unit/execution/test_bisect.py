from hypothesis import given
from hypothesis import strategies as st

from harness.execution.bisect import bisect
from harness.history.pairs import Outcome


@given(st.integers(1, 60), st.data())
def test_the_first_bad_commit_is_found(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, count - 1))
    commits = [f"c{at}" for at in range(count)]
    asked = []

    def ask(commit: str) -> Outcome:
        asked.append(commit)
        return Outcome.REGRESSED if int(commit[1:]) >= first else Outcome.NOT_REGRESSED

    assert bisect(commits, ask).first_bad == (f"c{first}",)
    assert len(asked) <= count.bit_length()


@given(st.integers(2, 30), st.data())
def test_commits_that_cannot_tell_are_passed_over(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, count - 1))
    silent = data.draw(st.sets(st.integers(0, count - 2)))
    commits = [f"c{at}" for at in range(count)]

    def ask(commit: str) -> Outcome | None:
        at = int(commit[1:])
        if at in silent:
            return None if at % 2 else Outcome.INCONCLUSIVE
        return Outcome.REGRESSED if at >= first else Outcome.NOT_REGRESSED

    found = bisect(commits, ask)
    assert f"c{first}" in found.first_bad
    # all that remain but the last cannot tell
    assert all(int(each[1:]) in silent for each in found.first_bad[:-1])
