"""The store keeps whole rows, refuses what would break it, and survives other writers' rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.workloads.lineage.sheet import line_of
from harness.workloads.lineage.store import Store
from harness.workloads.lineage.trial import PARAMETER_GOLF, PRETRAINING, Label, Trial


def trial(exp_id: str, **fields: str) -> Trial:
    return Trial(exp_id=exp_id, status=Label.DISCARD, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.tsv"


def ids(store: Store) -> list[str]:
    return [each.exp_id for each in store.history().trials]


def test_two_stores_on_one_file_see_each_other(path: Path) -> None:
    one, other = Store(path), Store(path)
    assert ids(one) == []
    one.append(trial("000"))
    other.append(trial("001", parent_exp="000"))
    one.append(trial("002", parent_exp="001"))
    assert ids(one) == ids(other) == ids(Store(path)) == ["000", "001", "002"]
    assert path.read_bytes().count(line_of(PRETRAINING.columns)) == 1


def test_a_torn_line_counts_nowhere_and_is_cut_off_at_any_place(path: Path) -> None:
    Store(path).append(trial("000"))
    whole = path.read_bytes()
    Store(path).append(trial("001", hypothesis='λ "quoted"'))
    row = path.read_bytes()[len(whole) :]
    for cut in range(len(row)):
        path.write_bytes(whole + row[:cut])
        survivor = Store(path)
        assert ids(survivor) == ["000"]
        survivor.append(trial("002"))
        assert ids(survivor) == ids(Store(path)) == ["000", "002"]
        assert path.read_bytes().startswith(whole)


def test_a_torn_header_is_written_again(path: Path) -> None:
    path.write_bytes(b"exp_id\ttimes")
    store = Store(path)
    assert ids(store) == []
    store.append(trial("000"))
    assert ids(Store(path)) == ["000"]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (trial("000"), "taken"),
        (trial("001", parent_exp="exp_000"), "parent is not in the store"),
        (trial("001", parent_exp="001"), "parent is not in the store"),
    ],
)
def test_a_row_without_a_place_is_refused(path: Path, refused: Trial, message: str) -> None:
    store = Store(path)
    store.append(trial("000"))
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        store.append(refused)
    assert path.read_bytes() == before


def test_ids_are_compared_as_they_are_written(path: Path) -> None:
    store = Store(path)
    odd = 'a\t"b"\n'
    store.append(trial(odd))
    store.append(trial("next", parent_exp=odd))
    with pytest.raises(InputError, match="taken"):
        Store(path).append(trial(odd))
    assert ids(Store(path)) == [odd, "next"]


def test_a_file_of_another_layout_is_refused(path: Path) -> None:
    Store(path, PARAMETER_GOLF).append(trial("000"))
    for act in (Store(path).history, lambda: Store(path).append(trial("001"))):
        with pytest.raises(InputError, match="other columns"):
            act()


def test_damaged_and_repeated_rows_are_reported_and_not_counted(path: Path) -> None:
    store = Store(path)
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
    Store(path).append(trial("000"))
    with path.open("ab") as file:
        file.write(b'001\t\t\t000\t\t\t"two\nlines, a\ttab"\t\tkeep' + b"\t" * 8 + b"\n")
    store = Store(path)
    store.append(trial("002", parent_exp="001"))
    assert ids(store) == ["000", "001", "002"]
    assert store.history().trials[1].hypothesis == "two\nlines, a\ttab"


def test_no_row_is_added_behind_an_open_quote_and_none_is_lost(path: Path) -> None:
    store = Store(path)
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
    Store(path).append(trial("000"))
    with path.open("ab") as file:
        file.write(b"001\t\t\t\t\t\tcaf\xe9\t\tdiscard" + b"\t" * 8 + b"\n")
    store = Store(path)
    found = store.history().trials[1]
    assert found.hypothesis == "caf\udce9"
    store.append(trial("002", hypothesis=found.hypothesis))
    assert Store(path).history().trials[2].hypothesis == found.hypothesis


def test_a_file_put_in_its_place_is_read_anew(path: Path) -> None:
    store = Store(path)
    store.append(trial("000"))
    store.append(trial("001"))
    assert ids(store) == ["000", "001"]
    path.unlink()
    Store(path).append(trial("005"))
    assert ids(store) == ["005"]
