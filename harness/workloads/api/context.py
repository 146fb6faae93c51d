"""What a workload is given: its spec, its parameters, its evidence and its event writer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from harness.artefacts import Artefact
from harness.errors import HostError
from harness.records import RunSpec, record
from harness.variables import EVIDENCE_VARIABLE, MODELS_VARIABLE
from harness.workloads.api.emit import EventWriter
from harness.workloads.api.steps import Step, Steps

CHECKPOINTS = "checkpoints"  # the only folder of a run that outlives an attempt


@record
class Context:
    """Everything a workload may use.

    Attributes:
        spec: the run, completely decided.
        params: the workload's own parameter record, built from ``spec.params``.
        out: the folder for artefacts; it exists, and is the only writable place.
        emit: the event writer.
        steps: finished ones, of this run and others; by default in the run's own folder.
    """

    spec: RunSpec
    params: Any
    out: Path
    emit: EventWriter
    steps: Steps | None = None

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints that a later attempt can resume from; it may not exist.

        It outlives an attempt that is killed or fails, and is removed when the run has finished.
        """
        return self.out / CHECKPOINTS

    def step(
        self,
        name: str,
        *,
        decides: Mapping[str, Any],
        code: tuple[str, ...],
        reads: Mapping[str, str] | None = None,
        portable: bool = False,
        keeps: tuple[str, ...] = (),
    ) -> AbstractContextManager[Step]:
        """Give a step of the run, to be made or taken; see `harness.workloads.api.steps`."""
        assert self.steps is not None, "whoever starts a workload gives it a store of steps"
        return self.steps.step(
            name, decides=decides, code=code, reads=reads, portable=portable, keeps=keeps
        )

    @property
    def steps_done(self) -> tuple[Artefact, ...]:
        """The steps that the run has made or taken so far, in their order."""
        assert self.steps is not None, "whoever starts a workload gives it a store of steps"
        return tuple(self.steps.done)

    @property
    def step_folders(self) -> tuple[Path, ...]:
        """The folders of their files."""
        assert self.steps is not None, "whoever starts a workload gives it a store of steps"
        return tuple(self.steps.folder(each) for each in self.steps.done)

    def evidence(self, name: str) -> Path:
        """Return the path of a published file whose contents have the sha256 the spec names.

        Raises:
            HostError: the file is absent, or is not the one published.
        """
        root = Path(os.environ.get(EVIDENCE_VARIABLE, "evidence"))
        path = root / name
        if not path.is_file():
            message = f"evidence {name} is not in {root}"
            raise HostError(message, f"harness fetch {self.spec.scenario}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.spec.evidence[name]:
            message = f"evidence {path} is not the published file (its sha256 differs)"
            raise HostError(message, f"harness fetch {self.spec.scenario}")
        return path

    def model(self, name: str) -> Path:
        """Return the folder of a published model, named as ``organisation/name@revision``.

        Raises:
            HostError: it is not there; the profile does not list it among its models.
        """
        root = Path(os.environ.get(MODELS_VARIABLE, "models"))
        path = root / name.partition("@")[0]
        if not (path / "config.json").is_file():
            message = f"model {name} is not in {root}"
            raise HostError(message, f"list it under models in {self.spec.scenario}")
        return path
