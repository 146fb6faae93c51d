"""Whatever stands in a file or on the command line: it is read, or every mistake is named."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import string
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.check.laws import law_problems
from harness.cli import main
from harness.errors import ExitCode, InputError, Problem, nearest
from harness.plan.overrides import read_overrides
from harness.scenario.images import LOCK_FILE, read_lock
from harness.scenario.load import load, load_expectations
from harness.scenario.positions import Document, Key, parse

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FOLDERS = sorted(path.parent for path in SCENARIOS.glob("*/expectations.yaml"))
FILES = [folder / name for folder in FOLDERS for name in ("scenario.yaml", "expectations.yaml")]
LETTERS = string.ascii_lowercase + "_"
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# --- what might stand in a file -------------------------------------------------------------------

WORDS = """
a b scenario profiles cpu params sweep product sections title defaults entries id kind bound
1 -2.5 1e999 null ~ true :
, [ ] { } - -- --- ... # & * ! | > % @ ` ' " \\ ? << <<<<<<< >>>>>>> é
"""
_tokens = st.sampled_from(
    [
        *WORDS.split(),
        " ",
        ": ",
        "\n",
        "\n  ",
        "\n- ",
        "\r\n",
        "\t",
        "\x00",
        "\x85",
        "\ufeff",
        "\u2028",
    ]
)
yaml_like = st.lists(_tokens, max_size=40).map("".join)
contents = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    yaml_like.map(str.encode),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a right scenario, ledger and lock."""
    place = tmp_path_factory.mktemp("scenarios") / "a99-example"
    shutil.copytree(Path(__file__).parents[1] / "broken/right/scenarios/a99-example", place)
    (place / "cpu").mkdir()
    (place / "cpu" / "Dockerfile").touch()
    return place


def refused(read: Callable[[], object]) -> tuple[Problem, ...]:
    """Return the mistakes that `read` names; none where it reads."""
    try:
        read()
    except InputError as error:
        return error.problems
    return ()


def reads_or_names(read: Callable[[], object], path: Path) -> tuple[Problem, ...]:
    """Return what is wrong with a file; each problem names it, and a place within it."""
    problems = refused(read)
    lines = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    for problem in problems:
        if path.name == "expectations.yaml" and problem.path == path.with_name("scenario.yaml"):
            assert problem.key.startswith("headline"), problem  # names claims that are gone
            continue
        assert problem.path == path
        assert problem.message
        assert problem.line is None or (1 <= problem.line <= lines and problem.column)
    return problems


@few
@given(content=contents)
def test_any_bytes_are_read_as_a_scenario_or_named(folder: Path, content: bytes) -> None:
    (folder / "scenario.yaml").write_bytes(content)
    reads_or_names(lambda: load(folder), folder / "scenario.yaml")


@few
@given(content=contents)
def test_any_bytes_are_read_as_params_or_named(folder: Path, content: bytes) -> None:
    path = folder / "params.yaml"
    path.write_bytes(content)
    reads_or_names(lambda: read_overrides(params_file=path), path)


@few
@given(content=contents)
def test_any_bytes_are_read_as_a_lock_or_named(folder: Path, content: bytes) -> None:
    (folder / LOCK_FILE).write_bytes(content)
    reads_or_names(lambda: read_lock(folder), folder / LOCK_FILE)


def ledger_of(scenario: Path) -> Callable[[], object]:
    """Return how the ledger beside a scenario that is right is read."""
    loaded = load(scenario)
    return lambda: load_expectations(loaded, law_problems)


@few
@given(content=contents)
def test_any_bytes_are_read_as_a_ledger_or_named(folder: Path, content: bytes) -> None:
    right = Path(__file__).parents[1] / "broken/right/scenarios/a99-example/scenario.yaml"
    shutil.copyfile(right, folder / "scenario.yaml")
    (folder / "expectations.yaml").write_bytes(content)
    reads_or_names(ledger_of(folder), folder / "expectations.yaml")


@few
@given(text=yaml_like)
def test_what_is_refused_has_a_place(text: str) -> None:
    problems = refused(lambda: parse(text, Path("file.yaml")))
    assert all(problem.line and problem.column for problem in problems)


@few
@given(value=st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_json_is_read_as_what_it_is(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    problems = refused(lambda: parse(text, Path("file.yaml")))
    if not problems:
        assert json.dumps(parse(text, Path("file.yaml")).value) == text
    for problem in problems:  # escaped surrogates, and integers of hundreds of digits
        assert "escape" in problem.message or "too long" in problem.message


# --- checked-in files, damaged --------------------------------------------------------------------


class Copy:
    """A copy of a checked-in scenario folder, one file of which is about to be damaged."""

    def __init__(self, file: Path, place: Path) -> None:
        folder = place / file.parent.name
        if not folder.exists():
            shutil.copytree(file.parent, folder)
        for name in ("scenario.yaml", "expectations.yaml"):
            shutil.copyfile(file.parent / name, folder / name)
        self.path = folder / file.name
        self.text = file.read_text(encoding="utf-8")
        self.read: Callable[[], object] = lambda: load(folder)
        if file.name == "expectations.yaml":
            self.read = ledger_of(folder)

    @property
    def document(self) -> Document:
        return parse(self.text, self.path)

    def problems_of(self, content: bytes | str) -> tuple[Problem, ...]:
        """Write the damaged file and return what is found wrong with it."""
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return reads_or_names(self.read, self.path)

    def with_word(self, place: tuple[int, int], word: str, other: str) -> str | None:
        """Return the text with `word` at a place replaced; None where it is written otherwise."""
        lines = self.text.split("\n")
        line, column = place[0] - 1, place[1] - 1
        if not lines[line].startswith(word, column):
            return None
        lines[line] = lines[line][:column] + other + lines[line][column + len(word) :]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def one_edit_from(word: str) -> Iterator[str]:
    """Yield every word that is one slip of the hand from `word`."""
    for i in range(len(word) + 1):
        yield from (word[:i] + letter + word[i:] for letter in LETTERS)
        if i < len(word):
            yield word[:i] + word[i + 1 :]
            yield from (word[:i] + letter + word[i + 1 :] for letter in LETTERS)
        if i < len(word) - 1:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def is_slip(wrong: str, right: str) -> bool:
    return wrong in set(one_edit_from(right))


@st.composite
def slips(draw: st.DrawFn, word: str) -> str:
    found = sorted(set(one_edit_from(word)) - {word, ""})
    return draw(st.sampled_from(found))


def is_free(key: Key) -> bool:
    """Say whether any name may stand there: a row key, or a number that formulas use."""
    rows = any(part in ("where", "cell", "only") for part in key[:-1])
    return rows or key[-2:-1] in (("given",), ("names",))


@few
@given(data=st.data())
def test_a_misspelt_key_is_placed_with_the_right_one_as_nearest(
    workplace: Path, data: st.DataObject
) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    document = copy.document
    keys = [key for key in document.places if key and isinstance(key[-1], str) and not is_free(key)]
    key = data.draw(st.sampled_from(keys))
    right = str(key[-1])
    wrong = data.draw(slips(right))
    damaged = copy.with_word(document.places[key], right, wrong)
    assume(damaged is not None and (*key[:-1], wrong) not in document.places)
    found = [
        problem
        for problem in copy.problems_of(damaged or "")
        if (problem.line, problem.column) == document.places[key] and wrong in problem.key
    ]
    assume(found or wrong not in _allowed_beside(copy, key))  # it may be right, too
    problem = next(each for each in found if each.nearest)
    # where one slip leads to several right words, any of them is near
    near = {each for each in problem.allowed.split(", ") if is_slip(wrong, each)}
    assert right in near
    assert problem.nearest in near


def _allowed_beside(copy: Copy, key: Key) -> set[str]:
    """Return the keys that are allowed where `key` stands, by asking for an absurd one."""
    damaged = copy.with_word(copy.document.places[key], str(key[-1]), "qqqqqqqqqqqq")
    found = copy.problems_of(damaged or "")
    return {word for each in found if "qqq" in each.key for word in each.allowed.split(", ")}


NAMED = ("metric", "unit", "kind", "class", "workload", "law")


@few
@given(data=st.data())
def test_a_misspelt_name_is_placed_with_a_near_one(workplace: Path, data: st.DataObject) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    document = copy.document
    named = [
        key
        for key in document.values
        if key and (key[-1] in NAMED or key[-2:-1] in (("metrics",), ("profile",), ("uses",)))
    ]
    key = data.draw(st.sampled_from(named or [()]))
    right = value_at(document, key)
    assume(isinstance(right, str) and re.fullmatch(r"[a-z][a-z0-9_./-]+", right))
    wrong = data.draw(slips(right))
    assume(wrong not in ("no", "null", "true"))
    damaged = copy.with_word(document.values[key], right, wrong)
    assume(damaged is not None)
    found = copy.problems_of(damaged or "")
    placed = [each for each in found if each.line == document.places[key][0] and each.nearest]
    assert placed or not found or "fit the metric" in found[0].message, found
    assert all(is_slip(wrong, each.nearest) for each in placed)


def value_at(document: Document, key: Key) -> Any:
    """Return the value of a key of a document."""
    value: Any = document.value
    for part in key:
        value = value[part]
    return value


@few
@given(data=st.data(), junk=values)
def test_a_value_of_another_type_is_read_or_named(
    workplace: Path, data: st.DataObject, junk: Any
) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    value = copy.document.value
    holder, name = data.draw(st.sampled_from([*_holders(value)]))
    holder[name] = junk
    problems = copy.problems_of(json.dumps(value))
    assert len(set(problems)) == len(problems)


@few
@given(data=st.data())
def test_a_key_left_out_is_read_or_named(workplace: Path, data: st.DataObject) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    value = copy.document.value
    holder, name = data.draw(st.sampled_from([*_holders(value)]))
    del holder[name]
    copy.problems_of(json.dumps(value))


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (mapping or list, key or index) of everything that a value holds."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in list(items):
        yield value, name
        if isinstance(item, dict | list):
            yield from _holders(item)


@few
@given(data=st.data())
def test_a_line_written_twice_is_read_or_named(workplace: Path, data: st.DataObject) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    lines = copy.text.splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    copy.problems_of("".join([*lines[:index], lines[index], *lines[index:]]))


@few
@given(data=st.data())
def test_a_file_cut_at_any_byte_is_read_or_named(workplace: Path, data: st.DataObject) -> None:
    copy = Copy(data.draw(st.sampled_from(FILES)), workplace)
    content = copy.text.encode()
    copy.problems_of(content[: data.draw(st.integers(0, len(content) - 1))])


# --- words ----------------------------------------------------------------------------------------

argument = st.one_of(
    st.text(max_size=12),
    st.builds("{}={}".format, st.sampled_from(("index", "value", "indx")), yaml_like),
    st.text(alphabet=[*"\udcff\udc80=[]{}&*!", "\n", "1", "x"], max_size=8),  # as argv may hold
)


@few
@given(
    settings_given=st.lists(argument, max_size=3),
    only=st.lists(argument, max_size=2),
    profile=st.sampled_from(("cpu", "evidence")) | st.text(max_size=6),
)
def test_any_words_are_taken_or_refused(
    settings_given: list[str], only: list[str], profile: str
) -> None:
    root = Path(__file__).parents[1] / "broken" / "right"
    words = [f"--profile={profile}", *(f"--set={each}" for each in settings_given)]
    words += [f"--only={each}" for each in only]
    before, err = signal.getsignal(signal.SIGTERM), io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        code = main(["show", "a99", "--project", str(root), *words])
    signal.signal(signal.SIGTERM, before)
    assert code in (ExitCode.OK, ExitCode.USAGE)
    assert (code == ExitCode.OK) == (err.getvalue() == "")


@given(word=st.text(max_size=12), known=st.lists(st.text(max_size=8), max_size=6))
def test_the_nearest_word_is_a_known_one(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert found in [*known, ""]
    if word and word in known:
        assert found.casefold() == word.casefold()


@given(word=st.text(alphabet=LETTERS, min_size=2, max_size=10), data=st.data())
def test_a_slip_is_undone(word: str, data: st.DataObject) -> None:
    wrong = data.draw(slips(word))
    assert nearest(wrong, [word]) == word
    assert nearest(wrong.upper(), [word]) == word
