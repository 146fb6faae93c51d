"""Parameters and metrics of article 20's data path. Loads no torch."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import InputError, Problem
from harness.records import Scalar, record
from harness.workloads.api.declare import Better, Metric, Workload, param
from harness.workloads.data.clean import Fate, FilterLimits
from harness.workloads.models.shape import Precision
from harness.workloads.training.pretrain_params import (
    CELL_METRICS,
    OPTIMIZER_METRICS,
    UNACCOUNTED,
    EnvelopeParams,
)

_PRECISIONS = tuple(each.value for each in Precision)


@record
class PathParams:
    """From a raw corpus to training steps; the defaults are article 20's."""

    datasets: tuple[str, ...] = param(
        ("wikitext",),
        doc="corpora to clean, in this order; wikitext: the rows of `parquet`",
        choices=("wikitext", "planted", "stdlib"),
    )
    parquet: tuple[str, ...] = param(
        ("wikitext-103/train-00000-of-00002.parquet", "wikitext-103/train-00001-of-00002.parquet"),
        doc="published files of the wikitext corpus",
    )
    planted_scale: int = param(1, doc="times 8932 documents of known fate", low=1)
    filters: tuple[str, ...] = param(
        ("curator",),
        doc="the first one's text is trained on; the others are compared with it",
        choices=("own", "curator"),
    )
    executor: str = param("xenna", doc="NeMo Curator's executor", choices=("xenna", "ray-data"))
    min_words: int = param(50, doc="a shorter document is dropped", low=1)
    max_words: int = param(100_000, doc="a longer document is dropped", low=1)
    ngram: int = param(3, doc="n of the word n-grams", low=1)
    max_ngram_share: float = param(
        0.18, doc="largest share of characters in the most frequent n-gram", low=0.0, high=1.0
    )
    max_symbol_share: float = param(
        0.20, doc="largest share of words that are ellipses or hashes", low=0.0, high=1.0
    )
    tokenizer: str = param("gpt2", doc="tokenizer", choices=("gpt2", "bytes"))
    tokenizer_files: tuple[str, ...] = param(
        ("gpt2/encoder.json", "gpt2/vocab.bpe"), doc="published files of gpt2: tokens and merges"
    )
    shard_tokens: int = param(1 << 26, doc="ids in one file of the packed corpus", low=1)
    precisions: tuple[str, ...] = param(
        ("bf16", "fp8"),
        doc="each with every shape",
        choices=tuple(each.value for each in Precision),
    )
    batch_sizes: tuple[int, ...] = param((4, 8, 16, 4), doc="sequences per step, by shape", low=1)
    seq_lens: tuple[int, ...] = param(
        (1024, 1024, 1024, 2048), doc="tokens per sequence, by shape", low=2
    )
    max_steps: int = param(
        30, doc="optimizer steps that wait for each batch, and as many that do not", low=3
    )
    warmup_steps: int = param(5, doc="of each, left out of the means", low=2)
    prefetch_factor: int = param(
        2, doc="batches that are made ahead, where steps do not wait", low=1
    )
    vocab_size: int = param(
        50258,
        doc="rows of the token table; the article adds one to GPT-2's 50257, for an end mark that "
        "is one of them already",
        low=2,
    )
    num_hidden_layers: int = param(24, doc="layers", low=1)
    hidden_size: int = param(1024, doc="width of the residual stream", low=1)
    num_attention_heads: int = param(16, doc="attention heads; divides width", low=1)
    intermediate_size: int = param(4096, doc="hidden width of the feed-forward map", low=1)
    dropout: float = param(
        0.1, doc="embedding, attention weights and residual branches", low=0.0, high=0.9
    )
    learning_rate: float = param(3e-4, doc="AdamW, at the end of the warm-up", low=0.0)
    vocab_sizes: tuple[int, ...] = param(
        (50257, 50258, 50304),
        doc="vocabulary sizes to compare; the first is the baseline",
        low=2,
    )
    ab_rounds: int = param(10, doc="turns of all of them, each in another order", low=3)
    steps_per_round: int = param(5, doc="steps of one in a turn; the first is left out", low=2)
    round_batch_size: int = param(4, doc="sequences a step of a turn", low=1)
    round_seq_len: int = param(1024, doc="tokens a sequence of a turn", low=2)
    round_precision: str = param("bf16", doc="of a turn", choices=_PRECISIONS)
    device: str = param("cuda", doc="where the model lives", choices=("cuda", "cpu"))
    num_threads: int = param(1, doc="torch threads on the CPU", low=1)

    @property
    def limits(self) -> FilterLimits:
        """What a document may be."""
        return FilterLimits(
            min_words=self.min_words,
            max_words=self.max_words,
            ngram=self.ngram,
            max_ngram_share=self.max_ngram_share,
            max_symbol_share=self.max_symbol_share,
        )

    @property
    def cells(self) -> tuple[EnvelopeParams, ...]:
        """The configurations of the sweep, in the article's order.

        Raises:
            InputError: not as many batch sizes as sequence lengths.
        """
        if len(self.batch_sizes) != len(self.seq_lens):
            message = "a shape is a batch size and a sequence length: give as many of both"
            lists = f"{len(self.batch_sizes)} batch sizes, {len(self.seq_lens)} sequence lengths"
            raise InputError([Problem(message=message, key="batch_sizes", value=lists)])
        shapes = tuple(zip(self.batch_sizes, self.seq_lens, strict=True))
        return tuple(
            self._cell(precision, batch_size, seq_len)
            for precision in self.precisions
            for batch_size, seq_len in shapes
        )

    @property
    def turns(self) -> tuple[EnvelopeParams, ...]:
        """The same configuration, with each number of table rows."""
        cell = self._cell(self.round_precision, self.round_batch_size, self.round_seq_len)
        return tuple(replace(cell, vocab_size=rows) for rows in self.vocab_sizes)

    def _cell(self, precision: str, batch_size: int, seq_len: int) -> EnvelopeParams:
        return EnvelopeParams(
            precision=precision,
            batch_size=batch_size,
            seq_len=seq_len,
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            vocab_size=self.vocab_size,
            dropout=self.dropout,
            max_steps=self.max_steps,
            warmup_steps=self.warmup_steps,
            learning_rate=self.learning_rate,
            device=self.device,
            num_threads=self.num_threads,
        )


def where_of(cell: EnvelopeParams) -> dict[str, Scalar]:
    """Return the row keys of a configuration."""
    return {
        "precision": cell.precision,
        "seq_len": cell.seq_len,
        "batch_size": cell.batch_size,
    }


def _time(name: str, unit: str, doc: str, better: Better = Better.LOWER) -> Metric:
    return Metric(name=name, unit=unit, doc=doc, better=better, timing=True)


def _rate(name: str, unit: str, doc: str) -> Metric:
    return _time(name, unit, doc, Better.HIGHER)


def _count(name: str, unit: str, doc: str) -> Metric:
    return Metric(name=name, unit=unit, doc=doc)


PREPARATION_METRICS = (
    _count("corpus.documents", "document", "where: corpus, stage (raw, clean, unique)"),
    _count("corpus.characters", "character", "code points; where: corpus, stage"),
    _count("corpus.dropped", "document", f"where: corpus, fate ({', '.join(Fate)})"),
    _count("corpus.dropped_share", "1", "of the raw corpus; where: corpus, denominator"),
    _count("corpus.unreadable", "document", "left out before anything else; where: corpus"),
    _count("corpus.undecided", "document", "their fate hangs on which top n-gram is taken"),
    _count("dedup.dropped_share", "1", "duplicates of all clean documents; where: corpus"),
    _count("planted.mistakes", "document", "fate or mended text is not the one planted"),
    _count("filters.differ", "document", "kept by one cleaner and not by another; where: corpus"),
    _time("stage.time", "s", "wall clock; where: corpus, stage"),
    _rate("clean.rate", "document/s", "raw documents through all five operations"),
    _rate("tokenize.rate", "token/s", "text to ids, end marks included"),
    _rate("pack.rate", "MB/s", "UTF-8 text through tokenizer, hashes and disk"),
    _count("packed.tokens", "token", "end marks included"),
    _count("packed.documents", "document", "as many as there are end marks"),
    _count("packed.size", "MiB", "of all shards"),
    _count("packed.vocabulary", "count", "ids the tokenizer may give"),
    _count("packed.end_id", "count", "the id that follows every document"),
    _count("packed.tokens_per_document", "token", "mean, end mark included"),
    _count(
        "packed.characters_per_token",
        "character/token",
        "of the packed documents; end marks have none",
    ),
    _count("packed.sha256", "text", "of all ids"),
)

LOADING_METRICS = (
    _time("data.time", "ms", "making a batch and bringing it to the device; the step waits"),
    _time("data.overhead", "%", "data.time / step_time.mean"),
    _rate("tokens_per_second.with_data", "token/s", "a step and its batch, one after the other"),
    _time("data.wait", "ms", "for a batch, where it is made ahead while steps run"),
    _time("data.wait_share", "%", "data.wait / time of those steps"),
    _rate(
        "tokens_per_second.overlapped",
        "token/s",
        "by the clock over all those steps, waits and all",
    ),
    _time("cell.turnaround", "s", "from the last step before to the first of this configuration"),
)

_OBSERVED_METRICS = (
    *OPTIMIZER_METRICS,
    _count("batches.repeated", "count", "steps that were fed the ids of an earlier one"),
    _count("batches.tokens", "token", "targets of a step, as fed"),
    UNACCOUNTED,
)

_FIT_METRICS = (
    _count("memory.predicted", "GiB", "by the memory law, before the configuration is tried"),
    Metric(name="cell.fits", unit="flag", doc="fits by the memory law; else it is not tried"),
    Metric(name="fp8.backend", unit="text", doc="library of the fp8 matrix products"),
    Metric(name="memory.counter", unit="text", doc="how memory.peak_allocated was counted"),
)

_TABLE_METRICS = (
    _rate("table.tokens_per_second", "token/s", "mean over the rounds; where: vocab_size"),
    _rate("table.ratio", "x", "throughput over the base's of the same round; mean of the rounds"),
    _rate("table.ratio_low", "x", "lower end of its 95 % interval (t)"),
    _rate("table.ratio_high", "x", "upper end of its 95 % interval (t)"),
)

DATA_PATH = Workload(
    name="curate.path",
    doc="cost of feeding a training loop: clean, deduplicate, tokenize, pack, load and train",
    params=PathParams,
    metrics=(
        *PREPARATION_METRICS,
        # a run trains several shapes, so no formula of its params tells the work of a token
        *(replace(each, flop="") for each in CELL_METRICS),
        *LOADING_METRICS,
        *_OBSERVED_METRICS,
        *_FIT_METRICS,
        *_TABLE_METRICS,
    ),
    entry="harness.experiments.a20.run:run",
    derivation="harness.experiments.a20.derive:path",
    requires=("torch",),
)

WORKLOADS = (DATA_PATH,)
