"""What a workload is given: its spec, its parameters, its evidence and its event writer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from harness.errors import HostError
from harness.records import RunSpec, record
from harness.variables import EVIDENCE_VARIABLE, MODELS_VARIABLE
from harness.workloads.api.emit import EventWriter
from harness.workloads.api.steps import Steps

CHECKPOINTS = "checkpoints"  # the only folder of a run that outlives an attempt


@record
class Context:
    """Everything a workload may use.

    Attributes:
        spec: the run, completely decided.
        params: the workload's own parameter record, built from ``spec.params``.
        out: the folder for artefacts; it exists, and is the only writable place.
        emit: the event writer.
        steps: its expensive parts, to be made, or taken where they are there already.
    """

    spec: RunSpec
    params: Any
    out: Path
    emit: EventWriter
    steps: Steps

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints that a later attempt can resume from; it may not exist.

        It outlives an attempt that is killed or fails, and is removed when the run has finished.
        """
        return self.out / CHECKPOINTS

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
