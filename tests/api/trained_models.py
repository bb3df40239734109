"""Small data of each kind, made by preprocess/ and fairseq-preprocess, and models for it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch

from tupe_plugin.checkpoint.write import at_the_beginning, write_checkpoint
from tupe_plugin.data.line_steps import UnitFiles
from tupe_plugin.data.step_chain import Chain
from tupe_plugin.data.text.map_lines import map_block

MOSES = (
    "replace_addresses,clean_punctuation,normalize_punctuation,remove_nonprinting,"
    "tokenize_words,lowercase_text"
)
SENTENCES = [
    "The man's home.",
    "See http://a.org/b, said Mr. Smith , Ph.D.!",
    "“So” it’s … done – zero\u200bwidth, naïve Zürich (50 %)",
    "",
    "a " * 40 + "end",
    "Home the man",
    "<url> the 3rd of them",
]
LABELS = ["contradiction", "entailment", "neutral"]
LONGEST = 24
_MODEL = (
    *("--encoder-layers", 2, "--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16),
    *("--encoder-attention-heads", 2, "--max-positions", LONGEST),
)
ARCHS = {
    "tupe": ("--arch", "tupe_tiny", "--rel-pos", *_MODEL),
    "roberta": ("--arch", "roberta_base", *_MODEL),
}
_WORDPIECES = ["the", "man", "home", "a", "end", "##s", "s", "'", ".", "<", "url", ">", "of", "so"]


def write_units(folder: Path, kind: str) -> Chain:
    """What cuts words into units, and the record of the treatment; what glue.sh makes of it."""
    folder.mkdir(parents=True)
    if kind == "bpe":
        (folder / "bpe.codes").write_text("#version: 0.2\nt h\nth e</w>\nm a\nma n</w>\no m\n")
        (folder / "cleaning.txt").write_text(f"{MOSES}\n")
        return Chain((*MOSES.split(","), "apply_bpe"), UnitFiles(folder / "bpe.codes"))
    units = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDPIECES, "Home"]
    (folder / "vocab.txt").write_text("".join(f"{unit}\n" for unit in units))
    (folder / "cleaning.txt").write_text("apply_wordpiece\n")
    (folder / "manifest.json").write_text('{"options": {"cased": "yes"}}')
    return Chain(("apply_wordpiece",), UnitFiles(vocab=folder / "vocab.txt", cased=True))


def write_task(folder: Path, *, kind: str, pairs: bool) -> Path:
    """A task of SENTENCES, as preprocess/glue.sh makes it."""
    data, text = folder / "XYZ-bin", folder / "text"
    steps = write_units(data, kind).build()
    text.mkdir()
    columns = {"input0": SENTENCES}
    if pairs:
        columns["input1"] = SENTENCES[::-1]
    for name, sentences in columns.items():
        cut = text / name
        lines = map_block(steps, sentences)
        cut.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        dictionary = [] if name == "input0" else ["--srcdict", str(data / "input0" / "dict.txt")]
        _binarize(cut, data / name, *dictionary)
    labels = (LABELS * len(SENTENCES))[: len(SENTENCES)]
    (text / "label").write_text("".join(f"{label}\n" for label in labels))
    (text / "label.dict.txt").write_text("".join(f"{label} 1\n" for label in LABELS))
    _binarize(text / "label", data / "label", "--srcdict", str(text / "label.dict.txt"))
    return data


def write_corpus(folder: Path, task: Path) -> Path:
    """Data of pre-training with the dictionary and the treatment of a task."""
    data = folder / "data-bin"
    data.mkdir()
    for path in (*task.glob("*.*"), task / "input0" / "dict.txt"):
        (data / path.name).write_bytes(path.read_bytes())
    return data


def write_model(path: Path, data: Path, *arguments: object, task: str) -> Path:
    """A model as its training would begin with it."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from omegaconf import OmegaConf

    line = [str(data), "--task", task, "--criterion", task, *map(str, arguments)]
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line))
    torch.manual_seed(1)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    settings = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, at_the_beginning(model.state_dict(), cfg=settings))
    return path


def fine_tuned(path: Path, data: Path, *arguments: object, arch: str = "tupe") -> Path:
    """A classifier, or with `--regression-target` and one class a regression."""
    classes = () if "--num-classes" in arguments else ("--num-classes", len(LABELS))
    tokens = ("--init-token", 0, "--separator-token", 2)
    settings = (*ARCHS[arch], *classes, *tokens, *arguments)
    return write_model(path, data, *settings, task="sentence_prediction")


def pre_trained(path: Path, data: Path, *, arch: str = "tupe") -> Path:
    settings = (*ARCHS[arch], "--tokens-per-sample", LONGEST)
    return write_model(path, data, *settings, task="masked_lm")


def _binarize(text: Path, folder: Path, *more: str) -> None:
    from fairseq import options
    from fairseq_cli import preprocess

    arguments = ["--only-source", "--destdir", str(folder), "--trainpref", str(text), *more]
    arguments += ["--validpref", str(text)]
    with contextlib.redirect_stdout(io.StringIO()):
        preprocess.main(options.get_preprocessing_parser().parse_args(arguments))
