"""The first half of the data path: from raw documents to a packed corpus, counted on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path

from harness.experiments.a20.params import PathParams
from harness.records import Scalar, record
from harness.workloads.api import progress
from harness.workloads.api.context import Context
from harness.workloads.api.emit import EventWriter
from harness.workloads.data.by_curator import curated, write_jsonl
from harness.workloads.data.clean import Fate, FilteredDocument, clean, first_of_each
from harness.workloads.data.corpus import Documents, parquet_rows, standard_library
from harness.workloads.data.pack import Packed, open_packed, pack
from harness.workloads.data.planted import Planted, planted
from harness.workloads.data.tokens import ByteTokenizer, Gpt2Tokenizer, Tokenizer

_BYTES_PER_MB = 1e6
_BYTES_PER_MIB = 2**20
_BYTES_PER_TOKEN = 4


@record
class DatasetSource:
    """A corpus, and what only some corpora have.

    Attributes:
        files: that it was read from.
        truth: of each document, where it is known.
    """

    corpus: Documents
    files: tuple[Path, ...] = ()
    truth: tuple[Planted, ...] = ()


PACKED = "packed"


def prepare(context: Context, folder: Path) -> Packed:
    """Clean, deduplicate, tokenize and pack every corpus into `folder`; report the figures.

    Raises:
        InputError: a corpus cannot be read, or none of its documents remains.
    """
    params: PathParams = context.params
    documents: list[str] = []
    for name in params.datasets:
        with _stage(context.emit, name, "read"):
            source = _source(context, name)
        documents += _unique(context.emit, source, _clean(context, source, folder))
    return _packed(context, documents, folder / PACKED)


def _source(context: Context, name: str) -> DatasetSource:
    params: PathParams = context.params
    match name:
        case "planted":
            truth = tuple(planted(context.spec.seed, params.planted_scale))
            corpus = Documents(name=name, documents=[each.text for each in truth])
            return DatasetSource(corpus=corpus, truth=truth)
        case "stdlib":
            return DatasetSource(corpus=standard_library())
        case _:
            files = tuple(context.evidence(file) for file in params.parquet)
            return DatasetSource(corpus=parquet_rows(name, files), files=files)


# --- cleaning -------------------------------------------------------------------------------------


def _clean(context: Context, source: DatasetSource, folder: Path) -> list[str]:
    """Return the documents that the first cleaner keeps, mended; compare the others with it."""
    params: PathParams = context.params
    emit, name = context.emit, source.corpus.name
    _report_size(emit, name, "raw", source.corpus.documents)
    unreadable = source.corpus.unreadable
    emit.measured("corpus.unreadable", len(unreadable), where={"corpus": name})
    for cause in unreadable:
        emit.note(f"{name}: left out {cause}")
    kept: list[list[str]] = []
    for cleaner in params.filters:
        where: dict[str, Scalar] = {"corpus": name, "cleaner": cleaner}
        began = time.perf_counter()
        if cleaner == "own":
            judged = clean(source.corpus.documents, params.limits)
            taken_s = time.perf_counter() - began
            _report_fates(emit, source, judged)
            kept.append([each.text for each in judged if each.fate is Fate.KEPT])
        else:
            place = folder / name
            place.mkdir(parents=True)
            files = source.files
            if not files:
                files = (write_jsonl(source.corpus.documents, place / "raw.jsonl"),)
            kept.append(curated(files, place / "clean", params.limits, params.executor))
            taken_s = time.perf_counter() - began
        emit.measured("clean.rate", len(source.corpus.documents) / taken_s, where=where)
        _report_stage(emit, name, f"clean by {cleaner}", taken_s)
    for other in kept[1:]:
        one_only, other_only = Counter(kept[0]) - Counter(other), Counter(other) - Counter(kept[0])
        differing = one_only.total() + other_only.total()
        emit.measured("filters.differ", differing, where={"corpus": name})
    return kept[0]


def _report_fates(
    emit: EventWriter, source: DatasetSource, judged: Sequence[FilteredDocument]
) -> None:
    fates = Counter(each.fate for each in judged)
    name = source.corpus.name
    for fate in (Fate.SHORT, Fate.LONG, Fate.REPETITIVE, Fate.SYMBOLS):
        emit.measured("corpus.dropped", fates[fate], where={"corpus": name, "fate": fate.value})
    undecided = sum(each.undecided for each in judged)
    emit.measured("corpus.undecided", undecided, where={"corpus": name})
    if source.truth:
        emit.measured("planted.mistakes", mistakes(source.truth, judged))


def mistakes(truth: Sequence[Planted], judged: Sequence[FilteredDocument]) -> int:
    """Return of how many documents the fate or the mended text is not the one planted."""
    kept = [each.fate is Fate.KEPT for each in judged]
    firsts = first_of_each(each.text for each in compress(judged, kept))
    found = [
        (Fate.KEPT if next(firsts) else Fate.DUPLICATE) if keep else each.fate
        for each, keep in zip(judged, kept, strict=True)
    ]
    return sum(
        one.fate is not fate or one.clean != each.text
        for one, each, fate in zip(truth, judged, found, strict=True)
    )


# --- duplicates -----------------------------------------------------------------------------------


def _unique(emit: EventWriter, source: DatasetSource, documents: Sequence[str]) -> list[str]:
    name, raw = source.corpus.name, source.corpus
    with _stage(emit, name, "deduplicate"):
        unique = [*compress(documents, first_of_each(documents))]
    _report_size(emit, name, "clean", documents)
    _report_size(emit, name, "unique", unique)
    dropped = len(documents) - len(unique)
    where: dict[str, Scalar] = {"corpus": name}
    emit.measured("corpus.dropped", dropped, where={**where, "fate": Fate.DUPLICATE.value})
    _report_share(emit, "dedup.dropped_share", where, len(unique), len(documents))
    sizes = {
        "documents": (len(documents), len(raw.documents)),
        "characters": (sum(map(len, documents)), raw.num_characters),
    }
    for of, (left, before) in sizes.items():
        _report_share(emit, "corpus.dropped_share", {**where, "denominator": of}, left, before)
    return unique


def _report_share(
    emit: EventWriter, metric: str, where: dict[str, Scalar], left: int, before: int
) -> None:
    if before:
        emit.measured(metric, 1 - left / before, where=where)
    else:
        emit.measured(metric, None, where=where, absent="empty input")


# --- packing --------------------------------------------------------------------------------------


def _packed(context: Context, documents: Sequence[str], folder: Path) -> Packed:
    params: PathParams = context.params
    emit = context.emit
    tokenizer: Tokenizer = ByteTokenizer()
    if params.tokenizer != "bytes":
        encoder, merges = (context.evidence(file) for file in params.tokenizer_files)
        tokenizer = Gpt2Tokenizer(encoder, merges)
    progress.tell("tokenize and pack")
    began = time.perf_counter()
    parts = [*tokenizer.encode(documents)]
    tokenized = time.perf_counter()
    sidecar = pack(parts, folder, tokenizer.vocabulary, params.shard_tokens)
    packed = time.perf_counter()
    opened = open_packed(folder)
    stages = {
        "tokenize": tokenized - began,
        "pack": packed - tokenized,
        "verify": time.perf_counter() - packed,
    }
    for stage, taken_s in stages.items():
        _report_stage(emit, "all", stage, taken_s)
    text_bytes = sum(len(text.encode()) for text in documents)
    emit.measured("pack.rate", text_bytes / _BYTES_PER_MB / (packed - began))
    emit.measured("tokenize.rate", sidecar.tokens / stages["tokenize"])
    num_characters = sum(map(len, documents))
    figures: dict[str, Scalar] = {
        "packed.tokens": sidecar.tokens,
        "packed.documents": sidecar.documents,
        "packed.size": sidecar.tokens * _BYTES_PER_TOKEN / _BYTES_PER_MIB,
        "packed.vocabulary": sidecar.vocabulary.size,
        "packed.end_id": sidecar.vocabulary.end_id,
        "packed.tokens_per_document": sidecar.tokens / sidecar.documents,
        "packed.characters_per_token": num_characters / (sidecar.tokens - sidecar.documents),
        "packed.sha256": sidecar.sha256,
    }
    for metric, value in figures.items():
        emit.measured(metric, value)
    emit.artefact("packed", folder / "packed.json")
    return opened


# --- figures --------------------------------------------------------------------------------------


@contextmanager
def _stage(emit: EventWriter, corpus: str, stage: str) -> Iterator[None]:
    progress.tell(f"{stage} {corpus}")
    began = time.perf_counter()
    yield
    _report_stage(emit, corpus, stage, time.perf_counter() - began)


def _report_stage(emit: EventWriter, corpus: str, stage: str, taken_s: float) -> None:
    emit.measured("stage.time", taken_s, where={"corpus": corpus, "stage": stage})


def _report_size(emit: EventWriter, corpus: str, stage: str, documents: Sequence[str]) -> None:
    where: dict[str, Scalar] = {"corpus": corpus, "stage": stage}
    emit.measured("corpus.documents", len(documents), where=where)
    emit.measured("corpus.characters", sum(map(len, documents)), where=where)
