"""The files that articles 18 and 19 published, as records."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from harness.errors import InputError, Problem
from harness.reading import read_json
from harness.records import Scalar, from_json, record
from harness.workloads.models.shape import ModelShape, Precision, gpt_shape

T = TypeVar("T")


@record
class PublishedCell:
    """One configuration of ``sweep_results.json``; the fields are the file's."""

    batch_size: int
    seq_len: int
    precision: Precision
    ok: bool
    params_m: float
    mean_step_ms: float
    tokens_per_s: float
    peak_gpu_mem_gib: float
    peak_gpu_reserved_gib: float
    loss_first: float
    loss_last: float
    wall_s: float

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimizer step saw."""
        return self.batch_size * self.seq_len

    @property
    def where(self) -> dict[str, Scalar]:
        """The row keys of this configuration."""
        keys = ("precision", "seq_len", "batch_size")
        return dict(zip(keys, (self.precision.value, self.seq_len, self.batch_size), strict=True))

    @property
    def label(self) -> str:
        """A short name: precision, sequence length, batch size."""
        return " ".join(f"{key}={value}" for key, value in self.where.items())


@record
class PublishedModel:
    """The model that all configurations share."""

    vocab_size: int
    n_layer: int
    n_head: int
    d_model: int
    d_ff: int

    def shape(self, max_positions: int) -> ModelShape:
        """Return the shape with a position table of that many rows."""
        return gpt_shape(
            vocab_size=self.vocab_size,
            num_positions=max_positions,
            num_hidden_layers=self.n_layer,
            hidden_size=self.d_model,
            num_attention_heads=self.n_head,
            intermediate_size=self.d_ff,
        )


@record
class PublishedSweep:
    """``sweep_results.json`` of article 19."""

    device: str
    torch_version: str
    te_version: str
    model: PublishedModel
    sweep_steps: int
    warmup_steps_excluded_from_mean: int
    sweep_wall_s: float
    results: tuple[PublishedCell, ...]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions swept, in the order they were."""
        return tuple(dict.fromkeys(cell.precision for cell in self.results))

    @property
    def fastest(self) -> PublishedCell:
        """The configuration with the highest throughput."""
        return max(self.results, key=lambda cell: cell.tokens_per_s)


@record
class PublishedArm:
    """``vanilla_metrics.json`` or ``nemo_metrics.json`` of article 18."""

    framework: str
    params_m: float
    n_layer: int
    d_model: int
    seq_len: int
    batch_size: int
    steps: int
    warmup_steps_excluded_from_mean: int
    mean_step_ms: float
    tokens_per_s: float
    loss_first: float
    loss_last: float
    peak_gpu_mem_gib: float
    peak_gpu_reserved_gib: float
    torch_version: str
    cuda_device: str


@record
class PublishedSnapshot:
    """``nvidia_smi_during_run.txt`` of article 18: one look at the GPU."""

    device: str
    utilisation_pct: float
    memory_used: str
    memory_total: str
    power_w: float
    temperature_c: float


def read(kind: type[T], path: Path) -> T:
    """Return the record that a published JSON file holds.

    Raises:
        InputError: the file is not JSON, or a field is missing, unknown or of another type.
    """
    try:
        return from_json(kind, read_json(path.read_bytes()))
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path)]) from None


def read_snapshot(path: Path) -> PublishedSnapshot:
    """Return what the one line of a look at the GPU says.

    Raises:
        InputError: it does not have six cells, or one is not a number.
    """
    cells = [cell.strip() for cell in path.read_text(encoding="utf-8").split(",")]
    try:
        device, utilisation, used, total, power, temperature = cells
        return PublishedSnapshot(
            device=device,
            utilisation_pct=float(utilisation.removesuffix("%")),
            memory_used=used,
            memory_total=total,
            power_w=float(power.removesuffix("W")),
            temperature_c=float(temperature),
        )
    except ValueError as error:
        raise InputError([Problem(message=str(error), path=path)]) from None


def percent_above(value: float, base: float) -> float:
    """Return by how many percent `value` is above `base`."""
    return 100 * (value / base - 1)
