"""What ``harness rehearse`` prints, byte for byte; the figures are made up, and of article 34.

To write the file anew, set HARNESS_UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.commands.rehearse import rehearsal_lines
from harness.execution.forecast import Expected, expected_s, loops
from harness.execution.rehearse import (
    ForecastFigure,
    Quantity,
    RehearsalCheck,
    RehearsedPlan,
    RunForecast,
)
from harness.records import Profile
from harness.workloads.api.passes import PassLine

HERE = Path(__file__).parent
PASSES = (
    PassLine(path="tasks~0#0", of=1, wall_s=40.0),
    PassLine(path="evaluation sft~0#0/rollouts~0#0", of=200, done=10, more_s=2100.0, wall_s=130.0),
    PassLine(path="evaluation sft~0#0", of=1, wall_s=131.0),
    PassLine(path="full~0#0", of=50, wall_s=1310.0),
    PassLine(
        path="full~0#1/evaluations~0#0/evaluation full@50~0#0/rollouts~0#0",
        of=200,
        done=10,
        more_s=1900.0,
        wall_s=120.0,
    ),
    PassLine(path="full~0#1/evaluations~0#0/evaluation full@50~0#0", of=1, wall_s=120.5),
    PassLine(path="full~0#1/evaluations~0#0", of=2, once=True, wall_s=121.0),
    PassLine(path="full~0#1", of=50, wall_s=1390.0),
)


def test_the_text() -> None:
    wall_s = 3000.0
    total: Expected = expected_s([PASSES], wall_s)
    low, high = total.interval(0.08)
    found = RehearsedPlan(
        scenario="a34-t2po-uncertainty-guided-rl",
        profile=Profile.SPARK,
        where="docker rl@sha256:12ab (the engine has it)",
        runs=1,
        rehearsed=1,
        checks=(
            RehearsalCheck(
                what="machine",
                is_good=True,
                said="profile, data, models, runtime and sandbox are here",
            ),
            RehearsalCheck(
                what="kill",
                is_good=True,
                said="killed after 61.2 s by SIGKILL; the next attempt took 2 steps",
            ),
            RehearsalCheck(
                what="memory",
                is_good=False,
                said="up to 118 GiB of 113.7, what is free",
                remedy="ps -eo pid,rss,args --sort=-rss | head",
            ),
        ),
        figures=(
            ForecastFigure(
                quantity=Quantity.TIME,
                unit="h",
                value=total.mean / 3600,
                low=low / 3600,
                high=high / 3600,
                limit=168.0,
                note="1 run, one after the other; a run may take 168 h",
            ),
            ForecastFigure(
                quantity=Quantity.MEMORY,
                unit="GiB",
                value=112.6,
                low=107.2,
                high=118.0,
                note="peak of the largest run",
            ),
            ForecastFigure(quantity=Quantity.ENERGY, unit="Wh", note="NVML: not supported"),
        ),
        each=(
            RunForecast(
                run="-",
                point_id="0123456789ab",
                wall_s=total.mean,
                low_s=low,
                high_s=high,
                memory_gib=112.6,
                repeats=tuple(loops([PASSES])),
            ),
        ),
        wall_s=3100.0,
        cpu_s=2900.0,
    )
    text = "\n".join([*rehearsal_lines(found), ""])
    path = HERE / "rehearsal.txt"
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
