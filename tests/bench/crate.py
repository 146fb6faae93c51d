"""Validate an RO-Crate by the validator of the format's makers: ``python -m tests.bench.crate``.

It runs in an environment of its own (`nox -s crate`). The validator asks for the JSON-LD context at
its public address; here it is given the copy that ro-crate-py ships, so that nothing is fetched.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import requests
import rocrate
from rocrate.rocrate import ROCrate
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

_CONTEXT = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
_ADDRESS = "https://w3id.org/ro/crate/1.1/context"


def main(folder: str) -> int:
    """Print what is wrong with a crate; 0 if it is right."""
    crate = ROCrate(folder)
    missing = [each.id for each in crate.data_entities if not (Path(folder) / each.id).exists()]
    settings = services.ValidationSettings(
        rocrate_uri=folder,
        profile_identifier="ro-crate-1.1",
        requirement_severity=models.Severity.REQUIRED,
    )
    with (
        mock.patch.object(HttpRequester, "get", _answer, create=True),
        mock.patch.object(HttpRequester, "head", _answer, create=True),
    ):
        found = services.validate(settings)
    for issue in found.get_issues():
        print(f"{issue.check.identifier}: {issue.message}")
    for name in missing:
        print(f"is not there: {name}")
    print(f"{len(crate.data_entities)} files and folders")
    return 0 if found.passed() and not missing else 1


def _answer(_self: object, address: str, **_options: Any) -> requests.Response:
    assert address == _ADDRESS, address
    response = requests.Response()
    response.status_code = 200
    response.raw = BytesIO(_CONTEXT.read_bytes())
    response.headers["Content-Type"] = "application/ld+json"
    return response


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
