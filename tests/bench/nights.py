"""Noise of a nightly benchmark: eight models of what a figure does when nobody changes anything.

A model gives the figure's logarithm, one value a night, and the runs made one after the other
within a night for as long as a confirmation lasts. Within a night the machine is no better than
from one night to the next: autocorrelated noise goes on from run to run at its full size, the
clock follows the telemetry of the real machine, and the hidden state flips between runs.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.records import record

NIGHTS = 60
Values = NDArray[np.float64]
Draw = np.random.Generator


@record
class History:
    """Sixty nights without a change.

    Attributes:
        values: logarithm of the figure, one a night.
        runs: of a night, more runs, without end.
        host: logarithm of the host's speed, one a night, as a perfect probe would show it.
    """

    values: Values
    runs: Callable[[int], Iterator[float]]
    host: Values


@record
class NoiseModel:
    """One kind of noise.

    Attributes:
        noise: standard deviation of a run, or the size of what the model is about, for the table.
        quiet: whether a night's noise is 1 % or less, so that a shift of 3 % has to be found.
    """

    name: str
    noise: str
    quiet: bool
    make: Callable[[Draw], History]


def _independent(sd: float, heavy: bool = False) -> Callable[[Draw], History]:  # noqa: FBT001, FBT002 - one of two
    def draw(random: Draw, size: int) -> Values:
        # Student's t with 3 degrees has a variance of 3
        return sd * (random.standard_t(3, size) / np.sqrt(3) if heavy else random.normal(size=size))

    def make(random: Draw) -> History:
        def runs(_night: int) -> Iterator[float]:
            while True:
                yield from draw(random, 64).tolist()

        return History(values=draw(random, NIGHTS), runs=runs, host=np.zeros(NIGHTS))

    return make


def _slow_nights(random: Draw) -> History:
    slow = np.where(random.random(NIGHTS) < 0.05, np.log(0.88), 0.0)

    def runs(night: int) -> Iterator[float]:
        while True:
            yield from (slow[night] + 0.01 * random.normal(size=64)).tolist()

    return History(values=slow + 0.01 * random.normal(size=NIGHTS), runs=runs, host=slow)


def _autocorrelated(random: Draw, memory: float = 0.7, sd: float = 0.01) -> History:
    fresh = sd * np.sqrt(1 - memory**2)
    values = np.empty(NIGHTS)
    now = sd * random.normal()
    for night in range(NIGHTS):
        now = memory * now + fresh * random.normal()
        values[night] = now

    def runs(night: int) -> Iterator[float]:
        state = float(values[night])
        while True:
            state = memory * state + fresh * random.normal()
            yield state

    return History(values=values, runs=runs, host=np.zeros(NIGHTS))


def _two_states(random: Draw) -> History:
    depth, state = np.log(0.95), random.random() < 0.5
    states = np.empty(NIGHTS, bool)
    for night in range(NIGHTS):
        state ^= random.random() < 0.1
        states[night] = state

    def runs(night: int) -> Iterator[float]:
        here = bool(states[night])
        while True:
            here ^= random.random() < 0.02
            yield here * depth + 0.005 * random.normal()

    host = states * depth
    return History(values=host + 0.005 * random.normal(size=NIGHTS), runs=runs, host=host)


def thermal(telemetry: Path) -> Callable[[Draw], History]:
    """Return the model that replays a real machine's clock under load.

    A night is five minutes of it, the next night the next five minutes under load: the clock of
    neighbouring nights is as alike as on that machine. The runs of a confirmation take a minute
    each, from the night's own minutes on.
    """
    with telemetry.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["gpu_util"] and row["sm_mhz"]]
    loaded = [float(row["sm_mhz"]) for row in rows if float(row["gpu_util"]) >= 80]
    minutes = np.log(np.array(loaded[: len(loaded) // 30 * 30]).reshape(-1, 6).mean(axis=1))
    five = minutes.reshape(-1, 5).mean(axis=1)

    def make(random: Draw) -> History:
        begin = int(random.integers(len(five) - NIGHTS))
        host = five[begin : begin + NIGHTS] - np.median(five)

        def runs(night: int) -> Iterator[float]:
            at = (begin + night) * 5
            while True:
                yield float(minutes[at % len(minutes)] + 0.003 * random.normal())
                at += 1

        return History(values=host + 0.003 * random.normal(size=NIGHTS), runs=runs, host=host)

    return make


@cache
def models(telemetry: Path) -> tuple[NoiseModel, ...]:
    """Return the eight models."""
    quiet = (
        ("Gaussian", "0.2 %", _independent(0.002)),
        ("Gaussian", "1 %", _independent(0.01)),
        ("heavy tails (t, 3)", "1 %", _independent(0.01, heavy=True)),
        ("autocorrelated 0.7", "1 %", _autocorrelated),
    )
    noisy = (
        ("Gaussian", "3 %", _independent(0.03)),
        ("slow nights", "1 %; 5 % of nights -12 %", _slow_nights),
        ("thermal, replayed", "1.3 %", thermal(telemetry)),
        ("two hidden states", "0.5 %; -5 %", _two_states),
    )
    return tuple(
        NoiseModel(name=name, noise=noise, quiet=some is quiet, make=make)
        for some in (quiet, noisy)
        for name, noise, make in some
    )
