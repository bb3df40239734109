"""What makes a documented command small, and the files that the documents take for granted."""

from __future__ import annotations

import bz2
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

from tests.api.trained_models import fine_tuned, pre_trained, write_corpus, write_task
from tests.checkpoint.huggingface_models import save_model
from tests.sweep.some_runs import a_run
from tupe_plugin.data.glue_tasks import load_tasks

REPLACED = {  # (program, option) -> the value in place of the documented one
    ("fairseq-train", "--max-epoch"): "1",
    ("fairseq-hydra-train", "optimization.max_epoch"): "1",
    ("tupe", "--strategies"): "rdrop+layer-decay",
    ("tupe", "--lr"): "5e-5",
    ("tupe", "--seeds"): "1",
    ("tupe", "--set"): "max-epoch=1",
}
ADDED = {  # program -> further arguments; a test's small text would want others than the defaults
    "preprocess/pretrain.sh": ("--bpe-merges", "100", "--valid-ratio", "0.2", "--workers", "1"),
    "preprocess/glue.sh": ("--workers", "1"),
    "fairseq-train": ("--num-workers", "0"),
    "fairseq-hydra-train": ("dataset.num_workers=0",),
}
PYTHON = {  # the same for blocks in Python
    "vocab_size=32000": "vocab_size=50",
    "num_layers=12": "num_layers=2",
    "embed_dim=768": "embed_dim=24",
    "ffn_embed_dim=3072": "ffn_embed_dim=48",
    "max_positions=512": "max_positions=16",
}

_draw = random.Random(11)
_WORDS = ["".join(_draw.choices(["ba", "ko", "ti", "lu", "me", "ra"], k=3)) for _ in range(80)]
_UNITS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"地图书人大小"]


def sized(words: list[str]) -> list[str]:
    """The command with toy values in place of those that would take long, and a few more."""
    program, *arguments = words
    for (of, option), value in REPLACED.items():
        for place, word in enumerate(arguments):
            if of == program and word == option:
                arguments[place + 1] = value
            elif of == program and word.startswith(f"{option}="):
                arguments[place] = f"{option}={value}"
    if {"tupe", "--zip"} <= {program, *arguments}:
        arguments.append("--fill-missing")  # the other tasks of GLUE have no model here
    if {"tupe", "compare-pretraining"} <= {program, *arguments}:
        arguments += ["--schemes", "none", "--seeds", "1", "--updates", "2", "--validations", "1"]
        arguments += ["--set", "num-workers=0"]
    return [program, *arguments, *ADDED.get(program, ())]


def _sentence() -> str:
    return " ".join(_draw.choices(_WORDS, k=_draw.randint(8, 14))).capitalize() + "."


def _documents(count: int) -> list[list[str]]:
    return [[_sentence() for _ in range(4)] for _ in range(count)]


def _text(path: Path) -> None:
    path.write_text("\n\n".join("\n".join(lines) for lines in _documents(60)) + "\n", "utf-8")


def _folder_of_texts(folder: Path) -> None:
    folder.mkdir()
    _text(folder / "one.txt")


def _dump(path: Path) -> None:
    pages = "".join(
        f"<page><title>T{number}</title><ns>0</ns><revision><text>{' '.join(lines)}</text>"
        "</revision></page>"
        for number, lines in enumerate(_documents(40))
    )
    path.write_bytes(bz2.compress(f"<mediawiki>{pages}</mediawiki>".encode()))


def _table(path: Path, header: str | None, rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*([header] if header else []), *("\t".join(row) for row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _glue(folder: Path) -> None:
    """CoLA, with as many test rows as the official file has: `tupe predict --zip` counts them."""
    files = {file.split: file for file in load_tasks()["CoLA"].files}
    for split, count in (("train", 60), ("valid", 30)):
        rows = [("x", str(number % 2), "", _sentence()) for number in range(count)]
        _table(folder / "CoLA" / files[split].name, None, rows)
    rows = [(str(number), _sentence()) for number in range(files["test"].rows)]
    _table(folder / "CoLA" / files["test"].name, "index\tsentence", rows)


def _own_tasks(folder: Path) -> None:
    for name, count in (("train", 12), ("dev", 6)):
        news = [("sport" if n % 2 else "arts", _sentence(), _sentence()) for n in range(count)]
        _table(folder / "news" / f"{name}.tsv", "topic\ttitle\tbody", news)
        stars = [(str(n % 5), _sentence()) for n in range(count)]
        _table(folder / "reviews" / f"{name}.tsv", "stars\ttext", stars)


def _clue(folder: Path) -> None:
    for task, columns in (("afqmc", ("sentence1", "sentence2")), ("iflytek", ("sentence",))):
        (folder / task).mkdir(parents=True)
        for name, count in (("train", 8), ("dev", 4)):
            rows = [
                {"id": n, "label": str(n % 2), **dict.fromkeys(columns, "大书 小图")}
                for n in range(count)
            ]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / task / f"{name}.json").write_text(text, "utf-8")


def _bert(folder: Path) -> None:
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{unit}\n" for unit in _UNITS), "utf-8")


def _minilm(folder: Path) -> None:
    save_model(folder, "BertModel")


def _sentences(path: Path) -> None:
    path.write_text("".join(f"{_sentence()}\n" for _ in range(5)), "utf-8")


def _parallel(folder: Path) -> None:
    folder.mkdir()
    for split, count in (("train", 40), ("valid", 8), ("test", 8)):
        for language in ("de", "en"):
            text = "".join(f"{_sentence()}\n" for _ in range(count))
            (folder / f"{split}.{language}").write_text(text, "utf-8")


def _runs(folder: Path) -> None:
    data = write_task(folder / "data", kind="bpe", pairs=False)
    fine_tuned(folder / "cola" / "checkpoint_best.pt", data)
    pre_trained(folder / "books" / "checkpoint_best.pt", write_corpus(folder, data))


def _sweep(folder: Path) -> None:
    for number, (strategy, seed) in enumerate(itertools.product(("plain", "rdrop"), (1, 2))):
        (folder / str(number)).mkdir(parents=True)
        a_run(0.25, 0.5, strategy=strategy, seed=seed).write(folder / str(number))


GIVEN: dict[str, Callable[[Path], None]] = {  # name in the documents -> writes it
    "books.txt": _text,
    "some.txt": _text,
    "sentences.txt": _sentences,
    "books": _folder_of_texts,
    "enwiki-pages-articles.xml.bz2": _dump,
    "dump.xml.bz2": _dump,
    "glue_data": _glue,
    "my_data": _own_tasks,
    "parallel": _parallel,
    "CLUE": _clue,
    "bert-base-chinese": _bert,
    "all-MiniLM-L6-v2": _minilm,
    "trained": _runs,
    "sweeps": _sweep,
}
GIVEN_TO_PYTHON = {"runs": _runs}  # where no command before has made them
