"""A box with a keeper in it: the protocol `Sandbox`, as questions to the keeper.

Where the keeper runs, and what shuts its box, is a `Maker`'s business: `bubblewrap`, which may be
`outside` of a run's container, or `pool`.
"""

from __future__ import annotations

from typing import Protocol, Self

from harness.errors import InputError, Problem
from harness.sandbox.base import (
    BoxLimits,
    CommandLimits,
    CommandResult,
    SandboxUnavailable,
)
from harness.sandbox.channel import Link
from harness.sandbox.protocol import Deed, Request, joined, parted
from harness.sandbox.workspace import Workspace, WorkspaceOverflow, workspace_problems

_FILES_S = 60.0  # writing, reading or removing all files of a box
_AFTER_S = 20.0  # ending what a command started, and removing what it left outside the workspace


class Maker(Protocol):
    """What makes boxes."""

    @property
    def limits(self) -> BoxLimits:
        """What each of its boxes may use."""
        ...

    def open(self) -> Link:
        """Make a box with an empty workspace.

        Raises:
            SandboxUnavailable: this machine has no place for one.
        """
        ...

    def close(self, link: Link) -> None:
        """Take a box back that nobody uses any more."""
        ...


class Box:
    """The protocol `Sandbox`, on a box that `maker` makes."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._limits = maker.limits
        self._link: Link | None = None
        self._seed: Workspace = {}

    def __enter__(self) -> Self:
        assert self._link is None, "a box is entered once"
        self._link = self._maker.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`; whatever was there, and ran, is gone.

        Raises:
            InputError: it cannot be laid out as files, or is larger than `BoxLimits` allows.
        """
        problems = [*workspace_problems(workspace)]
        size, most = sum(map(len, workspace.values())), self._limits
        if size > most.workspace_bytes or len(workspace) > most.workspace_paths:
            problems.append(
                Problem(
                    message="the workspace is too large",
                    value=f"{size} bytes in {len(workspace)} paths",
                    allowed=f"{most.workspace_bytes} bytes in {most.workspace_paths} paths",
                )
            )
        if problems:
            raise InputError(problems)
        self._seed = dict(workspace)
        self.reset()

    def reset(self) -> None:
        """Make the workspace hold again what `materialise` last put there."""
        sizes, content = joined(self._seed)
        self._open().ask(Request(deed=Deed.MATERIALISE, sizes=sizes), content, within_s=_FILES_S)

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run one command; see the protocol."""
        request = Request(deed=Deed.RUN, command=command, limits=limits)
        answer, _ = self._open().ask(request, within_s=limits.timeout_s + _AFTER_S)
        if answer.result is None:
            message = "the box gave no result of a command"
            raise SandboxUnavailable(message)
        return answer.result

    def list(self) -> tuple[str, ...]:
        """Return the sorted paths of the workspace."""
        answer, _ = self._open().ask(Request(deed=Deed.LIST), within_s=_FILES_S)
        if answer.overflow:
            raise WorkspaceOverflow(answer.overflow)
        return answer.paths

    def snapshot(self) -> Workspace:
        """Return what the workspace holds now."""
        max_bytes, max_paths = self._limits.workspace_bytes, self._limits.workspace_paths
        request = Request(deed=Deed.SNAPSHOT, max_bytes=max_bytes, max_paths=max_paths)
        answer, content = self._open().ask(request, max_blob=max_bytes, within_s=_FILES_S)
        if answer.overflow:
            raise WorkspaceOverflow(answer.overflow)
        try:
            return parted(answer.sizes or {}, content)
        except ValueError as error:
            message = f"the box gave no workspace: {error}"
            raise SandboxUnavailable(message) from error

    def destroy(self) -> None:
        """End every process of the box and remove it; a second time does nothing."""
        link, self._link = self._link, None
        if link is not None:
            self._maker.close(link)

    def _open(self) -> Link:
        if self._link is None:
            message = "the box has not been made, or has been destroyed"
            raise SandboxUnavailable(message)
        return self._link
