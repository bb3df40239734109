"""`tupe data corpus`: text, dumps and folders in, fairseq data for masked-LM pre-training out.

OUT_DIR/data-bin     what fairseq-train reads, and manifest.json, which says what it was made of
OUT_DIR/work         what lies between; it can be removed when data-bin is made
"""

from __future__ import annotations

import sys
from pathlib import Path

from .cluster.executors import check_executor, clean_in_parts
from .corpus_options import CorpusOptions, check_corpus
from .corpus_steps import CorpusJob
from .folder_lock import folder_lock
from .input_files import check_files, check_output, check_sources
from .parts import Part
from .read.shard import Shard
from .step_graph import StepError
from .unit_check import check_units
from .worker_pool import WorkerPool, all_cores


def make_corpus(options: CorpusOptions, sources: list[Path], output: Path) -> None:
    """Make OUT_DIR/data-bin, or one shard's text.

    Raises:
        UsageError: the options do not go together.
        InputError: an input is not there, or the output cannot be written.
        MissingLibraryError: the executor's library is not installed.
        LostJobError: there is no Slurm here, or a job is killed whenever it runs.
        FolderInUseError: another run is at work there.
        StepError: a step cannot be done, or failed.
    """
    check_corpus(options, sources, output)
    with WorkerPool(options.workers or all_cores()) as pool:
        job = CorpusJob(options, sources, output, pool)
        check_sources(sources)
        others = [paths for name, paths in job.files.items() if name != "sources"]
        check_files(path for paths in others for path in paths)
        check_units(job.units)
        check_executor(options.executor)
        check_output(output)
        lock = f".lock-{options.shard.number}-of-{options.shard.of}" if options.shard else ".lock"
        with folder_lock(output / lock):
            if options.shard:
                _make_shard(job, options.shard)
            else:
                if options.merge:
                    job.take("clean", [_made_shards(job, options.merge)])
                elif options.executor != "local":
                    job.take("clean", clean_in_parts(job, options, output))
                job.run()
                _say_what_was_made(job.result)


def _make_shard(job: CorpusJob, shard: Shard) -> None:
    part = _part(job, shard)
    job.do(part.name)
    sys.stderr.write(
        f"shard: {job.folder(part.name)}; when all are there: the same command with --merge "
        f"{shard.of}\n"
    )


def _made_shards(job: CorpusJob, number: int) -> list[Path]:
    folders = []
    for shard in (Shard(n, number) for n in range(1, number + 1)):
        part = _part(job, shard)
        folder = job.folder(part.name)
        advice = f"run the same command with --shard {shard} instead of --merge"
        if not folder.is_dir():
            raise StepError(f"no {folder}: {advice}")
        if not job.is_whole(part.name):
            raise StepError(f"{folder} was made from other inputs, options or versions: {advice}")
        folders.append(folder)
    return folders


def _part(job: CorpusJob, shard: Shard) -> Part:
    """Every n-th document of all sources."""
    part = Part(f"clean-{shard.number}-of-{shard.of}", tuple(job.files["sources"]), shard)
    job.add_part(part)
    return part


def _say_what_was_made(data_bin: Path) -> None:
    units = (data_bin / "dict.txt").read_bytes().count(b"\n")
    sys.stdout.write(
        f"data: {data_bin} ({units} units; with dict.txt, manifest.json and the means to encode "
        "other text)\n"
    )
