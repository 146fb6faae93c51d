"""Whether a machine is itself: a probe against the published distribution of its kind.

Only the GB10 has one that is published. Of any other device a probe is placed among earlier ones of
the same machine, where there are enough; without them nobody knows what the machine can do. That
others are at work on it, or that its driver holds its clock for heat, can be seen on any.

Sources. Clocks: 169 h of one DGX Spark under load, a sample each 10 s, from the public repository
djangodevreng/dgx-spark-benchmarks (revision 5636536, CC BY 4.0); a test computes the table again.
Rate of bf16 products, healthy and stuck: Blackwellboy/model-serving-minefield, pull request 55.
Matrix-vector products: lablup/mlxcel, pull request 684. Stuck at 702 MHz: eugr/spark-vllm-docker,
issue 334. Slow at an equal clock: tonyd2wild/DeepSeek-V4.1-Flash-vLLM-DGX-Spark, issue 1. Low power
at the full clock: ggml-org/llama.cpp, discussion 18254.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median

from harness.records import HostLog, HostProbe, record

GB10 = "NVIDIA GB10"


class SickSign(StrEnum):
    """What is known to be wrong with a machine that is not itself."""

    SHARED = "shared"
    CLOCK_CAP = "clock cap"
    LOW_POWER = "low-power mode"
    THROTTLED = "throttled"
    SLOW_MEMORY = "slow memory at equal clock"
    SLOW = "slow, and nothing known says why"


_UNPLUG = "shut down, and pull the plugs of machine and adapter for some minutes"
REMEDIES = {
    SickSign.SHARED: "end the other programs, or wait for them, and run again",
    SickSign.CLOCK_CAP: f"nvidia-smi -rgc  # ends a lock; else {_UNPLUG}: a reboot is not enough",
    SickSign.LOW_POWER: f"{_UNPLUG}, and use its own adapter; a reboot is not enough",
    SickSign.THROTTLED: "give it air, let it cool, and run again",
    SickSign.SLOW_MEMORY: "reboot, and probe again: nvidia-smi does not show this state",
    SickSign.SLOW: "harness doctor --probe  # again, with nothing else at work",
}


@record
class MachineState:
    """What a probe says of a machine.

    Attributes:
        signature: of what is wrong; None where nothing is known to be.
        is_known: whether there is something to compare it with.
        sentence: in one line.
    """

    sentence: str
    signature: SickSign | None = None
    is_known: bool = True

    @property
    def is_degraded(self) -> bool:
        """Whether the machine is not itself."""
        return self.signature is not None


@record
class Band:
    """Clocks of a GB10 under load between two temperatures.

    Attributes:
        from_c: the lower; the upper is the next band's.
        count: of samples.
        quantiles_mhz: of the SM clock, at the shares `SHARES`.
    """

    from_c: float
    count: int
    quantiles_mhz: tuple[float, ...]


# the median and the tails; the lowest of them is what a healthy machine hardly ever falls below
SHARES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = (  # the first holds everything cooler, the last everything hotter
    Band(from_c=55, count=1390, quantiles_mhz=(2405, 2437, 2489, 2496, 2502, 2509, 2515)),
    Band(from_c=60, count=7920, quantiles_mhz=(2405, 2470, 2483, 2489, 2496, 2502, 2515)),
    Band(from_c=65, count=19215, quantiles_mhz=(2405, 2457, 2476, 2489, 2496, 2496, 2496)),
    Band(from_c=70, count=14190, quantiles_mhz=(2307, 2372, 2444, 2470, 2470, 2489, 2496)),
    Band(from_c=75, count=10372, quantiles_mhz=(2223, 2281, 2333, 2437, 2457, 2470, 2470)),
    Band(from_c=80, count=5675, quantiles_mhz=(2216, 2242, 2275, 2379, 2418, 2450, 2463)),
)
_BELOW_ALL = 0.98  # of the lowest quantile: 169 h of one machine are not all machines

# of bf16 products: 91.6 before and 91.49 to 92.64 over six hours after, of one DGX Spark
_GB10_MATMUL_TFLOP_S = 91.5
# of quantised matrices that are read once: 201 to 214; the slow state reads a third of that
_GB10_MATVEC_GB_S = 201.0
_SLOW_MATMUL = 0.75  # of it; other shapes and versions of torch differ less
_SLOW_MATVEC = 0.65
_LOW_POWER_W = 40.0  # during a matrix product, where a healthy one draws 92
_HIGHEST_CAP_MHZ = 1000.0  # published caps: 513 to 890 MHz
_HOT_C = 80.0
_THERMAL = frozenset({"SW thermal slowdown", "HW thermal slowdown", "HW slowdown"})

_BUSY_PCT = 10.0  # of the time before ours in which a kernel of another program ran
_BUSY_CORES = 0.25  # of all
_ENOUGH = 5  # earlier probes of a machine, to say what it usually does
_USUAL_CLOCK = 0.9  # of the median of earlier probes


def band_of(temperature_c: float) -> Band:
    """Return the band of a temperature."""
    return next((each for each in reversed(BANDS) if each.from_c <= temperature_c), BANDS[0])


def floor_mhz(temperature_c: float) -> float:
    """Return the SM clock that a GB10 under load does not fall below at this temperature."""
    return _BELOW_ALL * band_of(temperature_c).quantiles_mhz[0]


def state_of(probe: HostProbe, earlier: Sequence[HostProbe] = ()) -> MachineState:
    """Return what a probe says.

    Args:
        probe: the probe.
        earlier: of the same machine; used for a device without a published distribution.
    """
    found = _shared(probe)
    if found is None and probe.device == GB10:
        found = _as_gb10(probe)
    if found is not None:
        return found
    alike = [
        each for each in earlier if (each.device, each.threads) == (probe.device, probe.threads)
    ]
    if len(alike) >= _ENOUGH:
        return _as_usual(probe, alike)
    if signature := _held_for_heat(probe):
        return _named(probe, signature, _clock_text(probe))
    known = f"{len(alike)} earlier probe{'s' * (len(alike) != 1)} of it; {_ENOUGH} are needed"
    return MachineState(
        sentence=f"{probe.device}: nobody has published what it does, and there are {known}"
        f"{_rates_text(probe)}",
        is_known=False,
    )


def degraded(log: HostLog | None) -> MachineState | None:
    """Return the first state in which a run's machine was not itself; None where nobody saw one."""
    states = [state_of(each) for each in log.probes] if log is not None else []
    return next((each for each in states if each.is_degraded), None)


def _shared(probe: HostProbe) -> MachineState | None:
    used, others = probe.gpu_utilisation_before_pct, probe.other_cores
    if used is not None and used >= _BUSY_PCT:
        count = probe.gpu_processes
        by = f" by {count} other process{'es' * (count != 1)}" if count else ""
        return _named(probe, SickSign.SHARED, f"its GPU was {used:.0f} % busy{by} before the probe")
    if others is not None and probe.cores and others >= _BUSY_CORES * probe.cores:
        text = f"others kept {others:.1f} of {probe.cores} cores busy"
        return _named(probe, SickSign.SHARED, text)
    return None


def _as_gb10(probe: HostProbe) -> MachineState | None:
    """Return the state of a GB10; None where neither clock nor rates could be read."""
    clock, temperature, power = probe.gpu_clock_mhz, probe.gpu_temperature_c, probe.gpu_power_w
    matmul, matvec = probe.matmul_tflop_s, probe.matvec_gb_s
    is_slow = matmul is not None and matmul < _SLOW_MATMUL * _GB10_MATMUL_TFLOP_S
    # a temperature that could not be read excuses what the hottest would
    floor = floor_mhz(BANDS[-1].from_c if temperature is None else temperature)
    if clock is not None and clock < floor:
        hottest = temperature is not None and temperature >= _HOT_C
        # no heat is known to have held a clock below the lowest of the published caps' range
        if _THERMAL & {*probe.gpu_throttle} or (hottest and clock > _HIGHEST_CAP_MHZ):
            return _named(probe, SickSign.THROTTLED, _clock_text(probe))
        if is_slow and power is not None and power <= _LOW_POWER_W and clock > _HIGHEST_CAP_MHZ:
            return _named(probe, SickSign.LOW_POWER, _power_text(probe))
        return _named(probe, SickSign.CLOCK_CAP, f"{_clock_text(probe)}, not below {floor:.0f}")
    if is_slow and power is not None and power <= _LOW_POWER_W:
        return _named(probe, SickSign.LOW_POWER, _power_text(probe))
    if matvec is not None and matvec < _SLOW_MATVEC * _GB10_MATVEC_GB_S:
        text = f"{matvec:.0f} GB/s of a matrix-vector product; published 201 to 214"
        return _named(probe, SickSign.SLOW_MEMORY, f"{text}; {_clock_text(probe)}")
    if is_slow:
        text = f"{matmul:.1f} TFLOP/s; published 91.5 to 92.6"
        return _named(probe, SickSign.SLOW, f"{text}; {_clock_text(probe)}")
    if clock is None and matmul is None and matvec is None:
        return None
    return MachineState(sentence=f"{probe.device} is itself: {_placed(probe)}")


def _as_usual(probe: HostProbe, alike: Sequence[HostProbe]) -> MachineState:
    """Return the state of a machine by what it did before."""

    def share(name: str) -> float | None:
        usual = [value for each in alike if (value := getattr(each, name)) is not None]
        value = getattr(probe, name)
        return value / median(usual) if value is not None and usual and median(usual) else None

    clock, matmul, matvec = map(share, ("gpu_clock_mhz", "matmul_tflop_s", "matvec_gb_s"))
    power = share("gpu_power_w")
    what = f"of its median of {len(alike)} earlier probes"
    if clock is not None and clock < _USUAL_CLOCK:
        text = f"clock {clock:.0%} {what}; {_clock_text(probe)}"
        return _named(probe, _held_for_heat(probe) or SickSign.CLOCK_CAP, text)
    if matmul is not None and matmul < _SLOW_MATMUL:
        low = power is not None and power < _SLOW_MATMUL
        signature = SickSign.LOW_POWER if low else SickSign.SLOW
        return _named(probe, signature, f"matrix product {matmul:.0%} {what}")
    if matvec is not None and matvec < _SLOW_MATVEC:
        text = f"matrix-vector product {matvec:.0%} {what}"
        return _named(probe, SickSign.SLOW_MEMORY, text)
    shares = (("matrix product", matmul), ("matrix-vector product", matvec))
    told = ", ".join(f"{name} {value:.0%}" for name, value in shares if value is not None)
    return MachineState(
        sentence=f"{probe.device} is itself: {told or 'nothing measured'} {what}"
        f"{_rates_text(probe)}",
        is_known=bool(told),
    )


def _held_for_heat(probe: HostProbe) -> SickSign | None:
    return SickSign.THROTTLED if _THERMAL & {*probe.gpu_throttle} else None


def _named(probe: HostProbe, signature: SickSign, text: str) -> MachineState:
    return MachineState(
        sentence=f"{probe.device} is not itself: {signature} ({text})", signature=signature
    )


def _placed(probe: HostProbe) -> str:
    """Say where a GB10 lies in the published distributions."""
    parts = []
    if probe.gpu_clock_mhz is not None and probe.gpu_temperature_c is not None:
        band = band_of(probe.gpu_temperature_c)
        share = _share_below(probe.gpu_clock_mhz, band)
        parts.append(
            f"{_clock_text(probe)}, above {share} of {band.count:,} published samples as warm"
        )
    if probe.matmul_tflop_s is not None:
        parts.append(f"{probe.matmul_tflop_s:.1f} TFLOP/s (published 91.5 to 92.6)")
    if probe.matvec_gb_s is not None:
        parts.append(f"{probe.matvec_gb_s:.0f} GB/s (published 201 to 214)")
    return "; ".join(parts) or _clock_text(probe)


def _share_below(clock_mhz: float, band: Band) -> str:
    """Return the share of a band's samples that a clock is above, as far as the table tells."""
    above = [
        share for share, value in zip(SHARES, band.quantiles_mhz, strict=True) if clock_mhz > value
    ]
    return f"at least {100 * max(above):g} %" if above else "hardly any"


def _clock_text(probe: HostProbe) -> str:
    clock, temperature = probe.gpu_clock_mhz, probe.gpu_temperature_c
    text = "SM clock unknown" if clock is None else f"SM clock {clock:.0f} MHz"
    warm = "" if temperature is None else f" at {temperature:.0f} °C"
    said = f", driver says {', '.join(probe.gpu_throttle)}" if probe.gpu_throttle else ""
    return f"{text}{warm}{said}"


def _power_text(probe: HostProbe) -> str:
    return (
        f"{probe.gpu_power_w:.0f} W and {probe.matmul_tflop_s:.1f} TFLOP/s in a matrix product; "
        f"published 92 W and 91.6"
    )


def _rates_text(probe: HostProbe) -> str:
    figures = (
        (probe.matmul_tflop_s, "TFLOP/s"),
        (probe.matvec_gb_s, "GB/s matrix-vector"),
        (probe.copy_gb_s, "GB/s copy"),
    )
    told = ", ".join(f"{value:.3g} {unit}" for value, unit in figures if value is not None)
    return f" ({told})" if told else ""
