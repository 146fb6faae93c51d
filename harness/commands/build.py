"""``harness build``: build container images and lock what they came to."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.commands.progress import say
from harness.commands.project import open_project
from harness.errors import ExitCode, InputError, Problem
from harness.runtime.images import build, resolve
from harness.scenario.images import read_lock


def main(options: argparse.Namespace) -> ExitCode:
    """Build, or only look base digests up; every digest goes into the lock.

    Raises:
        InputError: no image is named; all of them, some of 70 GB, are built only where asked for.
    """
    containers = open_project(options).containers
    lock = read_lock(containers)
    names = list(lock) if options.all else options.image
    if not names:
        message = "no image is named; name some, or give --all"
        raise InputError([Problem(message=message, allowed=", ".join(lock))])
    digests = {name: _digest(containers, name, options) for name in names}
    if options.json:
        print(json.dumps(digests, indent=1))
        return ExitCode.OK
    for name, digest in digests.items():
        print(f"{name}  {digest or 'starts from no other image'}")
    return ExitCode.OK


def _digest(containers: Path, name: str, options: argparse.Namespace) -> str | None:
    if options.resolve:
        return resolve(containers, name, accept=options.accept)
    return build(containers, name, accept=options.accept, listen=say).digest
