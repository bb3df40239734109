"""`tupe delta`: small, exact, and refused by any model but its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.adapters import small_batches as small
from tests.checkpoint.written import write_checkpoint
from tupe_plugin.checkpoint.read import load
from tupe_plugin.commands import main
from tupe_plugin.commands.delta_file import read_delta

HEAD = "sentence_classification_head"
EMBED, FFN = 15, 7

pytest.importorskip("fairseq")


def call(*arguments: object) -> int:
    return main(["delta", *map(str, arguments)])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """Save a random model in fairseq's form; returns the path."""
    from argparse import Namespace

    from fairseq.models.roberta import RobertaModel
    from omegaconf import OmegaConf

    from tupe_plugin.models.tupe import TupeConfig, TupeModel

    common = {"seed": 5}

    def build(
        name: str,
        *,
        seed: int = 3,
        head: int | None = None,
        change: Callable[[Any], None] | None = None,
        dtype: torch.dtype = torch.float32,
        words: int = 5,
        arch: str = "tupe",
        **settings: object,
    ) -> Path:
        sizes = {
            **{"encoder_layers": 2, "encoder_embed_dim": EMBED, "encoder_ffn_embed_dim": FFN},
            **{"encoder_attention_heads": 3, "max_positions": 11},
        }
        cfg: Any = TupeConfig(**sizes, rel_pos=True, embedding_normalize=True)
        if arch == "roberta":  # whose namespace has the options of all parts
            cfg = Namespace(**sizes, **common, data=str(tmp_path), save_dir=str(tmp_path))
        for key, value in settings.items():
            setattr(cfg, key, value)
        task = Namespace(cfg=Namespace(), source_dictionary=small.dictionary(4 + words))
        model = (RobertaModel if arch == "roberta" else TupeModel).build_model(cfg, task)
        if head is not None:
            model.register_classification_head(HEAD, num_classes=head)
        state = model.state_dict()
        with torch.no_grad():
            for key in sorted(state):  # in an order that does not depend on what is split
                if not key.startswith("classification_heads."):
                    state[key].normal_(generator=torch.Generator().manual_seed(seed))
            model.load_state_dict(state)
            if change is not None:
                change(model)
        if arch == "tupe":
            cfg = OmegaConf.to_container(OmegaConf.structured(cfg), enum_to_str=True)
            cfg["_name"] = arch
        else:
            cfg._name = arch
        settings = {
            "model": cfg,
            "common": common,
            "checkpoint": {"save_dir": str(tmp_path)},
            "task": {"_name": "sentence_prediction", "data": str(tmp_path), "num_classes": 3},
        }
        rounded = {key: value.to(dtype).float() for key, value in model.state_dict().items()}
        return write_checkpoint(tmp_path / name, rounded, cfg=settings)

    return build


def learn(model: Any) -> None:
    """Every trained parameter moves, by numbers that no half precision holds."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter += torch.randn(parameter.shape, generator=generator) / 3


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load(path)["model"]


@pytest.mark.parametrize(
    ("arch", "terms", "dtype"),
    [
        ("tupe", "all", torch.float32),
        ("tupe", "query", torch.float16),
        ("tupe", "query,output", torch.bfloat16),
        ("tupe", "key,value,layer_norm", torch.float16),
        ("roberta", "query,output", torch.float32),
        ("roberta", "all", torch.float16),
        ("roberta", "key,value", torch.bfloat16),
    ],
    ids=str,
)
def test_applied_again_it_is_the_tuned_model_bit_for_bit(
    make, tmp_path: Path, arch: str, terms: str, dtype: torch.dtype
) -> None:
    base = make("base.pt", head=5, arch=arch)  # a head of the base's own is not the delta's
    tuned = make("tuned.pt", head=3, bitfit_terms=terms, change=learn, dtype=dtype, arch=arch)
    file, again = tmp_path / "d.safetensors", tmp_path / "again.pt"
    assert call("save", base, tuned, "-o", file) == 0
    assert call("apply", base, file, "-o", again) == 0
    ours, theirs = weights(again), weights(tuned)
    if arch == "roberta":  # has copies of parameters, which are made anew when it is loaded
        copy = re.compile(r".*\.layers\.\d\.(in_proj|out_proj|fc1|fc2)_(weight|bias)")
        copies = [key for key in theirs if copy.fullmatch(key)]
        assert len(copies) == 2 * 8
        theirs = {key: value for key, value in theirs.items() if key not in copies}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    made = load(again)["cfg"]
    assert (made["model"]["_name"], made["model"]["bitfit_terms"]) == (arch, terms)
    assert made["task"] == {"_name": "sentence_prediction", "data": "", "num_classes": 3}
    assert str(tmp_path) not in file.read_bytes().decode("latin-1")  # no place of this machine


def test_it_holds_biases_and_head_alone(make, tmp_path: Path, capsys) -> None:
    base = make("base.pt")
    tuned = make("tuned.pt", head=3, bitfit_terms="query,output", change=learn)
    file = tmp_path / "d.safetensors"
    assert call("save", base, tuned, "-o", file) == 0
    made = read_delta(file)
    assert made.roles == ("query", "output")
    assert made.num_biases == 2 * (EMBED + EMBED)
    head = EMBED * EMBED + EMBED + 3 * EMBED + 3
    assert sum(tensor.numel() for tensor in made.tensors.values()) == made.num_biases + head
    own = weights(base)
    tied = own.pop("encoder.lm_head.weight")
    assert torch.equal(tied, own["encoder.sentence_encoder.embed_tokens.weight"])
    assert made.parameters == sum(value.numel() for value in own.values())
    capsys.readouterr()
    assert call("info", file) == 0
    told = capsys.readouterr().out
    for text in (
        "query, output",
        f"60 biases ({100 * 60 / made.parameters:.3f} % of the model's {made.parameters:,} ",
        f"{HEAD}, 3 output(s)",
        "encoder_layers 2, encoder_embed_dim 15, encoder_ffn_embed_dim 7",
        "position_scheme tupe-r",
        made.fingerprint,
    ):
        assert text in told


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 4}, "has the sizes that d.safetensors wants, but other weights"),
        ({"encoder_layers": 3}, "encoder_layers 3 in other.pt, 2 in d.safetensors"),
        ({"words": 6}, "of other sizes: vocabulary"),
        ({"encoder_ffn_embed_dim": 9}, "encoder_ffn_embed_dim 9 in other.pt, 7"),
        ({"rel_pos": False}, "position_scheme tupe-a in other.pt, tupe-r in"),
        ({"encoder_attention_heads": 5}, "encoder_attention_heads 5 in other.pt, 3 in"),
        ({"max_positions": 13, "encoder_layers": 1}, "; max_positions 13 in other.pt, 11"),
        ({"arch": "roberta"}, "other.pt has an encoder of the family fairseq-transformer, and d."),
    ],
    ids=str,
)
def test_another_base_is_refused(make, tmp_path: Path, capsys, other, message) -> None:
    base, tuned = make("base.pt"), make("tuned.pt", head=3, bitfit_terms="all", change=learn)
    file, again = tmp_path / "d.safetensors", tmp_path / "again.pt"
    assert call("save", base, tuned, "-o", file) == 0
    stranger = make("other.pt", **other)
    assert call("apply", stranger, file, "-o", again) == 1
    error = capsys.readouterr().err
    assert error.startswith("tupe delta: other.pt ")
    assert message in error
    assert error.count("\n") == 1
    assert not again.exists()


def test_a_base_of_which_one_number_differs_is_refused(make, tmp_path: Path, capsys) -> None:
    tuned = make("tuned.pt", head=3, bitfit_terms="query", change=learn)
    file = tmp_path / "d.safetensors"
    assert call("save", make("base.pt"), tuned, "-o", file) == 0

    def nudge(model: Any) -> None:  # a frozen third of a bias of which another third was trained
        model.encoder.sentence_encoder.layers[1].self_attn.in_proj_bias[EMBED] += 1e-3

    assert call("apply", make("near.pt", change=nudge), file, "-o", tmp_path / "again.pt") == 1
    assert "other weights" in capsys.readouterr().err


def one_weight(model: Any) -> None:
    model.encoder.sentence_encoder.layers[0].fc1.weight[0] += 1


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({}, "not fine-tuned with --bitfit-terms"),
        ({"bitfit_terms": "all", "seed": 4}, "frozen tensors of tuned.pt differ from base.pt"),
        ({"bitfit_terms": "all", "change": one_weight}, "tupe delta: 1 of "),
        ({"bitfit_terms": "all", "words": 6}, "of other sizes: vocabulary"),
        (
            {"bitfit_terms": "all", "embedding_normalize": False},
            "embedding_layer_norm.weight is (15,) in the former, absent in the latter",
        ),
    ],
)
def test_what_does_not_come_from_the_base_is_refused(
    make, tmp_path: Path, capsys, tuned, message
) -> None:
    file = tmp_path / "d.safetensors"
    assert call("save", make("base.pt"), make("tuned.pt", head=3, **tuned), "-o", file) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not file.exists()


def test_standard_output_is_no_place(make, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = make("base.pt", bitfit_terms="all")
    for command in (["delta", "save", base, base], ["average", base, make("other.pt", seed=3)]):
        assert main([*map(str, command), "-o", "-"]) == 1
        assert f"tupe {command[0]}: - would be standard output" in capsys.readouterr().err
    assert not (tmp_path / "-").exists()


def test_files_that_are_no_delta(make, tmp_path: Path, capsys) -> None:
    from safetensors.torch import save_file

    base, file = make("base.pt"), tmp_path / "d.safetensors"
    file.write_bytes(b"\x00" * 20)
    assert call("info", file) == 1
    assert "not a safetensors file" in capsys.readouterr().err
    save_file({"a": torch.zeros(2)}, file, metadata={"about": json.dumps("something else")})
    assert call("apply", base, file, "-o", tmp_path / "again.pt") == 1
    assert "not written by this version's `tupe delta save`" in capsys.readouterr().err


def test_no_file_is_overwritten(make, tmp_path: Path, capsys) -> None:
    base, tuned = make("base.pt"), make("tuned.pt", head=3, bitfit_terms="all", change=learn)
    assert call("save", base, tuned, "-o", tuned) == 1
    assert "exists already" in capsys.readouterr().err
