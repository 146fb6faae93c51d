"""``harness build``: build container images and lock their digests."""

from __future__ import annotations

import json

from harness.errors import ExitCode, InputError, Problem
from harness.runtime.images import build, resolve
from harness.scenario.images import read_lock
from harness.session.options import BuildOptions
from harness.session.project import open_project


def main(options: BuildOptions) -> ExitCode:
    """Build, or only look base digests up; every digest goes into the lock.

    Raises:
        InputError: no image is named; all of them, some of 70 GB, are built only where asked for.
    """
    containers = open_project(options).containers
    lock = read_lock(containers)
    names = list(lock) if options.all else options.images
    if not names:
        message = "no image given; name images, or give --all to build every one"
        raise InputError([Problem(message=message, allowed=", ".join(lock))])
    digests: dict[str, str | None] = {}
    for name in names:
        if options.resolve:
            digests[name] = resolve(containers, name, accept=options.accept)
        else:
            made = build(containers, name, accept=options.accept, listen=options.console.say)
            digests[name] = made.digest
    if options.json:
        print(json.dumps(digests, indent=1))
        return ExitCode.OK
    for name, digest in digests.items():
        print(f"{name}  {digest or 'no base image'}")
    return ExitCode.OK
