"""The store keeps whole rows, refuses what would break it, and survives other writers' rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.workloads.trials.store import TrialStore
from harness.workloads.trials.trial import PARAMETER_GOLF, PRETRAINING, Label, Trial
from harness.workloads.trials.tsv import line_of


def trial(exp_id: str, **fields: str) -> Trial:
    return Trial(exp_id=exp_id, status=Label.DISCARD, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.tsv"


def ids(store: TrialStore) -> list[str]:
    return [each.exp_id for each in store.history().trials]


def test_two_stores_on_one_file_see_each_other(path: Path) -> None:
    one, other = TrialStore(path), TrialStore(path)
    assert ids(one) == []
    one.append(trial("000"))
    other.append(trial("001", parent_exp="000"))
    one.append(trial("002", parent_exp="001"))
    assert ids(one) == ids(other) == ids(TrialStore(path)) == ["000", "001", "002"]
    assert path.read_bytes().count(line_of(PRETRAINING.columns)) == 1


def test_a_torn_line_counts_nowhere_and_is_cut_off_at_any_place(path: Path) -> None:
    TrialStore(path).append(trial("000"))
    whole = path.read_bytes()
    TrialStore(path).append(trial("001", hypothesis='λ "quoted"'))
    row = path.read_bytes()[len(whole) :]
    for cut in range(len(row)):
        path.write_bytes(whole + row[:cut])
        survivor = TrialStore(path)
        assert ids(survivor) == ["000"]
        survivor.append(trial("002"))
        assert ids(survivor) == ids(TrialStore(path)) == ["000", "002"]
        assert path.read_bytes().startswith(whole)


def test_a_torn_header_is_written_again(path: Path) -> None:
    path.write_bytes(b"exp_id\ttimes")
    store = TrialStore(path)
    assert ids(store) == []
    store.append(trial("000"))
    assert ids(TrialStore(path)) == ["000"]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (trial("000"), "taken"),
        (trial("001", parent_exp="exp_000"), "parent is not in the store"),
        (trial("001", parent_exp="001"), "parent is not in the store"),
    ],
)
def test_a_row_without_a_place_is_refused(path: Path, refused: Trial, message: str) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        store.append(refused)
    assert path.read_bytes() == before


def test_ids_are_compared_as_they_are_written(path: Path) -> None:
    store = TrialStore(path)
    odd = 'a\t"b"\n'
    store.append(trial(odd))
    store.append(trial("next", parent_exp=odd))
    with pytest.raises(InputError, match="taken"):
        TrialStore(path).append(trial(odd))
    assert ids(TrialStore(path)) == [odd, "next"]


def test_a_file_of_another_layout_is_refused(path: Path) -> None:
    TrialStore(path, PARAMETER_GOLF).append(trial("000"))
    for act in (TrialStore(path).history, lambda: TrialStore(path).append(trial("001"))):
        with pytest.raises(InputError, match="other columns"):
            act()


def test_damaged_and_repeated_rows_are_reported_and_not_counted(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    with path.open("ab") as file:
        file.write(line_of(PRETRAINING.columns))  # a writer without a lock repeats the header
        file.write(b"001\ttoo short\n\n")
        file.write(line_of(["000", *[""] * 7, "keep", *[""] * 8]))
        file.write(line_of(["002", *[""] * 7, "keep", "much", *[""] * 7]))
    assert ids(store) == ["000"]
    assert [(problem.line, problem.message) for problem in store.damage()] == [
        (4, "2 cells, wanted 17"),
        (6, "the id '000' is taken"),
        (7, "core_metric: 'much' is not a number"),
    ]
    store.append(trial("003"))
    assert ids(store) == ["000", "003"]


def test_a_quoted_cell_of_another_writer_may_hold_ends_of_line(path: Path) -> None:
    TrialStore(path).append(trial("000"))
    with path.open("ab") as file:
        file.write(b'001\t\t\t000\t\t\t"two\nlines, a\ttab"\t\tkeep' + b"\t" * 8 + b"\n")
    store = TrialStore(path)
    store.append(trial("002", parent_exp="001"))
    assert ids(store) == ["000", "001", "002"]
    assert store.history().trials[1].hypothesis == "two\nlines, a\ttab"


def test_no_row_is_added_behind_an_open_quote_and_none_is_lost(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    with path.open("ab") as file:
        file.write(b'001\t\t\t\t\t\t"never closed\n')
    before = path.read_bytes()
    with pytest.raises(InputError, match="quote"):
        store.append(trial("002"))
    with pytest.raises(InputError, match=r"results.tsv:3: .*quote"):
        store.history()
    assert path.read_bytes() == before


def test_bytes_that_are_not_utf8_are_kept(path: Path) -> None:
    TrialStore(path).append(trial("000"))
    with path.open("ab") as file:
        file.write(b"001\t\t\t\t\t\tcaf\xe9\t\tdiscard" + b"\t" * 8 + b"\n")
    store = TrialStore(path)
    found = store.history().trials[1]
    assert found.hypothesis == "caf\udce9"
    store.append(trial("002", hypothesis=found.hypothesis))
    assert TrialStore(path).history().trials[2].hypothesis == found.hypothesis


def test_a_file_put_in_its_place_is_read_anew(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    store.append(trial("001"))
    assert ids(store) == ["000", "001"]
    path.unlink()
    TrialStore(path).append(trial("005"))
    assert ids(store) == ["005"]


# --- the index beside the file --------------------------------------------------------------------


def index_of(path: Path) -> Path:
    return path.with_name("results.tsv.index")


def refuse_taken(path: Path, *taken: str) -> None:
    for exp_id in taken:
        with pytest.raises(InputError, match="taken"):
            TrialStore(path).append(trial(exp_id))


def test_an_open_quote_is_reported_every_time(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    with path.open("ab") as file:
        file.write(b'001\t\t\t\t\t\t"never closed\n')
    for _ in range(2):
        with pytest.raises(InputError, match="quote"):
            store.history()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(500)])
def test_a_damaged_index_is_made_anew(path: Path, content: bytes) -> None:
    TrialStore(path).append(trial("000"))
    index_of(path).write_bytes(content)
    refuse_taken(path, "000")
    TrialStore(path).append(trial("001", parent_exp="000"))
    assert ids(TrialStore(path)) == ["000", "001"]


def test_a_truncated_index_loses_no_id(path: Path) -> None:
    store = TrialStore(path)
    names = [f"{number:03}" for number in range(400)]
    for name in names:
        store.append(trial(name))
    whole = index_of(path).read_bytes()
    for size in (len(whole) // 2, len(whole) - 1, 4096, 100):
        index_of(path).write_bytes(whole[:size])
        refuse_taken(path, "000", "200", "399")


def test_an_index_that_was_removed_or_cannot_be_written_costs_time_only(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    index_of(path).unlink()
    store.append(trial("001", parent_exp="000"))
    refuse_taken(path, "000", "001")
    index_of(path).unlink()
    index_of(path).mkdir()  # no file can be made here
    TrialStore(path).append(trial("002", parent_exp="001"))
    refuse_taken(path, "000", "002")
    assert ids(store) == ["000", "001", "002"]


def test_an_index_of_another_file_or_another_state_of_it_is_not_believed(path: Path) -> None:
    store = TrialStore(path)
    for name in ("000", "001"):
        store.append(trial(name))
    text = path.read_bytes()
    path.write_bytes(text.replace(b"\n001", b"\n777"))  # as long as before
    refuse_taken(path, "000", "777")
    store.append(trial("001"))
    other = path.with_name("other.tsv")
    TrialStore(other).append(trial("900"))
    other.replace(path)
    refuse_taken(path, "900")
    store.append(trial("000"))
    assert ids(TrialStore(path)) == ["900", "000"]


def test_rows_of_a_writer_without_an_index_are_seen(path: Path) -> None:
    store = TrialStore(path)
    store.append(trial("000"))
    with path.open("ab") as file:
        file.write(line_of(["001", *[""] * 7, "keep", *[""] * 8]))
    store.append(trial("002", parent_exp="001"))
    with path.open("ab") as file:
        file.write(line_of(["003", *[""] * 7, "keep", *[""] * 8]) + b"00")
    refuse_taken(path, "001", "003")
    store.append(trial("00"))
    assert ids(store) == ["000", "001", "002", "003", "00"]


def test_a_carriage_return_of_another_writer_is_no_end_of_a_row(path: Path) -> None:
    TrialStore(path).append(trial("000"))
    with path.open("ab") as file:
        file.write(b"001" + b"\t" * 8 + b"keep" + b"\t" * 8 + b"\r\n")
        file.write(b'002\t\t\t\t\t\t"one\rline"\t\tkeep' + b"\t" * 8 + b"\n")
    store = TrialStore(path)
    found = {each.exp_id: each for each in store.history().trials}
    assert found["002"].hypothesis == "one\rline"
    store.append(trial("003", parent_exp="002"))
    assert "003" in ids(TrialStore(path))
