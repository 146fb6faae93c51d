"""The files that article 20 published, as records; the fields are the files'."""

from __future__ import annotations

from harness.experiments.a19.published import PublishedModel
from harness.records import Scalar, record
from harness.workloads.models.shape import Precision


@record
class PublishedStep:
    """One configuration of ``data_sweep_results.json``."""

    batch_size: int
    seq_len: int
    precision: Precision
    ok: bool
    params_m: float
    mean_step_ms: float
    mean_data_ms: float
    mean_total_ms: float
    tokens_per_s_step_only: float
    tokens_per_s_with_data: float
    data_overhead_pct: float
    peak_gpu_mem_gib: float
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
        return {
            "precision": self.precision.value,
            "seq_len": self.seq_len,
            "batch_size": self.batch_size,
        }


@record
class PublishedPack:
    """``packed.meta.json``, and the part of the sweep's file that repeats it."""

    tokenizer: str
    vocab_size: int
    eot_token_id: int
    num_docs_after_dedup: int
    num_docs_dropped_by_dedup: int
    total_tokens: int
    packed_dtype: str
    packed_path: str


@record
class PublishedDataSweep:
    """``data_sweep_results.json``."""

    device: str
    torch_version: str
    te_version: str
    corpus: PublishedPack
    model: PublishedModel
    sweep_steps: int
    warmup_steps_excluded_from_mean: int
    sweep_wall_s: float
    results: tuple[PublishedStep, ...]

    @property
    def fastest(self) -> PublishedStep:
        """The configuration with the highest throughput."""
        return max(self.results, key=lambda cell: cell.tokens_per_s_step_only)


@record
class PublishedCleaning:
    """``prep_stats.json``."""

    stage: str
    raw_docs: int
    raw_chars: int
    cleaned_docs: int
    cleaned_chars: int
    pipeline_wall_s: float
    drop_ratio_docs: float
    drop_ratio_chars: float
    input_parquets: tuple[str, ...]
    filters: tuple[str, ...]
    modifiers: tuple[str, ...]


@record
class PublishedTokens:
    """``dedup_tokenize_stats.json``; two walls were not recorded."""

    stage: str
    load_jsonl_s: float | None
    dedup_wall_s: float | None
    tokenize_wall_s: float
    concat_wall_s: float
    write_wall_s: float
    input_docs: int
    after_dedup_docs: int
    dedup_drop_ratio: float
    total_tokens: int
    packed_size_mib: float
    tokenize_throughput_tok_per_s: float
