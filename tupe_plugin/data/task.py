"""`tupe data task`: GLUE's tables, or a task of your own, in; data for sentence_prediction out.

OUT_DIR/TASK-bin     input0, input1 (pairs), label and index (names of test rows)
OUT_DIR/work/TASK    what lies between
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from .folder_lock import folder_lock
from .glue_tasks import data_of_task, load_task, load_tasks
from .input_files import check_files, check_output
from .label_scale import LABEL_SCALE
from .read.read_examples import Columns, find_files
from .read.read_glue import list_files
from .step_chain import Chain
from .step_graph import Step
from .task_options import ALL, TaskOptions, check_task, text_columns
from .text.map_lines import map_file
from .treatment import MANIFEST
from .unit_check import check_units
from .unit_options import Units, UsageError, files_of_units, units_of
from .units_job import DICTIONARY_STEP, UNIT_FILES, UnitsJob, values_of
from .worker_pool import WorkerPool, all_cores
from .write.binarize import Binarized
from .write.binarize_texts import binarize_texts
from .write.record_treatment import record_treatment
from .write.unknown_units import unknown_units
from .write.write_examples import LABEL_DICTIONARY
from .write.write_glue import write_glue
from .write.write_own_task import write_own_task


class TaskJob(UnitsJob):
    """The steps of one task, with what they share."""

    def __init__(
        self,
        options: TaskOptions,
        units: Units,
        pool: WorkerPool,
        *,
        glue_dir: Path,
        task: str,
        output: Path,
    ) -> None:
        self.given, self.units, self.pool = options, units, pool
        self.glue_dir, self.task = glue_dir, task
        if options.format == "glue":
            tables = list_files(glue_dir, load_task(task))
        else:
            tables = list(find_files(glue_dir / task, options.format).values())
        super().__init__(
            options={**values_of(options, units), "task": task, "steps": units.line_steps},
            steps=STEPS,
            files={"tables": tables, **files_of_units(units)},
            work=output / "work" / task,
            result=data_of_task(output, task),
        )

    def rows(self) -> Path:
        """The folder of the texts, labels and indices."""
        return self.folder("rows")


def make_task(options: TaskOptions, glue_dir: Path, task: str, output: Path) -> None:
    """Make OUT_DIR/TASK-bin; of ALL, those that are there.

    Raises:
        UsageError: the options do not go together.
        InputError, UnknownTaskError, MalformedTableError: an input is not there.
        FolderInUseError: another run is at work there.
        StepError: a step cannot be done, or failed.
    """
    check_task(options, glue_dir, task, output)
    units = units_of(options)
    if units.learns_bpe or not (
        units.dictionary or units.authors_dictionary or units.tokenizer == "wordpiece"
    ):
        raise UsageError("give --data-bin, or --bpe-codes and --dict")
    with WorkerPool(options.workers or all_cores()) as pool:
        for name in load_tasks() if task == ALL else [task]:
            if task == ALL and not (glue_dir / name).is_dir():
                sys.stderr.write(f"== {name}: not in {glue_dir}, left out\n")
                continue
            job = TaskJob(options, units, pool, glue_dir=glue_dir, task=name, output=output)
            check_files(path for paths in job.files.values() for path in paths)
            check_units(units)
            check_output(job.work)
            with folder_lock(job.work / ".lock"):
                job.run()
            sys.stderr.write(f"data: {job.result}\n")


def _read_rows(job: TaskJob, folder: Path) -> None:
    given = job.given
    if given.format == "glue":
        task = load_task(job.task)
        write_glue(job.glue_dir, task, folder, skip_malformed=given.skip_malformed)
    else:
        columns = Columns(
            text_columns(given), given.label_column or "label", given.index_column or None
        )
        write_own_task(
            job.glue_dir / job.task,
            given.format,
            columns,
            folder,
            regression=given.regression,
            skip_malformed=given.skip_malformed,
        )


def _encode(job: TaskJob, folder: Path) -> None:
    chain = Chain((*job.units.line_steps, *job.units.unit_steps), job.units.files)
    for text in sorted(job.rows().glob("*.input?")):
        map_file(text, folder / text.name, chain, job.pool)


def _make_bin(job: TaskJob, folder: Path) -> None:
    found: dict[str, Binarized] = {}
    for column in ("input0", "input1"):
        texts = _splits(job.folder("bpe"), column)
        if texts:
            binarized = binarize_texts(
                texts, folder / column, job.pool, dictionary=job.dictionary()
            )
            found |= {f"{split}.{column}": one for split, one in binarized.items()}
    labels, classes = _splits(job.rows(), "label"), job.rows() / LABEL_DICTIONARY
    recorded: dict[str, object] = {"cased": "yes"} if job.units.files.cased else {}
    if classes.is_file():
        binarize_texts(labels, folder / "label", job.pool, dictionary=classes)
    else:  # regression: fairseq reads the numbers from text files
        _copy(labels.values(), folder / "label")
        of_glue = job.given.format == "glue"
        recorded[LABEL_SCALE] = load_task(job.task).label_scale if of_glue else 1.0
    indices = _splits(job.rows(), "index").values()
    if indices:
        _copy(indices, folder / "index")
    record_treatment(folder, job.units.line_steps, job.units.files)
    text = json.dumps({"options": recorded, "data": unknown_units(found)})
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def _splits(folder: Path, column: str) -> dict[str, Path]:
    """Split -> file; fairseq numbers the splits of a kind by their place."""
    return {path.stem: path for path in sorted(folder.glob(f"*.{column}"))}


def _copy(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir()
    for path in files:
        shutil.copyfile(path, folder / path.name)


_ROWS = (
    *("task", "format", "text_columns", "label_column", "index_column", "regression"),
    "skip_malformed",
)

STEPS = (  # the folder; what it reads, where that is there; what changes it; what makes it; when
    Step("rows", ("tables",), _ROWS, _read_rows),
    Step("bpe", ("rows", *UNIT_FILES), ("steps", "tokenizer", "cased"), _encode),
    DICTIONARY_STEP,
    Step("bin", ("rows", "bpe", *UNIT_FILES, "dict", "authors_dict"), ("cased",), _make_bin),
)
