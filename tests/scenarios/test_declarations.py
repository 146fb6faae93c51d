"""Everything checked in is right by itself: scenarios, ledgers, workloads and what each imports."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

from harness.check.laws import LAWS, law_problems
from harness.check.verdicts import exit_code
from harness.errors import ExitCode
from harness.measure import metrics_by_name
from harness.plan.expand import expand
from harness.plan.overrides import Overrides
from harness.records import Verdict, VerdictKind
from harness.scenario import schema
from harness.scenario.expectations import (
    ArithmeticEntry,
    Entry,
    Expectations,
    LawEntry,
    OrderingEntry,
    RatioEntry,
)
from harness.scenario.images import read_lock
from harness.scenario.load import Loaded, load, load_expectations
from harness.scenario.positions import read
from harness.units import UNITS
from harness.workloads.api.declare import Workload, defaults_of, fields_of, problems_of
from harness.workloads.api.registry import DECLARED_IN, law, law_names, workload

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("scenarios/*/scenario.yaml"))
WORKLOADS = [workload(name) for name in DECLARED_IN]
HEAVY = ("torch", "vllm", "ray", "transformers", "docker", "scipy", "matplotlib", "numpy")

every_scenario = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
every_workload = pytest.mark.parametrize("declared", WORKLOADS, ids=lambda each: each.name)


@cache
def loaded_of(folder: Path) -> Loaded:
    return load(folder)


@cache
def ledger_of(folder: Path) -> Expectations:
    return load_expectations(loaded_of(folder), law_problems)


@cache
def described_by(exported: str) -> jsonschema.Draft202012Validator:
    described = json.loads((ROOT / "docs/schema" / exported).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(described)
    return jsonschema.Draft202012Validator(described)


# --- scenarios ------------------------------------------------------------------------------------


@every_scenario
def test_it_loads_with_its_ledger_and_every_profile_plans(folder: Path) -> None:
    loaded = loaded_of(folder)
    assert ledger_of(folder).expectations
    for profile in loaded.scenario.profiles:
        plan = expand(loaded, profile, Overrides())
        assert plan.runs
        assert len({run.run_id for run in plan.runs}) == len(plan.runs)


@every_scenario
def test_what_executes_commands_of_a_model_asks_for_sandboxes(folder: Path) -> None:
    loaded = loaded_of(folder)
    for profile in loaded.scenario.profiles:
        for run in expand(loaded, profile, Overrides()).runs:
            asked = run.sandbox.kind.value if run.sandbox is not None else None
            assert asked == run.params.get("sandbox"), profile


@every_scenario
def test_editors_accept_its_files(folder: Path) -> None:
    for name, exported in (("scenario", "scenario.json"), ("expectations", "expectations.json")):
        described_by(exported).validate(read(folder / f"{name}.yaml").value)


@every_scenario
def test_its_images_are_in_the_lock(folder: Path) -> None:
    profiles = loaded_of(folder).scenario.profiles.values()
    assert {each.image for each in profiles} - {None} <= set(read_lock(ROOT / "containers"))


@every_scenario
def test_its_row_keys_are_known_to_its_workloads(folder: Path) -> None:
    """A key that no param has and no source of the workloads' rooms holds is a misspelt one."""
    scenario = loaded_of(folder).scenario
    declared = [workload(scenario.workload_of(profile)) for profile in scenario.profiles]
    params = {name for each in declared for name in fields_of(each.params)}
    source = "\n".join(room_source(each) for each in declared)
    entries = ledger_of(folder).expectations
    measured = [entry for entry in entries if not isinstance(entry, ArithmeticEntry)]
    keys = {key for entry in measured for key in row_keys(entry)}
    keys |= {key for plot in scenario.report.plots for key in (plot.x, *plot.series)}
    unknown = {key for key in keys - params if not re.search(rf"\b{key}\b", source)}
    assert unknown == set()


@every_scenario
def test_its_tolerances_are_not_finer_than_the_metric(folder: Path) -> None:
    metrics = metrics_by_name(loaded_of(folder).scenario)
    for entry in ledger_of(folder).expectations:
        if isinstance(entry, ArithmeticEntry):  # no run takes part, so its metric is but a name
            continue
        resolution = metrics[entry.metric].resolution
        tolerance = getattr(entry.expect, "abs", None)
        if resolution is not None and tolerance is not None:
            assert tolerance >= resolution or tolerance == 0, entry.id


def row_keys(entry: Entry) -> Iterator[str]:
    """Yield every param or row key that an entry names."""
    yield from entry.where
    if isinstance(entry, RatioEntry):
        yield from entry.expect.to.where
    if isinstance(entry, OrderingEntry):
        yield from entry.expect.than.where
    if isinstance(entry, LawEntry):
        asked = entry.expect.params
        yield from (asked[name] for name in ("along",) if name in asked)
        yield from (*asked.get("over", ()), *asked.get("cell", ()))


@cache
def room_source(declared: Workload) -> str:
    """Return all source of the rooms of a workload: where it runs and where it is derived."""
    modules = [declared.entry.partition(":")[0], DECLARED_IN[declared.name]]
    modules += [declared.derivation.partition(":")[0]] if declared.derivation else []
    rooms = {source_of(module).parent for module in modules}
    return "\n".join(
        file.read_text(encoding="utf-8")
        for room in sorted(rooms)
        for file in sorted(room.glob("*.py"))
    )


def source_of(module: str) -> Path:
    """Return the file of a module, which is not imported."""
    found = find_spec(module)
    assert found is not None, module
    assert found.origin is not None, module
    return Path(found.origin)


# --- workloads ------------------------------------------------------------------------------------


@every_workload
def test_its_programs_exist(declared: Workload) -> None:
    for aim in (declared.entry, declared.derivation, *_formulas(declared)):
        if aim:
            module, _, function = aim.partition(":")
            tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function in defined, aim


@every_workload
def test_its_declaration_is_sound(declared: Workload) -> None:
    assert [each.name for each in WORKLOADS].count(declared.name) == 1
    assert declared.metrics
    assert len({each.name for each in declared.metrics}) == len(declared.metrics)
    assert all(each.unit in UNITS and each.doc for each in declared.metrics)
    assert all(field.metadata["doc"] for _, field in fields_of(declared.params).values())
    wrong = problems_of(declared.params, defaults_of(declared.params))
    assert [each for each in wrong if each.message != "parameter is required"] == []


def loaded_by(statement: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded after `statement`."""
    program = (
        f"import sys\n{statement}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_declarations_load_nothing_heavy() -> None:
    modules = "; ".join(f"import {module}" for module in sorted(set(DECLARED_IN.values())))
    assert loaded_by(modules) & {*HEAVY, "pydantic", "yaml"} == set()


def test_derivations_load_nothing_heavy() -> None:
    aims = [aim for each in WORKLOADS for aim in (each.derivation, *_formulas(each))]
    derived = {aim.partition(":")[0] for aim in aims} - {""}
    assert (
        loaded_by("; ".join(f"import {module}" for module in sorted(derived))) & {*HEAVY} == set()
    )


def _formulas(declared: Workload) -> list[str]:
    return [each.formula for each in declared.laws]


def test_a_law_has_one_name_and_one_meaning() -> None:
    declared = [each for declared in WORKLOADS for each in declared.laws]
    assert sorted({each.name for each in declared}) == law_names()
    assert all(law(each.name) == each for each in declared)
    assert {*law_names()} & {*LAWS} == set()
    for each in declared:
        assert each.unit in UNITS
        assert each.doc.format_map(defaults_of(each.params))


def test_the_command_line_loads_nothing_heavy() -> None:
    unwanted = {*HEAVY, "pydantic", "yaml", "rich", "tabulate", "jinja2", "pooch"}
    assert loaded_by("import harness.cli") & unwanted == set()


def test_listing_loads_no_reports_and_no_models_of_files() -> None:
    unwanted = {*HEAVY, "pydantic", "yaml", "rich", "tabulate", "jinja2", "pooch"}
    assert loaded_by("import harness.commands.list") & unwanted == set()


def test_what_runs_nothing_loads_nothing_heavy() -> None:
    commands = ("list", "validate", "show", "check", "report", "publish", "completion")
    together = "; ".join(f"import harness.commands.{command}" for command in commands)
    assert loaded_by(together) & {*HEAVY} == set()


# --- closed sets ----------------------------------------------------------------------------------


def test_exit_codes_have_one_meaning_each() -> None:
    assert len({code.value for code in ExitCode}) == len(ExitCode.__members__)


@pytest.mark.parametrize("kind", VerdictKind)
def test_every_verdict_comes_to_an_exit_code(kind: VerdictKind) -> None:
    code = exit_code([Verdict(expectation="any", kind=kind, metric="noop.value")])
    good = {VerdictKind.REPRODUCED, VerdictKind.ARTICLE_DIFFERS}
    assert (code is ExitCode.OK) == (kind in good)


def test_every_pattern_of_a_file_has_words_for_people() -> None:
    exported = "".join(
        (ROOT / "docs/schema" / name).read_text(encoding="utf-8")
        for name in ("scenario.json", "expectations.json")
    )
    patterns = {json.loads(f'"{each}"') for each in re.findall(r'"pattern": "(.*)"', exported)}
    assert patterns
    assert patterns <= set(schema.WRITTEN_AS)
