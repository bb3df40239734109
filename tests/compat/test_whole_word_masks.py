"""`--mask-whole-words`: a word's units are masked together, whatever marks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options
from fairseq.data import Dictionary, ListDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.masked_lm import MaskedLMTask

# Two sentences; a space stands between words, a bar between the units of one.
TEXT = ("lod|ge , un|do|ing", "ge lod|ge lod")


def line(kind: str, sentence: str) -> str:
    words = [word.split("|") for word in sentence.split()]
    if kind == "@@":
        return " ".join("@@ ".join(word) for word in words)
    if kind == "##":
        return " ".join(" ##".join(word) for word in words)
    if kind == "\u2581":
        return " ".join("\u2581" + " ".join(word) for word in words)
    if kind == "__":
        return " ".join("__ ".join(word) for word in words)
    assert kind == "gpt2"  # the first word of a line has no space before it
    firsts = [w[0] if i == 0 else "\u0120" + w[0] for i, w in enumerate(words)]
    units = [u for first, w in zip(firsts, words, strict=True) for u in (first, *w[1:])]
    return " ".join(str(GPT2.index(unit)) for unit in units)


GPT2 = ["lod", "ge", "\u0120,", "\u0120un", "do", "ing", "\u0120lod", "\u0120ge"]


def masked(tmp_path: Path, kind: str, *flags: str) -> list[tuple[list[int], list[int]]]:
    """(units, places that are masked) of many sentences, by the task of a job."""
    dictionary = Dictionary()
    sentences = [
        dictionary.encode_line(line(kind, text), append_eos=True).long() for text in TEXT * 60
    ]
    dictionary.save(str(tmp_path / "dict.txt"))
    words = [str(tmp_path), "--task", "masked_lm", "--arch", "tupe_tiny", "--mask-whole-words"]
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [*words, "--mask-prob", "0.3", *flags])
    task: Any = MaskedLMTask.setup_task(convert_namespace_to_omegaconf(args).task)
    with_bos = [torch.cat([torch.tensor([dictionary.bos()]), s]) for s in sentences]
    dataset = ListDataset(with_bos, [len(s) for s in with_bos])
    task._load_dataset_split = lambda split, epoch, combine: dataset
    task.load_dataset("train")
    found = []
    for i in range(len(dataset)):
        target = task.datasets["train"][i]["target"]
        found.append((dataset[i].tolist(), target.ne(dictionary.pad()).nonzero().view(-1).tolist()))
    return found


def words_of(sentence: str) -> list[set[int]]:
    """Places of each word's units; <s> is at 0, and </s> is a word as well."""
    sizes = [1, *(len(word.split("|")) for word in sentence.split()), 1]
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [set(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def gpt2_files(tmp_path: Path) -> list[str]:
    encoder, merges = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    encoder.write_text(json.dumps({unit: i for i, unit in enumerate(GPT2)}))
    merges.write_text("#version\nl o\n")
    return ["--bpe", "gpt2", "--gpt2-encoder-json", str(encoder), "--gpt2-vocab-bpe", str(merges)]


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("@@", []),
        ("@@", ["--bpe", "subword_nmt", "--bpe-codes", "not/read"]),
        ("__", ["--bpe", "subword_nmt", "--bpe-codes", "not/read", "--bpe-separator", "__"]),
        ("##", []),
        ("##", ["--bpe", "bert"]),
        ("\u2581", []),
        ("\u2581", ["--bpe", "sentencepiece", "--sentencepiece-model", "not/read"]),
        ("gpt2", ["GPT2 FILES"]),
    ],
)
def test_the_units_of_a_word_are_masked_together(tmp_path, kind, flags) -> None:
    flags = gpt2_files(tmp_path) if flags == ["GPT2 FILES"] else flags
    seen = set()
    for number, (units, places) in enumerate(masked(tmp_path, kind, *flags)):
        words = words_of(TEXT[number % 2])
        assert sum(map(len, words)) == len(units)
        for word in words:
            assert word <= set(places) or not word & set(places), (units, places)
        seen.update((number % 2, place) for place in places)
    assert len(seen) == sum(len(word) for text in TEXT for word in words_of(text))


@pytest.mark.parametrize(
    ("kind", "flags", "message"),
    [
        ("gpt2", [], "dict.txt does not tell where words begin: .* give the --bpe"),
        (
            "@@",
            ["--bpe", "byte_bpe", "--sentencepiece-model-path", "not/read"],
            "--bpe byte_bpe does not tell where words begin",
        ),
    ],
)
def test_what_does_not_tell_is_refused(tmp_path, kind, flags, message) -> None:
    with pytest.raises(ValueError, match=message):
        masked(tmp_path, kind, *flags)
