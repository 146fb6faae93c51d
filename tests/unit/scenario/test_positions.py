"""The strict YAML reader: what it reads, what it refuses, and where it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError, Problem
from harness.scenario.positions import dotted, parse, read

HERE = Path("file.yaml")


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        parse(text, HERE)
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("-2.50", -2.5),
        (".5", 0.5),
        ("1E6", 1e6),
        ("12", 12),
        ("-3", -3),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("yes", "yes"),
        ("On", "On"),
        ("true", True),
        ("True", "True"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2026-04-25", "2026-04-25"),
        ("'12'", "12"),
        ('"null"', "null"),
        ("[1, 2.0, x]", [1, 2.0, "x"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars_follow_the_json_rules(written: str, value: object) -> None:
    read_back = parse(f"key: {written}", HERE).value["key"]
    assert read_back == value
    assert type(read_back) is type(value)


def test_every_key_and_item_has_its_place() -> None:
    document = parse("a: 1\nb:\n  c: [x,\n     y]\n", HERE)
    assert document.places["a",] == (1, 1)
    assert document.places["b", "c"] == (3, 3)
    assert document.places["b", "c", 1] == (4, 6)
    assert document.values["b", "c"] == (3, 6)


def test_a_problem_at_an_absent_key_stands_at_its_nearest_parent() -> None:
    problem = parse("a:\n  b: 1\n", HERE).problem(("a", "gone"), "is required")
    assert (problem.place, problem.key) == ("file.yaml:1:1", "a.gone")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\na: 2\n", 2, "duplicate key"),
        ("a: &x 1\nb: *x\n", 2, "anchors and aliases"),
        ("a: !!python/object:os.system 1\n", 1, "tags are not used"),
        ("a: !custom x\n", 1, "tags are not used"),
        ("? [1, 2]\n: 3\n", 1, "a key must be text"),
        ("a: [1, 2\n", 1, "bracket is not closed"),
        ("a:\n\t- 1\n", 2, "YAML"),
        ("a: 1e999\n", 1, "not finite"),
        ("- 1\n", 1, "must hold a mapping"),
        ("just text\n", 1, "must hold a mapping"),
        ("a: 1\n---\nb: 2\n", 2, "YAML"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", 1, "nested"),
        ("a: \x07\n", 1, "character is not used"),
    ],
)
def test_what_is_refused_has_its_line(text: str, line: int, message: str) -> None:
    found = problems(text)
    assert found[0].line == line
    assert found[0].column is not None
    assert message in found[0].message


def test_all_mistakes_come_at_once() -> None:
    assert len(problems("a: 1\na: 2\nb: !x 3\nc: 1e400\n")) == 3


def test_aliases_cannot_make_a_file_explode() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [*{previous}, *{previous}]\n"
        for previous, name in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    assert all("anchors" in each.message for each in problems(bomb))


def test_bytes_that_are_no_text_are_placed(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(InputError) as caught:
        read(file)
    problem = caught.value.problems[0]
    assert (problem.line, problem.column, problem.value) == (2, 4, "byte 0xff")


def test_a_byte_order_mark_and_an_empty_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(file).value == {"a": 1}
    file.write_bytes(b"")
    assert read(file).value == {}


def test_an_absent_file_and_a_folder_are_problems(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read(path)


def test_keys_are_shown_as_people_write_them() -> None:
    assert dotted(("profiles", "cpu", "uses", 2, "file")) == "profiles.cpu.uses[2].file"
