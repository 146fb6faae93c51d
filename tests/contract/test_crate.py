"""A bundle is an RO-Crate to the validator of the format's makers, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.results.archive import unpack
from harness.results.crate import CRATE_FILE
from harness.results.files import ARCHIVE_FILE

from .publication import make_key, make_publication
from .small import NAME, ROOT

VALIDATOR = os.environ.get("HARNESS_CRATE_PYTHON", "")


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    project = make_publication(tmp_path / "project", make_key(tmp_path))
    folder = tmp_path / "crate"
    unpack(project / "results" / NAME / "cpu" / ARCHIVE_FILE, folder)
    return folder


@pytest.mark.skipif(not VALIDATOR, reason="needs roc-validator: use nox -s crate")
def test_a_bundle_is_a_valid_crate(crate: Path) -> None:
    def validated() -> subprocess.CompletedProcess[str]:
        command = [VALIDATOR, str(ROOT / "tests" / "bench" / "crate.py"), str(crate)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    done = validated()
    assert done.returncode == 0, done.stdout + done.stderr
    metadata = crate / CRATE_FILE
    document = json.loads(metadata.read_text(encoding="utf-8"))
    root = next(each for each in document["@graph"] if each["@id"] == "./")
    del root["datePublished"]
    metadata.write_text(json.dumps(document), encoding="utf-8")
    assert "datePublished" in validated().stdout
