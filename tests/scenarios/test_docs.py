"""The reference pages say what the code says: every key, default, name and link."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from textwrap import indent
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from harness.check.laws import LAWS, relation_of
from harness.commands.validate import schema_text
from harness.errors import ExitCode
from harness.records import Profile, VerdictKind, to_json
from harness.scenario import expectations as ledger
from harness.scenario import schema
from harness.scenario.folders import folders
from harness.scenario.load import load
from harness.scenario.positions import parse
from harness.scenario.sections import resolve
from harness.session.parser import make_parser
from harness.workloads.api.declare import fields_of, problems_of
from harness.workloads.api.registry import DECLARED_IN, law_names, workload
from harness.workloads.api.run_metrics import RUN_METRICS

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
Rows = dict[str, list[str]]

# heading -> the model whose keys its first table with that header lists
SCENARIO_MODELS: dict[str, type[BaseModel]] = {
    "The file": schema.Scenario,
    "article": schema.Article,
    "sweep": schema.Sweep,
    "profiles": schema.ProfileModel,
    "services": schema.ServiceModel,
    "limits": schema.LimitsModel,
    "estimate": schema.Estimate,
    "evidence": schema.EvidenceFile,
    "headline": schema.Headline,
    "answer": schema.AnswerClaim,
    "headline table": schema.HeadlineTable,
    "columns": schema.HeadlineColumn,
    "report": schema.Report,
    "plots": schema.Plot,
}
TARGETS: dict[str, type[BaseModel]] = {
    "exact": ledger.ExactTarget,
    "bound": ledger.BoundTarget,
    "ordering": ledger.OrderingTarget,
    "proportion": ledger.ProportionTarget,
    "trajectory": ledger.TrajectoryTarget,
    "law": ledger.LawTarget,
    "equivalence": ledger.EquivalenceTarget,
}


# --- reading Markdown -----------------------------------------------------------------------------


def section(page: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"{page} has no heading {heading!r}"
    return found.group(1)


def table(page: str, heading: str, first: str) -> Rows:
    """Return the table under a heading whose first column is headed `first`, by that column."""
    lines = section(page, heading).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for each in name.split(", "):
            key = each.strip("`")
            assert key not in rows, f"{page}, {heading}: {key} stands twice"
            rows[key] = cells
    return rows


def examples(page: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    yield from re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# --- keys -----------------------------------------------------------------------------------------


def default_text(field: FieldInfo) -> str:
    """Return a default as the pages write it; a model of defaults is an empty mapping."""
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        assert not value.model_fields_set
        return "`{}`"
    if isinstance(value, StrEnum):
        return f"`{value.value}`"
    text = json.dumps(to_json(value))
    return f"`{text.strip(chr(34))}`"


def keys_of(model: type[BaseModel]) -> dict[str, str]:
    fields = model.model_fields.items()
    return {field.alias or name: default_text(field) for name, field in fields}


def written(rows: Rows) -> dict[str, str]:
    return {key: cells[0] for key, cells in rows.items()}


@pytest.mark.parametrize("heading", SCENARIO_MODELS)
def test_every_key_of_a_scenario_is_listed_with_its_default(heading: str) -> None:
    rows = table("docs/scenarios.md", heading, "key")
    assert written(rows) == keys_of(SCENARIO_MODELS[heading])


def test_no_model_of_a_scenario_is_left_out() -> None:
    assert set(_models(schema.Scenario)) == set(SCENARIO_MODELS.values())


def _models(model: Any) -> Iterator[type[BaseModel]]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        yield model
        for field in model.model_fields.values():
            yield from _models(field.annotation)
    for argument in get_args(model):
        yield from _models(argument)


def test_every_key_of_a_ledger_is_listed_with_its_default() -> None:
    rows = written(table("docs/ledger.md", "The file", "key of the file"))
    assert rows == keys_of(ledger.Ledger)
    rows = written(table("docs/ledger.md", "The file", "key of a section"))
    assert rows == keys_of(ledger.Section)
    rows = written(table("docs/ledger.md", "The file", "key of a given number"))
    assert rows == keys_of(ledger.Given)
    defaults = table("docs/ledger.md", "The file", "key of a section")["defaults"][1]
    assert re.findall(r"`(\w+)`", defaults) == [*keys_of(ledger.Defaults)]


def test_every_key_of_a_ledger_entry_is_listed_with_its_default() -> None:
    rows = table("docs/ledger.md", "An entry", "key")
    assert written(rows) == keys_of(ledger.WrittenEntry)
    for header, model in (("key of a figure", ledger.Printed), ("key of `binds`", ledger.Binds)):
        assert written(table("docs/ledger.md", "An entry", header)) == keys_of(model)


@pytest.mark.parametrize("kind", TARGETS)
def test_every_key_of_a_kind_is_listed_with_its_default(kind: str) -> None:
    rows = table("docs/ledger.md", kind, "key of `expect`")
    assert written(rows) == keys_of(TARGETS[kind])


def test_a_ratio_has_the_keys_of_a_bound_and_one_more() -> None:
    rows = written(table("docs/ledger.md", "ratio", "key of `expect`"))
    assert rows == keys_of(ledger.RatioTarget)


@pytest.mark.parametrize("name", ["scenario", "expectations"])
def test_the_schemas_for_editors_are_current(name: str) -> None:
    exported = (ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")
    assert exported == schema_text(name), "out of date; next: nox -s schema"


# --- names ----------------------------------------------------------------------------------------


def test_classes_verdicts_and_profiles_are_listed() -> None:
    assert set(table("docs/ledger.md", "Classes", "class")) == {*ledger.EvidenceClass}
    assert set(table("docs/ledger.md", "Verdicts", "verdict")) == {*VerdictKind}
    assert set(table("docs/scenarios.md", "profiles", "profile")) == {*Profile}


def test_every_choice_of_a_scenario_key_is_named() -> None:
    for heading, model in SCENARIO_MODELS.items():
        rows = table("docs/scenarios.md", heading, "key")
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
                assert {*field.annotation} <= set(re.findall(r"`([\w-]+)`", rows[key][1])), key


def test_every_law_is_listed_with_its_params() -> None:
    rows = table("docs/ledger.md", "law", "law")
    listed = {name: re.findall(r"`(\w+)`", cells[0]) for name, cells in rows.items()}
    known = {name: relation_of(name) for name in [*LAWS, *law_names()]}
    assert listed == {name: [*fields_of(law.params)] for name, law in known.items() if law}


def test_exit_codes_and_commands_of_the_readme_are_those_of_the_program() -> None:
    codes = table("README.md", "Exit codes", "code")
    assert [int(code) for code in codes] == [*ExitCode]
    commands = table("README.md", "Commands", "command")
    (listed,) = [each.choices for each in make_parser()._actions if each.dest == "command"]
    assert listed is not None
    assert [*commands] == [*listed]


def test_the_readme_has_a_row_for_each_scenario() -> None:
    rows = table("README.md", "Scenarios", "scenario")
    profiles = {
        folder.name.partition("-")[0]: [f"`{each}`" for each in load(folder).scenario.profiles]
        for folder in folders(ROOT / "scenarios")
    }
    listed = {name: cells[1].split() for name, cells in rows.items()}
    assert listed == profiles, "README.md, Scenarios: one row for each scenario, with its profiles"


def test_every_session_is_listed() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    declared = re.findall(r"^@nox\.session\((.*)\)\ndef (\w+)\(", noxfile, re.MULTILINE)
    named = ((re.match(r'name="([\w-]+)"', options), function) for options, function in declared)
    sessions = {name.group(1) if name else function for name, function in named}
    listed = set(table("CONTRIBUTING.md", "Set up", "session"))
    assert listed == {*sessions, "reproduce-aNN", "regress-aNN"}


# --- examples and links ---------------------------------------------------------------------------


def test_the_ledger_page_has_a_valid_example_of_every_kind() -> None:
    declared = [metric for name in DECLARED_IN for metric in workload(name).metrics]
    units = {metric.name: metric.unit for metric in (*declared, *RUN_METRICS)}
    kinds = []
    for text in examples("docs/ledger.md"):
        in_section = text.startswith("- title:")
        whole = text if in_section else f"- title: One\n  entries:\n{indent(text, '  ')}"
        document = parse(f"scenario: a99-example\nsections:\n{whole}", ROOT / "docs/ledger.md")
        ledger.Ledger.model_validate(document.value)
        resolved = ledger.Expectations.model_validate(resolve(document, units).value)
        for entry in resolved.expectations:
            assert entry.metric in units or isinstance(entry, ledger.ArithmeticEntry)
            kinds.append(entry.kind)
            if isinstance(entry, ledger.LawEntry):
                law = relation_of(entry.expect.law)
                assert law is not None
                assert not [*problems_of(law.params, entry.expect.params)]
    assert set(kinds) == {
        get_args(kind.model_fields["kind"].annotation)[0] for kind in ledger.KINDS
    }


def test_the_examples_of_scenario_keys_are_valid() -> None:
    for text in examples("docs/scenarios.md"):
        for key, value in parse(text, ROOT / "docs/scenarios.md").value.items():
            annotation: Any = schema.Scenario.model_fields[key].annotation
            TypeAdapter(annotation).validate_python(value)


def test_the_table_of_the_readme_is_part_of_a_real_output() -> None:
    shown = re.findall(
        r"^```text\n(.*?)^```$", section("README.md", "The table"), re.DOTALL | re.MULTILINE
    )
    assert len(shown) == 2
    output = (ROOT / "docs" / "images" / "a19-evidence.txt").read_text(encoding="utf-8")
    lines = iter(output.splitlines())
    for line in "".join(shown).splitlines():
        assert line in ("...", "") or line in lines, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        aim = (page.parent / file).resolve() if file else page
        assert aim.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(each) for each in headings}, f"{page.name} links to {target}"


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_pages_name_files_that_exist() -> None:
    """A path in backticks that starts in one of our folders is really there."""
    pattern = re.compile(
        r"`((?:harness|tests|containers|requirements|docs|\.ci|\.github)/[\w./-]+)`"
    )
    for page in PAGES:
        for path in pattern.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name} names {path}"
