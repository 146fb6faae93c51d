"""The JSON Schema of all that ``--json`` prints, from the records that are printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from harness.commands.artefacts import ArtefactsAnswer
from harness.commands.audit import AuditAnswer
from harness.commands.build import BuildAnswer
from harness.commands.check import CheckAnswer
from harness.commands.compare import CompareAnswer
from harness.commands.doctor import DoctorAnswer
from harness.commands.export import ExportAnswer
from harness.commands.fetch import FetchAnswer
from harness.commands.history import HistoryAnswer
from harness.commands.list import ListAnswer
from harness.commands.open import OpenAnswer
from harness.commands.pin import PinAnswer
from harness.commands.plan import PlanAnswer
from harness.commands.publish import PublishAnswer
from harness.commands.regress import BisectAnswer, RegressAnswer
from harness.commands.rehearse import RehearseAnswer
from harness.commands.report import ReportAnswer, SplicedAnswer, StaleAnswer, WrittenAnswer
from harness.commands.run import RunAnswer
from harness.commands.show import ShowAnswer
from harness.commands.site import SiteAnswer
from harness.commands.validate import ValidateAnswer
from harness.commands.verify import VerifyAnswer
from harness.session.output import OUTPUT_VERSION, OutputError, SaidAnswer

# command -> the type of its answer
OF_SCENARIOS: Mapping[str, Any] = {
    "audit": AuditAnswer,
    "check": CheckAnswer,
    "fetch": FetchAnswer,
    "pin": PinAnswer,
    "plan": PlanAnswer,
    "publish": PublishAnswer,
    "rehearse": RehearseAnswer,
    "report": ReportAnswer | WrittenAnswer,
    "run": RunAnswer,
    "show": ShowAnswer,
}
OF_ALL: Mapping[str, Any] = {
    "artefacts": ArtefactsAnswer,
    "build": BuildAnswer,
    "compare": CompareAnswer,
    "doctor": DoctorAnswer,
    "export": ExportAnswer,
    "history": HistoryAnswer | SaidAnswer,
    "list": ListAnswer,
    "open": OpenAnswer,
    "report": SplicedAnswer | StaleAnswer,
    "regress": RegressAnswer | BisectAnswer | SaidAnswer,
    "site": SiteAnswer,
    "validate": ValidateAnswer,
    "verify": VerifyAnswer,
    "watch": Mapping[str, Any],
}


def output_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the document of every command."""
    every = {(name, True): kind for name, kind in OF_SCENARIOS.items()}
    every |= {(name, False): kind for name, kind in OF_ALL.items()}
    every["", False] = OutputError
    mode: Literal["serialization"] = "serialization"
    schemas, definitions = TypeAdapter.json_schemas(
        (name, mode, TypeAdapter(kind)) for name, kind in every.items()
    )
    of = {name: schemas[name, mode] for name in every}
    definitions = {name: _closed(each) for name, each in definitions["$defs"].items()}
    error = of.pop(("", False))
    commands = [
        _document(name, answer, error, by_scenario=by_scenario)
        for (name, by_scenario), answer in of.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What harness prints with --json",
        "oneOf": [*commands, _document("", {"type": "null"}, error, by_scenario=False)],
        "$defs": definitions,
    }


def _document(name: str, answer: Any, error: Any, *, by_scenario: bool) -> dict[str, Any]:
    """Return the schema of one command's document."""
    null = {"type": "null"}
    errors = {"type": "array", "items": error}
    code = {"enum": [0, 1, 2, 3, 4, 130]}
    maybe = {"anyOf": [answer, null]}
    of_scenario = _closed(
        {
            "type": "object",
            "properties": {"exit_code": code, "answer": maybe, "errors": errors},
        }
    )
    return _closed(
        {
            "type": "object",
            "properties": {
                "schema_version": {"const": OUTPUT_VERSION},
                "command": {"const": name},
                "exit_code": code,
                "answer": null if by_scenario else maybe,
                "scenarios": {
                    "type": "object",
                    "additionalProperties": of_scenario if by_scenario else False,
                },
                "errors": errors,
            },
        }
    )


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has every key that is named, and no other."""
    if "properties" not in schema:
        return dict(schema)
    required = list(schema["properties"])
    return {**schema, "required": required, "additionalProperties": False}
