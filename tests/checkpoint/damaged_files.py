"""Every command that reads a checkpoint or a delta, on files damaged at random: one line, whatever.

    make fuzz                                        2,000 files
    python -m tests.checkpoint.damaged_files 50 7    50 files, from seed 7 on

A file is damaged in its bytes, in its pickle with the checksum set right again, or in what it
holds. A command may work, or refuse in one line within seconds; anything else is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tupe_plugin
from tests.api.trained_models import write_units
from tests.checkpoint.huggingface_models import save_model
from tests.end_to_end.sentence_task import write_sentence_task
from tests.end_to_end.training_jobs import fine_tuning
from tupe_plugin.checkpoint.errors import CheckpointError
from tupe_plugin.commands import main as tupe

LONGEST_SECONDS = 20.0  # of the processor, for one command
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**12, 1.5, float("nan"), "x", "${x}", b"x", [], {}, [[]], {"a": None}),
    *(torch.zeros(0), torch.zeros(3, 5), torch.full((2,), float("nan")), torch.zeros(2).long()),
)


class Files(NamedTuple):
    folder: Path
    data: Path
    base: Path
    tuned: Path
    delta: Path
    theirs: tuple[Path, ...]
    """Folders of transformers: a stock model, and our own."""
    load: Callable[[Path], object]
    """Resume from a file, in a training that is set up."""


def make_files(folder: Path) -> Files:
    """A base, what BitFit with M-FAC made of it, and the delta."""
    from fairseq import checkpoint_utils, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer
    from fairseq_cli.train import main as train

    pairs = [(f"word{n} and word{n % 5}", f"label{n % 2}") for n in range(16)]
    data = write_sentence_task(folder, {"train": pairs, "valid": pairs[:6]})
    mfac = ("--optimizer", "mfac", "--mfac-num-grads", 3, "--mfac-momentum", 0.5)
    model = ("--bitfit-terms", "query", "--encoder-layers", 1)
    job = fine_tuning(data, folder / "save", *mfac, *model)
    of_adam = job.index("--adam-eps")
    del job[of_adam : of_adam + 2]

    def configuration(*more: object) -> Any:
        parser = options.get_training_parser()
        args = options.parse_args_and_arch(parser, [*job, *map(str, more)])
        return convert_namespace_to_omegaconf(args)

    paths = []
    for name, rate in (("base", 0), ("tuned", 0.01)):
        checkpoint_utils.save_checkpoint.__dict__.pop("best", None)
        train(configuration("--max-update", 5, "--lr", rate, "--save-dir", folder / name))
        paths.append(folder / name / "checkpoint_last.pt")
    for path in paths:  # in mid-epoch, so that they tell which sentences were seen
        state = torch.load(path, weights_only=True)
        assert "sentences" in state["extra_state"]["train_iterator"]
    delta = folder / "delta.safetensors"
    assert tupe(["delta", "save", *map(str, paths), "-o", str(delta)]) == 0

    theirs = (folder / "theirs", folder / "tupe")
    save_model(theirs[0], "BertForSequenceClassification")
    write_units(folder / "units", "bpe")
    for path in (folder / "units").iterdir():
        shutil.copy(path, data)
    assert tupe(["export", str(paths[1]), "-o", str(theirs[1])]) == 0
    cfg = configuration("--max-update", 9)
    task = tasks.setup_task(cfg.task)
    task.load_dataset("valid")
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))

    def load(path: Path) -> object:
        cfg.checkpoint.restore_file = str(path)
        return checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)

    load(paths[1])
    return Files(folder, data, *paths, delta, theirs, load)


def damaged(source: Path, target: Path, draw: random.Random) -> str:
    """Write a damaged copy; says how."""
    kinds: list[Callable[..., bytes]] = [_damaged_bytes]
    if source.suffix == ".pt":
        kinds += [_damaged_pickle, _damaged_contents, _damaged_contents, _damaged_contents]
    elif source.suffix == ".json":
        kinds += [_damaged_json, _damaged_json, _damaged_json]
    kind = draw.choice(kinds)
    target.write_bytes(kind(source, draw))
    return kind.__name__


def _damaged_bytes(source: Path, draw: random.Random) -> bytes:
    return _changed(source.read_bytes(), draw)


def _changed(whole: bytes, draw: random.Random) -> bytes:
    data = bytearray(whole)
    at = draw.randrange(len(data))
    length = min(draw.choice((1, 8, 100, 5000)), len(data) - at)
    kind = draw.randrange(5)
    if kind == 0:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at : at + length] = bytes(length)
    elif kind == 3:
        del data[at : at + length]
    else:
        data[at:at] = draw.randbytes(length)
    return bytes(data)


def _damaged_pickle(source: Path, draw: random.Random) -> bytes:
    """With the right checksum: what only a wrong program or an attacker writes."""
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for record in old.infolist():
            data = old.read(record)
            if record.filename.endswith("data.pkl"):
                data = _changed(data, draw)
            new.writestr(zipfile.ZipInfo(record.filename), data)
    return out.getvalue()


def _damaged_contents(source: Path, draw: random.Random) -> bytes:
    out = io.BytesIO()
    torch.save(_with_other_values(torch.load(source, weights_only=True), VALUES, draw), out)
    return out.getvalue()


def _damaged_json(source: Path, draw: random.Random) -> bytes:
    values = tuple(value for value in VALUES if not isinstance(value, torch.Tensor | bytes))
    return json.dumps(_with_other_values(json.loads(source.read_text()), values, draw)).encode()


def _with_other_values(state: Any, values: tuple[Any, ...], draw: random.Random) -> Any:
    """One or two of the values in it are others, or gone."""
    for _ in range(draw.randint(1, 2)):
        where: Any = state
        while True:
            keys = list(where) if isinstance(where, dict) else list(range(len(where)))
            if not keys:
                break
            key = draw.choice(keys)
            inner = where[key]
            if isinstance(inner, (dict, list)) and inner and draw.random() < 0.85:
                where = inner
            elif draw.random() < 0.25:
                del where[key]
                break
            else:
                where[key] = copy.deepcopy(draw.choice(values))
                break
    return state


def commands(files: Files, path: Path) -> dict[str, Callable[[], object]]:
    """Name -> a call that reads the file at `path` in one of its roles."""
    out = files.folder / "out"

    def run(*arguments: object) -> Callable[[], object]:
        return lambda: tupe([str(argument) for argument in arguments])

    if path.parent.name == "damaged":
        return {"import": run("import", path.parent, "-o", out / "imported")}
    if path.suffix != ".pt":
        return {
            "delta info": run("delta", "info", path),
            "delta apply, delta": run("delta", "apply", files.base, path, "-o", out / "a.pt"),
        }
    plots = ("-o", out / "a.png")
    return {
        "fairseq-train": lambda: files.load(path),
        "fairseq-validate": lambda: _validate(path, files.data),
        "predict": run("predict", f"own={path}", "--data", files.data, "-o", out, "--cpu"),
        "average": run("average", files.tuned, path, "-o", out / "a.pt"),
        "average, first": run("average", path, files.tuned, "-o", out / "a.pt"),
        "average --evaluate": run(
            *("average", path, files.tuned, "-o", out / "a.pt", "--evaluate", files.data, "--cpu")
        ),
        "delta save, base": run("delta", "save", path, files.tuned, "-o", out / "a.safetensors"),
        "delta save, tuned": run("delta", "save", files.base, path, "-o", out / "a.safetensors"),
        "delta apply, base": run("delta", "apply", path, files.delta, "-o", out / "a.pt"),
        "plot positions": run("plot", "positions", path, *plots),
        "plot bitfit-drift": run("plot", "bitfit-drift", files.base, path, *plots),
        "export": run("export", path, "--data", files.data, "-o", out / "exported"),
        "convert-checkpoint": run("convert-checkpoint", "--trust", path, out / "a.pt"),
    }


def _validate(path: Path, data: Path) -> None:
    from fairseq import checkpoint_utils

    _, cfg, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(path)], arg_overrides={"data": str(data)}
    )
    task.build_criterion(cfg.criterion)


def complaints(files: Files, path: Path, *, only: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with how the commands take a file; `only`: these of them."""
    from fairseq import metrics

    out = files.folder / "out"
    calls = commands(files, path)
    for name in only or calls:
        call = calls[name]
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        said = io.StringIO()
        metrics.reset()  # an error leaves fairseq's own counts open; here there is one process
        begin = time.process_time()
        try:
            with (
                contextlib.redirect_stderr(said),
                contextlib.redirect_stdout(io.StringIO()),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                status = call()
            lines = said.getvalue().splitlines()
            if status == 1 and len(lines) != 1:
                yield f"{name}: {len(lines)} lines: {lines}"
        except CheckpointError as error:
            if "\n" in str(error):
                yield f"{name}: more than a line: {error}"
        except Exception:
            yield f"{name}: {traceback.format_exc()}"
        if time.process_time() - begin > LONGEST_SECONDS:
            yield f"{name}: {time.process_time() - begin:.0f} seconds"


def try_damaged_files(files: Files, *, number: int, seed: int) -> Iterator[str]:
    """What was wrong, file by file; a file's seed makes it again."""
    for one in range(seed, seed + number):
        draw = random.Random(one)
        theirs = draw.choice(sorted(draw.choice(files.theirs).iterdir()))
        source = draw.choice((files.tuned, files.tuned, files.base, files.delta, theirs))
        path = files.folder / f"damaged{source.suffix}"
        if source is theirs:
            path = files.folder / "damaged" / theirs.name
            shutil.rmtree(path.parent, ignore_errors=True)
            shutil.copytree(theirs.parent, path.parent)
        how = damaged(source, path, draw)
        for complaint in complaints(files, path):
            yield f"seed {one} ({how} of {source.parent.name}/{source.name}): {complaint}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=2000)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    args = parser.parse_args()
    found = 0
    tupe_plugin.use_with_fairseq()  # its errors are then those that this module knows
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder))
        for found, complaint in enumerate(  # noqa: B007
            try_damaged_files(files, number=args.number, seed=args.seed), 1
        ):
            print(complaint, flush=True)
    print(f"{args.number} damaged files from seed {args.seed}: {found} complaints")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
