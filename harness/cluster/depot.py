"""Beside the driver: lends nodes the files, models, finished steps and images that they lack."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.artefacts import ArtefactStore
from harness.cluster import images
from harness.cluster.node import chunks_of
from harness.results.archive import sha256


class Depot:
    """Answers the questions of nodes, each with chunks of bytes.

    Args:
        evidence_dir: of the published files; None where no run reads any.
        models_dir: of the published models; None likewise.
        artefacts_dir: of the finished steps.

    Attributes:
        arguments: to make another one.
    """

    def __init__(
        self, evidence_dir: Path | None, models_dir: Path | None, artefacts_dir: Path
    ) -> None:
        self.arguments = (evidence_dir, models_dir, artefacts_dir)
        self._evidence_dir, self._models_dir = evidence_dir, models_dir
        self._artefacts = ArtefactStore(artefacts_dir)

    def lend(self, question: str, *arguments: str) -> Iterator[bytes]:
        """Yield what is asked for.

        Args:
            question: ``evidence`` (file), ``model`` (name: path -> sha256, as JSON), ``model
                file`` (name, path), ``step`` (key: an archive of it) or ``image`` (digest: an
                archive of it).
            arguments: as said.
        """
        match question, *arguments:
            case "evidence", file:
                assert self._evidence_dir is not None
                yield from chunks_of(_below(self._evidence_dir, file))
            case "model", name:
                yield json.dumps(_listed(self._model(name))).encode()
            case "model file", name, path:
                yield from chunks_of(_below(self._model(name), path))
            case "step", key:
                with tempfile.TemporaryDirectory(dir=self._artefacts.root, prefix=".lent.") as name:
                    archive = Path(name) / "step.tar"
                    self._artefacts.export([key], archive)
                    yield from chunks_of(archive)
            case "image", digest:
                yield from images.saved(digest)
            case _:
                message = f"the depot does not know {question!r}"
                raise ValueError(message)

    def _model(self, name: str) -> Path:
        assert self._models_dir is not None
        return _below(self._models_dir, name.partition("@")[0])


@cache
def _listed(model: Path) -> dict[str, str]:
    """Return path -> sha256 of a model's files, read once."""
    paths = sorted(path for path in model.rglob("*") if path.is_file())
    return {str(path.relative_to(model)): sha256(path) for path in paths}


def _below(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        message = f"{name!r} is not below {root}"
        raise ValueError(message)
    return path
