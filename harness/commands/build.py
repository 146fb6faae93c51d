"""``harness build``: build container images and lock their digests."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import ExitCode, InputError, Problem
from harness.records import record
from harness.runtime.images import build, resolve
from harness.scenario.images import read_lock
from harness.session.options import BuildOptions
from harness.session.output import print_answer
from harness.session.project import open_project


@record
class BuildAnswer:
    """The answer of ``harness build --json``: image -> digest; None for one without a base."""

    digests: Mapping[str, str | None]


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
        print_answer(options, BuildAnswer(digests=digests))
        return ExitCode.OK
    for name, digest in digests.items():
        print(f"{name}  {digest or 'no base image'}")
    return ExitCode.OK
