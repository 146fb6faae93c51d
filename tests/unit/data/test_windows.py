"""Windows of two corpora in training order, and prose out of Python files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import torch

from harness.workloads.data.mixture import ReplayMixture
from harness.workloads.data.prose import documents, installed
from harness.workloads.data.windows import MixedWindows, ObservedWindows, windows

END = 99


def test_documents_are_joined_and_every_token_is_predicted_once() -> None:
    found = windows([[1, 2, 3], [4, 5], [6, 7, 8, 9]], END, 4, 10)
    assert found.tolist() == [[1, 2, 3, END, 4], [4, 5, END, 6, 7]]


def test_no_more_is_read_than_enough() -> None:
    endless = itertools.repeat([1, 2, 3])
    assert windows(endless, END, 4, 3).shape == (3, 5)


def _mixed(share: float) -> MixedWindows:
    return MixedWindows(
        old=torch.arange(3)[:, None].expand(3, 5),
        new=100 + torch.arange(12)[:, None].expand(12, 5),
        mixture=ReplayMixture(share=share, batch_size=4),
        num_steps=3,
    )


def test_a_batch_has_its_share_and_old_windows_start_again() -> None:
    mixed = _mixed(0.5)
    assert len(mixed) == 12
    order = [int(mixed.window(index)[0]) for index in range(12)]
    assert order == [0, 1, 100, 101, 2, 0, 102, 103, 1, 2, 104, 105]


def test_without_replay_every_window_is_new() -> None:
    assert [int(_mixed(0.0).window(index)[0]) for index in range(12)] == [*range(100, 112)]


def test_what_is_fed_is_counted_where_it_passes() -> None:
    fed = ObservedWindows(_mixed(0.5))
    assert len(fed) == 12
    for index in range(6):  # two old windows, two new ones, two old ones
        assert fed[index]["tokens"].equal(_mixed(0.5)[index]["tokens"])
    assert (fed.num_tokens, fed.num_replayed) == (6 * 4, 4 * 4)


def test_a_window_is_what_megatron_reads() -> None:
    item = MixedWindows(
        old=torch.zeros(1, 5, dtype=torch.long),
        new=torch.arange(5)[None],
        mixture=ReplayMixture(share=0.0, batch_size=1),
        num_steps=1,
    )[0]
    assert item["tokens"].tolist() == [0, 1, 2, 3]
    assert item["labels"].tolist() == [1, 2, 3, 4]
    assert item["position_ids"].tolist() == [0, 1, 2, 3]
    assert item["loss_mask"].tolist() == [1, 1, 1, 1]


def test_prose_is_what_files_document(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    said = '"""Of the module."""\n\n\nclass A:\n    """Of a class."""\n\n    x = "no prose"\n'
    (tmp_path / "inner/a.py").write_text(said, encoding="utf-8")
    (tmp_path / "silent.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text('"""Never read."""\ndef\n', encoding="utf-8")
    (tmp_path / "b.py").write_bytes('"""Än\xf6ther."""\n'.encode("latin-1"))
    assert [*documents([tmp_path])] == ["Of the module.\n\nOf a class."]


def test_the_order_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for name in "abcdef":
            file = tmp_path / folder / f"{name}.py"
            file.write_text(f'"""Of {name}."""\n', encoding="utf-8")
    one, other = ([*documents([tmp_path / folder])] for folder in ("one", "other"))
    assert one == other != sorted(one)


def test_the_standard_library_has_prose() -> None:
    (package,) = json.__path__
    assert any("JSON" in text for text in documents([Path(package)]))
    assert Path(package).parent == installed()[0]
