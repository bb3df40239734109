"""fairseq's own RoBERTa: files of today and of 2019, read as what they are and into our encoder."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture
from torch import Tensor

from tests.adapters import small_batches as small
from tests.core.random_parameters import randomized
from tupe_plugin.checkpoint.encoder_checkpoint import read_encoder_checkpoint
from tupe_plugin.checkpoint.formats import tupe_2021
from tupe_plugin.checkpoint.formats.fairseq_roberta import OPTIONS
from tupe_plugin.checkpoint.write import at_the_beginning
from tupe_plugin.models.tupe import TupeConfig, TupeModel

SIZES = {
    "encoder_layers": 2,
    "encoder_embed_dim": 12,
    "encoder_ffn_embed_dim": 20,
    "encoder_attention_heads": 3,
    "max_positions": 13,
}


def roberta(task: Any, *, classes: int) -> tuple[RobertaModel, Namespace]:
    """With random parameters, and what `args` of its checkpoint says."""
    args = Namespace(**SIZES, arch="roberta", tokens_per_sample=13)
    base_architecture(args)
    model = RobertaModel.build_model(args, task)
    model.register_classification_head(small.HEAD, num_classes=classes)
    return randomized(model, std=0.3).eval(), args


def of_2019(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in `roberta.base/model.pt`: `decoder.`, packed projections, another name of the norm."""
    old: dict[str, Tensor] = {}
    for key, value in state.items():
        key = key.replace("encoder.", "decoder.", 1).replace(
            "layernorm_embedding", "emb_layer_norm"
        )
        if key.endswith(("in_proj_weight", "in_proj_bias", "fc1_weight", "fc1_bias")):
            continue
        if any(f".{part}_proj." in key for part in "kv"):
            continue
        if ".q_proj." in key:
            others = [
                state[key.replace("decoder.", "encoder.", 1).replace("q_", f"{p}_")] for p in "kv"
            ]
            value = torch.cat([value, *others])
            key = key.replace("q_proj.", "in_proj_")
        old[key] = value
    return {key: value for key, value in old.items() if "_proj_" not in key or "self_attn" in key}


def test_a_setting_that_changes_no_size_is_compared() -> None:
    """That of a head only where the head is taken over."""
    model, args = roberta(small.task(), classes=3)
    theirs = {**vars(args), "pooler_activation_fn": "relu", "dropout": 0.3}
    assert model.why_not_fit(theirs, {}) is None
    told = model.why_not_fit(theirs, model.state_dict())
    assert told.endswith(
        "--pooler-activation-fn relu (here tanh): give --pooler-activation-fn relu"
    )


@pytest.mark.parametrize("age", ["today", "2019"])
def test_it_is_read_as_what_it_is(age: str, tmp_path: Path) -> None:
    """Before, files of 2019 were taken for those of the TUPE authors."""
    model, args = roberta(small.task(), classes=3)
    state = model.state_dict()
    named = of_2019(state) if age == "2019" else state
    assert not tupe_2021.is_authors_format(named)
    if age == "2019":
        del args.max_positions  # those of its task are its own
    torch.save(at_the_beginning(named, cfg=None, args=args), tmp_path / "model.pt")
    checkpoint = read_encoder_checkpoint(tmp_path / "model.pt")
    assert checkpoint.names.family.name == "fairseq-transformer"
    assert checkpoint.sizes["max_positions"] == SIZES["max_positions"]
    for term in checkpoint.names.biases:
        expected = state[f"encoder.sentence_encoder.{term.key}"]
        assert torch.equal(checkpoint.encoder[term.key], expected)

    ours = TupeModel.build_model(
        TupeConfig(**SIZES, **OPTIONS, load_checkpoint_heads=True), small.task()
    ).double()
    ours.load_state_dict(dict(named))
    ours.double().eval()
    tokens = small.tokens()
    with torch.no_grad():
        for head in (None, small.HEAD):
            expected, found = (
                one(tokens, classification_head_name=head)[0] for one in (model, ours)
            )
            words = tokens.ne(small.PAD) if head is None else slice(None)
            torch.testing.assert_close(found[words], expected[words], rtol=1e-6, atol=1e-6)
