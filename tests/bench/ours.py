"""The harness's command lines on generated projects; each method measures once, CPU seconds."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from pathlib import Path

from tests.bench import corpus
from tests.bench.cost import Program, cpu_s


class Harness:
    """The harness on generated projects.

    Args:
        folder: an empty folder for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        corpus.write_scenarios(folder / "list")
        corpus.write_cells(folder / "cells")
        corpus.write_ledger(folder / "ledger")
        self._run(says=f"{corpus.NUM_CELLS} of {corpus.NUM_CELLS} runs")

    def version(self) -> float:
        """``harness --version``."""
        return self._cost("--version")

    def list_cold(self) -> float:
        """``harness list``, without its index."""
        shutil.rmtree(self._cache, ignore_errors=True)
        return self.list_indexed()

    def list_indexed(self) -> float:
        """``harness list``, with the index that an earlier one left."""
        return self._cost_in("list", "list", says=f"{corpus.NUM_SCENARIOS} scenarios")

    def cell(self) -> float:
        """One cell that does nothing, beyond its program started by hand."""
        return self._beyond("local")

    def container_cell(self) -> float:
        """The same in a container, beyond ``docker run`` by hand; wall-clock seconds."""
        return self._beyond("docker")

    def rerun(self) -> float:
        """``harness run`` where every cell is finished."""
        return self._run(says=f"{corpus.NUM_CELLS} runs were finished before")

    def check(self) -> float:
        """``harness check`` of many rows against a long ledger."""
        says = f"{corpus.NUM_ENTRIES} REPRODUCED"
        return self._cost_in("ledger", "check", corpus.LEDGER_ID, "--profile", "cpu", says=says)

    @property
    def a_spec(self) -> Path:
        """The spec.json of a finished cell that does nothing."""
        return next((self._folder / "cells" / "results").rglob("spec.json"))

    @property
    def _cache(self) -> Path:
        return self._folder / "cache"

    @property
    def _printed(self) -> Path:
        return self._folder / "printed"

    def _run(self, says: str) -> float:
        return self._cost_in("cells", "run", corpus.CELLS_ID, "--profile", "cpu", says=says)

    def _beyond(self, runtime: str) -> float:
        project = str(self._folder / "cells")
        command = (sys.executable, "-m", "tests.bench.cells", project, runtime)
        cpu_s(Program(arguments=command), self._printed)
        pairs: list[tuple[float, float]] = json.loads(self._printed.read_text(encoding="utf-8"))
        return statistics.median(cell - alone for cell, alone in pairs)

    def _cost_in(self, project: str, *arguments: str, says: str) -> float:
        return self._cost(*arguments, "--project", str(self._folder / project), says=says)

    def _cost(self, *arguments: str, says: str = "harness") -> float:
        command = (sys.executable, "-m", "harness", *arguments)
        env = {"XDG_CACHE_HOME": str(self._cache)}
        return cpu_s(Program(arguments=command, env=env, says=says), self._printed)
