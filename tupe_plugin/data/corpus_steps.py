"""The steps of `tupe data corpus`: each makes a folder out of those before it.

The table of them is at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .corpus_options import (
    CorpusOptions,
    document_steps,
    is_wrapped,
    limits_of,
    line_steps_of,
)
from .input_files import files_in
from .line_steps import UnitFiles
from .option_flags import names_recorded, recorded_options
from .parts import Part
from .read.read_sources import Reader, find_sources
from .read.shard import Shard
from .step_chain import Chain
from .step_graph import Step
from .text.clean_documents import clean_documents
from .text.drop_duplicates import drop_duplicates
from .text.drop_near_duplicates import drop_near_duplicates
from .text.map_lines import map_file
from .text.split_documents import split_documents
from .unit_options import files_of_units, units_of
from .units.learn_bpe import write_codes
from .units_job import DICTIONARY_STEP, UNIT_FILES, UnitsJob, values_of
from .worker_pool import WorkerPool, all_cores
from .write.binarize_texts import binarize_texts
from .write.make_manifest import manifest
from .write.record_treatment import record_treatment
from .write.unknown_units import unknown_units
from .write.write_counts import write_counts

_SPLITS = ("train", "valid")


class CorpusJob(UnitsJob):
    """The steps of a corpus, with what they share."""

    def __init__(
        self, options: CorpusOptions, sources: Sequence[Path], output: Path, pool: WorkerPool
    ) -> None:
        self.given = options
        self.pool = pool
        self.units = units_of(options)
        self.cleaning = document_steps(options, self.units)
        files = {"sources": sources, **files_of_units(self.units)}
        if options.valid is not None:
            files["valid"] = [options.valid]
        super().__init__(
            options={**values_of(options, self.units), "steps": self.cleaning},
            steps=STEPS,
            files=files,
            work=output / "work",
            result=output / "data-bin",
        )

    def joined(self) -> Path:
        """The cleaned text of the sources, without copies."""
        return self.folder("distinct" if self.wants("distinct") else "text") / "text"

    def text(self, split: str) -> Path:
        """The cleaned text of a split."""
        if self.given.valid is None:
            return self.folder("split") / split
        return self.joined() if split == "train" else self.folder("text-valid") / "text"

    def unit_files(self) -> UnitFiles:
        """What words are cut into units by; the merges of the BPE are learned or given."""
        if not self.wants("codes"):
            return self.units.files
        return replace(self.units.files, bpe_codes=self.folder("codes") / "bpe.codes")

    def add_part(self, part: Part) -> None:
        """The step that cleans one part alone."""
        clean, files = self.steps["clean"], f"files of {part.name}"
        self.files[files] = part.files
        self.add(
            replace(
                clean,
                name=part.name,
                inputs=tuple(files if name == "sources" else name for name in clean.inputs),
                make=lambda job, folder: _clean(job, folder, part.files, part.shard),
            )
        )


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def _clean(job: CorpusJob, folder: Path, sources: Sequence[Path], shard: Shard) -> None:
    given = job.given
    chain = Chain(
        steps=job.cleaning,
        files=job.units.files,
        language=given.language,
        min_sentence_words=given.min_sentence_words,
        limits=limits_of(given),
    )
    reader = Reader(
        shard=shard,
        wrapped=is_wrapped(given),
        workers=given.workers or all_cores(),
        on_note=_note,
    )
    paths = find_sources(sources, on_note=_note)
    counts = clean_documents(paths, folder / "text", chain, reader, job.pool)
    write_counts(folder / "counts.json", {"corpus": reader.counts, "shard": counts})
    for name, count in [*reader.counts.items(), *counts.items()]:
        _note(f"  {count:>12,} {name}")


def _clean_sources(job: CorpusJob, folder: Path) -> None:
    _clean(job, folder, job.files["sources"], Shard())


def _clean_valid(job: CorpusJob, folder: Path) -> None:
    _clean(job, folder, job.files["valid"], Shard())


def _join(job: CorpusJob, folder: Path, cleaned: str, unit: str) -> None:
    groups = [[part / "text" for part in parts] for parts in job.folders(cleaned)]
    counts = drop_duplicates(groups, folder / "text", unit=unit)
    if not counts["documents"]:
        raise ValueError("nothing is left, all was dropped; see --skip filter_paragraphs")
    write_counts(folder / "counts.json", counts)
    _note("; ".join(f"{count:,} {name}" for name, count in counts.items()))


def _join_sources(job: CorpusJob, folder: Path) -> None:
    _join(job, folder, "clean", job.given.dedup)


def _join_valid(job: CorpusJob, folder: Path) -> None:
    _join(job, folder, "clean-valid", "none")


def _drop_near_duplicates(job: CorpusJob, folder: Path) -> None:
    counts = drop_near_duplicates(
        job.folder("text") / "text",
        folder / "text",
        job.pool,
        similarity=job.given.near_duplicates,
    )
    write_counts(folder / "counts.json", counts)
    _note("; ".join(f"{count:,} {name}" for name, count in counts.items()))


def _split(job: CorpusJob, folder: Path) -> None:
    train, valid = split_documents(
        job.joined(),
        folder / "train",
        folder / "valid",
        ratio=job.given.valid_ratio,
        block_lines=job.given.valid_block_lines,
        seed=job.given.seed,
    )
    write_counts(folder / "counts.json", {"train blocks": train, "valid blocks": valid})
    _note(f"{train} blocks for training, {valid} for validation")


def _learn(job: CorpusJob, folder: Path) -> None:
    write_codes(job.text("train"), folder / "bpe.codes", num_merges=job.given.bpe_merges)


def _encode(job: CorpusJob, folder: Path, split: str) -> None:
    chain = Chain(
        steps=(*job.units.unit_steps, "split_long_lines"),
        files=job.unit_files(),
        max_line_tokens=job.given.max_line_tokens,
    )
    counts = map_file(job.text(split), folder / split, chain, job.pool)
    write_counts(folder / "counts.json", {split: counts})


def _encode_train(job: CorpusJob, folder: Path) -> None:
    _encode(job, folder, "train")


def _encode_valid(job: CorpusJob, folder: Path) -> None:
    _encode(job, folder, "valid")


def _make_data_bin(job: CorpusJob, folder: Path) -> None:
    texts = {split: job.folder(f"bpe-{split}") / split for split in _SPLITS}
    record_treatment(folder, line_steps_of(job.cleaning), job.unit_files())
    found = binarize_texts(
        texts,
        folder,
        job.pool,
        dictionary=job.dictionary(),
        size=job.given.vocab_size,
        threshold=job.given.threshold,
    )
    counted = [
        "text",
        *(["distinct"] if job.wants("distinct") else []),
        "split" if job.wants("split") else "clean-valid",
        *(f"bpe-{split}" for split in _SPLITS),
    ]
    counts = {
        name: [[part / "counts.json" for part in parts] for parts in job.folders(name)]
        for name in ("clean", *counted)
    }
    content = manifest(
        folder,
        texts=texts,
        found=unknown_units(found),
        counts=counts,
        options={
            **recorded_options(job.given),
            "steps": ",".join(job.cleaning),
            "tokenizer": job.units.tokenizer,
            "cased": "yes" if job.units.files.cased else "",
        },
        inputs=[
            file
            for name in _INPUTS
            for given in job.files.get(name, ())
            for file in files_in(given)
        ],
    )
    write_counts(folder / "manifest.json", content)


def _drops_near_duplicates(job: CorpusJob) -> bool:
    return job.given.near_duplicates > 0


def _has_valid(job: CorpusJob) -> bool:
    return job.given.valid is not None


def _has_no_valid(job: CorpusJob) -> bool:
    return job.given.valid is None


def _learns_bpe(job: CorpusJob) -> bool:
    return job.units.learns_bpe


_INPUTS = ("sources", "valid", *UNIT_FILES, "dict", "authors_dict")
_OF_CLEANING = (
    *("steps", "wrapped", "language", "min_letters", "min_letter_share", "any_alphabet"),
    *("min_sentence_words", "cased"),
)
_CLEANING_READS = ("vocab", "gpt2_merges")
_CODES = ("codes", "bpe_codes")
_TEXT = ("text", "distinct", "split")

STEPS = (  # the folder; what it reads, where that is there; what changes it; what makes it; when
    Step("clean", ("sources", *_CLEANING_READS), _OF_CLEANING, _clean_sources),
    Step("text", ("clean",), ("dedup",), _join_sources),
    Step(
        "distinct",
        ("text",),
        ("near_duplicates",),
        _drop_near_duplicates,
        _drops_near_duplicates,
    ),
    Step("clean-valid", ("valid", *_CLEANING_READS), _OF_CLEANING, _clean_valid, _has_valid),
    Step("text-valid", ("clean-valid",), (), _join_valid, _has_valid),
    Step(
        "split",
        ("text", "distinct"),
        ("valid_ratio", "valid_block_lines", "seed"),
        _split,
        _has_no_valid,
    ),
    Step("codes", _TEXT, ("bpe_merges",), _learn, _learns_bpe),
    Step("bpe-train", (*_TEXT, *_CODES), ("max_line_tokens",), _encode_train),
    Step("bpe-valid", ("text-valid", "split", *_CODES), ("max_line_tokens",), _encode_valid),
    DICTIONARY_STEP,
    Step(
        "data-bin",
        (*_INPUTS, "codes", "bpe-train", "bpe-valid", "dict"),
        ("steps", *names_recorded(CorpusOptions)),
        _make_data_bin,
    ),
)
