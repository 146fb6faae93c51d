"""A sandbox that a supervisor manages: the protocol `Sandbox`, as requests to the supervisor.

Where the supervisor runs, and what isolates its sandbox, is up to a `SandboxFactory`: `bubblewrap`,
`container_pool`, or `remote` for a run in a container.
"""

from __future__ import annotations

from typing import Protocol, Self

from harness.errors import InputError
from harness.sandbox.base import CommandResult, SandboxUnavailable
from harness.sandbox.channel import SandboxChannel
from harness.sandbox.limits import CommandLimits, SandboxLimits
from harness.sandbox.protocol import SandboxOp, SandboxRequest, join_files, split_files
from harness.sandbox.workspace import Workspace, WorkspaceOverflow, seed_problems

_FILES_S = 60.0  # writing, reading or removing all files of a sandbox
_AFTER_S = 20.0  # ending what a command started, and removing what it left outside the workspace


class SandboxFactory(Protocol):
    """Makes sandboxes."""

    @property
    def limits(self) -> SandboxLimits:
        """What each of its sandboxes may use."""
        ...

    def open(self) -> SandboxChannel:
        """Make a sandbox with an empty workspace.

        Raises:
            SandboxUnavailable: this machine cannot make one.
        """
        ...

    def close(self, channel: SandboxChannel) -> None:
        """Take back a sandbox that nobody uses any more."""
        ...


class SupervisedSandbox:
    """The protocol `Sandbox`, on a sandbox that `factory` makes."""

    def __init__(self, factory: SandboxFactory) -> None:
        self._factory = factory
        self._limits = factory.limits
        self._channel: SandboxChannel | None = None
        self._seed: Workspace = {}

    def __enter__(self) -> Self:
        assert self._channel is None, "a sandbox is entered once"
        self._channel = self._factory.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`; end whatever ran, remove whatever was there.

        Raises:
            InputError: it cannot be laid out as files, or is larger than `SandboxLimits` allows.
        """
        if problems := tuple(seed_problems(workspace, self._limits)):
            raise InputError(problems)
        self._seed = dict(workspace)
        self.reset()

    def reset(self) -> None:
        """Make the workspace hold again what `materialise` last put there."""
        sizes, content = join_files(self._seed)
        request = SandboxRequest(op=SandboxOp.MATERIALISE, sizes=sizes)
        self._connected().call(request, content, within_s=_FILES_S)

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run one command; see the protocol."""
        request = SandboxRequest(op=SandboxOp.RUN, command=command, limits=limits)
        response, _ = self._connected().call(request, within_s=limits.timeout_s + _AFTER_S)
        if response.result is None:
            message = "the sandbox gave no result of a command"
            raise SandboxUnavailable(message)
        return response.result

    def list(self) -> tuple[str, ...]:
        """Return the sorted paths of the workspace."""
        request = SandboxRequest(op=SandboxOp.LIST, max_paths=self._limits.workspace_paths)
        response, _ = self._connected().call(request, within_s=_FILES_S)
        if response.overflow:
            raise WorkspaceOverflow(response.overflow)
        return response.paths

    def snapshot(self) -> Workspace:
        """Return what the workspace holds now."""
        max_bytes, max_paths = self._limits.workspace_bytes, self._limits.workspace_paths
        request = SandboxRequest(op=SandboxOp.SNAPSHOT, max_bytes=max_bytes, max_paths=max_paths)
        response, content = self._connected().call(request, max_blob=max_bytes, within_s=_FILES_S)
        if response.overflow:
            raise WorkspaceOverflow(response.overflow)
        try:
            return split_files(response.sizes or {}, content)
        except ValueError as error:
            message = f"the sandbox gave no workspace: {error}"
            raise SandboxUnavailable(message) from error

    def destroy(self) -> None:
        """End every process of the sandbox and remove it; a second call does nothing."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._factory.close(channel)

    def _connected(self) -> SandboxChannel:
        if self._channel is None:
            message = "the sandbox has not been made, or has been destroyed"
            raise SandboxUnavailable(message)
        return self._channel
