"""A sandbox: where the commands that a model writes run.

Article 32 runs ``bash -c COMMAND`` on the host, with inherited standard input and no isolation. A
sandbox keeps what decides a result (the shell, the working directory, the time limit, exit code
124) and changes what is unsafe: standard input is empty, the environment is fixed, nothing outside
the workspace can be changed, there is no network, and no process outlives `run`.

One test suite (`tests/contract/test_sandbox.py`) holds every implementation to this protocol.
"""

from __future__ import annotations

from typing import Protocol, Self

from harness.errors import HostError
from harness.records import record
from harness.sandbox.limits import CommandLimits
from harness.sandbox.workspace import Workspace

TIMED_OUT = 124  # the exit code that `timeout` gives, and article 32 with it


class SandboxUnavailable(HostError):  # noqa: N818 - a state of the machine
    """The sandbox could not be made, or broke; never a failed command.

    An implementation raises this, and only this, for whatever keeps it from giving a result: no
    daemon, no user namespaces, a full disk of the host, a sandbox that somebody else ended, or one
    that a command broke in spite of everything. Whose doing it was is for who knows what ran in it
    (`harness.workloads.envs.files.environment`).
    """


@record
class CommandResult:
    """What one command did.

    Attributes:
        exit_code: as the shell reports it; `TIMED_OUT` when the limit ended it, 128 + n for
            signal n.
        stdout: decoded as UTF-8, bytes that are not UTF-8 replaced.
        stderr: the same.
        timed_out: the time limit ended it, and with it every process that it had started.
        truncated: one of the streams was longer than `CommandLimits.output_bytes`.
        wall_s: how long it ran, seconds.
    """

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False
    truncated: bool = False
    wall_s: float = 0.0


class Sandbox(Protocol):
    """One sandbox with one workspace; it exists between ``__enter__`` and ``__exit__``.

    Nothing starts in ``__init__``. One thread at a time uses a sandbox. Every method but `destroy`
    raises `SandboxUnavailable` when the sandbox is not there.
    """

    def __enter__(self) -> Self:
        """Make the sandbox, with an empty workspace."""
        ...

    def __exit__(self, *_: object) -> None:
        """Destroy the sandbox, however the block ended."""
        ...

    def materialise(self, workspace: Workspace) -> None:
        """Make the workspace hold exactly `workspace`; end whatever ran, remove whatever was there.

        Raises:
            InputError: `workspace_problems` finds any; the sandbox is left as it was.
        """
        ...

    def run(self, command: str, limits: CommandLimits = CommandLimits()) -> CommandResult:  # noqa: B008 - frozen
        """Run ``bash -c command`` in the workspace's root and wait until all it started has ended.

        Standard input is empty. The environment is ``PATH=/usr/bin:/bin``, ``HOME`` (the
        workspace's root) and ``LANG=C.UTF-8``, nothing else. Processes left in the background are
        ended when the shell exits. Text that is not valid shell fails as the shell reports it.
        """
        ...

    def list(self) -> tuple[str, ...]:
        """Return the sorted paths of the workspace, as `snapshot` would.

        Raises:
            WorkspaceOverflow: there are more, or longer ones, than `SandboxLimits` allows.
        """
        ...

    def snapshot(self) -> Workspace:
        """Return what the workspace holds now; links are treated as in `workspace.read_tree`.

        File modes do not matter: a file that the model made unreadable is read all the same.

        Raises:
            WorkspaceOverflow: the model left more than `SandboxLimits` allows, or what takes too
                long to read.
        """
        ...

    def reset(self) -> None:
        """Make the workspace hold again what `materialise` last put there (nothing, if never)."""
        ...

    def destroy(self) -> None:
        """End every process of the sandbox and remove it; a second call does nothing."""
        ...
