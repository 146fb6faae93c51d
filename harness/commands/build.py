"""``harness build``: build container images and lock what they came to."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.commands.progress import say
from harness.commands.project import open_project
from harness.errors import ExitCode
from harness.runtime.images import build, resolve
from harness.scenario.images import read_lock


def main(options: argparse.Namespace) -> ExitCode:
    """Build, or only look base digests up; every digest goes into the lock."""
    containers = open_project(options).containers
    names = options.image or list(read_lock(containers))
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
