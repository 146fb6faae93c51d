"""The Python that runs workloads, and its packages.

``python -m harness.results.interpreter`` prints the same as JSON, for an interpreter in a
container.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from functools import cache

from harness.probes.reading import NotSupported, Reasons, check_absent
from harness.records import record, to_json


@record
class Interpreter:
    """A Python and its packages.

    Attributes:
        python: implementation and version, e.g. ``CPython 3.12.3``.
        packages: distribution -> version, in order of name.
        torch_record: sha256 of the list of files that torch was installed from, which tells builds
            of one version apart; None without torch.
        absent: field -> why it is None.
    """

    python: str
    packages: Mapping[str, str]
    torch_record: str | None
    absent: Mapping[str, str]

    def __post_init__(self) -> None:
        check_absent(self)


@cache
def this_interpreter() -> Interpreter:
    """Return the running Python and its packages, looked up once a process."""
    why = Reasons()
    # the first on the path is the one that an import gets
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        found.setdefault(each.name, each.version)
    return Interpreter(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=dict(sorted(found.items(), key=lambda item: item[0].lower())),
        torch_record=why.known("torch_record", _record_sha256("torch")),
        absent=why,
    )


def _record_sha256(name: str) -> str | NotSupported:
    try:
        files = importlib.metadata.distribution(name).read_text("RECORD")
    except importlib.metadata.PackageNotFoundError:
        return NotSupported(reason=f"{name} is not installed")
    if files is None:
        return NotSupported(reason=f"{name} was not installed from a wheel")
    return hashlib.sha256(files.encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps(to_json(this_interpreter()), indent=1))
