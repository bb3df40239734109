"""`--mask-whole-words`: a word's units are masked together, whatever marks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import options, tasks
from fairseq.data import Dictionary, ListDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from omegaconf import OmegaConf

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


def masked(
    tmp_path: Path, kind: str, bpe: dict[str, str] | None
) -> list[tuple[list[int], list[int]]]:
    """(units, places that are masked) of many sentences, by the task of a job with this --bpe."""
    dictionary = Dictionary()
    sentences = [
        dictionary.encode_line(line(kind, text), append_eos=True).long() for text in TEXT * 60
    ]
    dictionary.save(str(tmp_path / "dict.txt"))
    task = MaskedLMConfig(data=str(tmp_path), mask_prob=0.3, mask_whole_words=True, seed=1)
    job = OmegaConf.create({"task": OmegaConf.structured(task), "bpe": bpe})
    made: Any = MaskedLMTask.setup_task(job.task)
    with_bos = [torch.cat([torch.tensor([dictionary.bos()]), s]) for s in sentences]
    dataset = ListDataset(with_bos, [len(s) for s in with_bos])
    made._load_dataset_split = lambda split, epoch, combine: dataset
    made.load_dataset("train")
    found = []
    for i in range(len(dataset)):
        target = made.datasets["train"][i]["target"]
        found.append((dataset[i].tolist(), target.ne(dictionary.pad()).nonzero().view(-1).tolist()))
    return found


def words_of(sentence: str) -> list[set[int]]:
    """Places of each word's units; <s> is at 0, and </s> is a word as well."""
    sizes = [1, *(len(word.split("|")) for word in sentence.split()), 1]
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [set(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def gpt2(tmp_path: Path) -> dict[str, str]:
    encoder, merges = tmp_path / "encoder.json", tmp_path / "vocab.bpe"
    encoder.write_text(json.dumps({unit: i for i, unit in enumerate(GPT2)}))
    merges.write_text("#version\nl o\n")
    return {"_name": "gpt2", "gpt2_encoder_json": str(encoder), "gpt2_vocab_bpe": str(merges)}


SUBWORD_NMT = {"_name": "subword_nmt", "bpe_codes": "not/read", "bpe_separator": "__"}


@pytest.mark.parametrize(
    ("kind", "bpe"),
    [
        ("@@", None),
        ("@@", {"_name": "fastbpe", "bpe_codes": "not/read"}),
        ("__", SUBWORD_NMT),
        ("##", None),
        ("##", {"_name": "bert"}),
        ("\u2581", None),
        ("\u2581", {"_name": "sentencepiece", "sentencepiece_model": "not/read"}),
        ("gpt2", gpt2),
    ],
)
def test_the_units_of_a_word_are_masked_together(tmp_path, kind, bpe) -> None:
    bpe = bpe(tmp_path) if callable(bpe) else bpe
    seen = set()
    for number, (units, places) in enumerate(masked(tmp_path, kind, bpe)):
        words = words_of(TEXT[number % 2])
        assert sum(map(len, words)) == len(units)
        for word in words:
            assert word <= set(places) or not word & set(places), (units, places)
        seen.update((number % 2, place) for place in places)
    assert len(seen) == sum(len(word) for text in TEXT for word in words_of(text))


@pytest.mark.parametrize(
    ("kind", "bpe", "message"),
    [
        ("gpt2", None, "dict.txt does not tell where words begin: .* give the --bpe"),
        ("@@", {"_name": "bytes"}, "--bpe bytes does not tell where words begin"),
    ],
)
def test_what_does_not_tell_is_refused(tmp_path, kind, bpe, message) -> None:
    with pytest.raises(ValueError, match=message):
        masked(tmp_path, kind, bpe)


def test_a_task_knows_the_bpe_options_of_its_job(tmp_path) -> None:
    Dictionary().save(str(tmp_path / "dict.txt"))
    words = [str(tmp_path), "--task", "masked_lm", "--arch", "tupe_tiny"]
    bpe = ["--bpe", "subword_nmt", "--bpe-codes", "not/read", "--bpe-separator", "__"]
    args = options.parse_args_and_arch(options.get_training_parser(), [*words, *bpe])
    task = tasks.setup_task(convert_namespace_to_omegaconf(args).task)
    assert dict(task.args) == SUBWORD_NMT
