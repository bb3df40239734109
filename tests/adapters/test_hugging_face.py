"""Each strategy through fairseq's trainer is the same strategy in plain PyTorch on Hugging Face.

From the same weights, batch and noise, without dropout: the same loss, gradients and update, for a
pair of encoders of each family.  Ours and fairseq's go through the criterions and the optimizer of
the command line, Hugging Face's through the public names of the package.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import fairseq.optim
import pytest
import torch
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import base_architecture
from torch import Tensor, nn
from torch.nn import functional as F

import tupe_plugin
from tests.adapters import small_batches as small
from tests.contracts.optimizers import CLASSES, DECAY, LR, configuration
from tests.core.random_parameters import randomized
from tupe_plugin.models.tupe import TupeConfig, TupeModel

pytestmark = pytest.mark.slow

LAYERS, EMBED, FFN, HEADS, POSITIONS, TERMS, ALPHA = 2, 12, 20, 3, 13, "query,intermediate", 0.7
SENTENCES, TARGETS = small.tokens(), small.sentences()["target"].view(-1)

HEAD = f"classification_heads.{small.HEAD}"
# Ours and fairseq's name of what Hugging Face calls otherwise, in the order of replacement.
NAMES = (
    (r"^(bert\.pooler\.dense|classifier\.dense|pre_classifier)\.", f"{HEAD}.dense."),
    (r"^classifier\.(out_proj\.)?", f"{HEAD}.out_proj."),
    (r"^(bert|roberta|mpnet|electra|distilbert)\.", "encoder.sentence_encoder."),
    (r"embeddings\.word_embeddings", "embed_tokens"),
    (r"embeddings\.position_embeddings", "POSITIONS"),
    (r"embeddings\.LayerNorm", "EMBEDDING_NORM"),
    (r"encoder\.relative_attention_bias", "positions.relative.bias"),
    (r"(encoder|transformer)\.layer\.", "layers."),
    (r"attention\.(attn\.|self\.)?([qkv])(uery|ey|alue|_lin)?\.", r"self_attn.\2_proj."),
    (r"attention\.(attn\.o|output\.dense|out_lin)\.", "self_attn.out_proj."),
    (r"attention\.(output\.)?LayerNorm|sa_layer_norm", "self_attn_layer_norm"),
    (r"intermediate\.dense|ffn\.lin1", "fc1"),
    (r"output\.dense|ffn\.lin2", "fc2"),
    (r"output\.LayerNorm|output_layer_norm", "final_layer_norm"),
)
TUPE = {"POSITIONS": "positions.learned", "EMBEDDING_NORM": "embedding_layer_norm"}
FAIRSEQ = {"POSITIONS": "embed_positions", "EMBEDDING_NORM": "layernorm_embedding"}


class Pair(NamedTuple):
    """Two implementations of one encoder."""

    ours: Callable[[str | None], nn.Module]
    """With these bias terms."""
    theirs: str
    names: dict[str, str]
    unused_positions: int = 0
    """Rows of Hugging Face's table of positions which ours does without."""
    rounding: float = 1e-6
    """Largest difference, of the largest entry; the losses of fairseq are in float32."""
    settings: Mapping[str, Any] = {}
    """More of Hugging Face's configuration."""


def build_tupe(scheme: str, **settings: Any) -> Callable[[str | None], nn.Module]:
    def build(terms: str | None) -> nn.Module:
        cfg = TupeConfig(
            encoder_layers=LAYERS,
            encoder_embed_dim=EMBED,
            encoder_ffn_embed_dim=FFN,
            encoder_attention_heads=HEADS,
            max_positions=POSITIONS - (2 if scheme == "bert-r" else 0),
            position_scheme=scheme,
            embedding_normalize=True,
            dropout=0.0,
            attention_dropout=0.0,
            pooler_dropout=0.0,
            bitfit_terms=terms,
            **settings,
        )
        return TupeModel.build_model(cfg, small.task())

    return build


def build_roberta(terms: str | None) -> nn.Module:
    args = argparse.Namespace(
        encoder_layers=LAYERS,
        encoder_embed_dim=EMBED,
        encoder_ffn_embed_dim=FFN,
        encoder_attention_heads=HEADS,
        max_positions=POSITIONS - 2,
        dropout=0.0,
        attention_dropout=0.0,
        pooler_dropout=0.0,
        bitfit_terms=terms,
    )
    base_architecture(args)
    return RobertaModel.build_model(args, small.task())


PAIRS = {
    "bert-a": Pair(build_tupe("bert-a"), "Bert", TUPE),
    "roberta": Pair(build_roberta, "Roberta", FAIRSEQ, rounding=1e-5),  # GELU is, too
    "bert-r": Pair(build_tupe("bert-r"), "MPNet", TUPE, unused_positions=2),
    "electra": Pair(
        build_tupe("bert-a", pooler_activation_fn="gelu"),
        "Electra",
        TUPE,
        settings={"embedding_size": EMBED},
    ),
    "distilbert": Pair(
        build_tupe("bert-a", pooler_activation_fn="relu", layer_norm_eps=1e-12),
        "DistilBert",
        TUPE,
        settings={"hidden_dim": FFN, "dropout": 0.0, "seq_classif_dropout": 0.0}
        | {"attention_dropout": 0.0},
    ),
}
STRONG = {"epsilon": 0.3, "step_size": 0.3}  # SMART's own are tiny
NOISE: dict[str, dict[str, Any]] = {
    "fgm": {"method": "fgm"},
    "pgd": {"method": "pgd"},
    "freelb": {"method": "freelb"},
    "smart": {"method": "smart", **STRONG},
    "attention on weights": {"method": "attention", "epsilon": 0.3},
    "attention on logits": {"method": "attention", "site": "logits", "epsilon": 0.3},
}


# ---- two models with the same weights


def models(pair: Pair, terms: str | None = None) -> tuple[nn.Module, nn.Module]:
    transformers = pytest.importorskip("transformers", reason="the extra `examples` is missing")
    torch.manual_seed(1)
    ours = pair.ours(terms)
    ours.register_classification_head(small.HEAD, num_classes=3)
    randomized(ours).train()
    config = getattr(transformers, f"{pair.theirs}Config")(
        vocab_size=small.VOCAB,
        hidden_size=EMBED,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
        max_position_embeddings=POSITIONS,
        num_labels=3,
        layer_norm_eps=1e-5,
        pad_token_id=small.PAD,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **pair.settings,
    )
    theirs = getattr(transformers, f"{pair.theirs}ForSequenceClassification")(config).double()
    for name, parameter in theirs.named_parameters():
        if "token_type" in name:  # neither ours nor fairseq's has them
            nn.init.zeros_(parameter).requires_grad_(False)
    missing = theirs.load_state_dict(as_theirs(pair, ours.state_dict(), theirs), strict=False)[0]
    assert all("token_type" in name for name in missing), missing
    return ours, theirs.train()


def as_theirs(pair: Pair, named: dict[str, Tensor], theirs: nn.Module) -> dict[str, Tensor]:
    """Values of our parameters under Hugging Face's names; one that ours lacks is left out."""
    flat, found = dict(separate(named)), {}
    for name, _ in theirs.named_parameters():
        our_name = name
        for pattern, replacement in (*NAMES, *pair.names.items()):
            our_name = re.sub(pattern, replacement, our_name)
        if our_name not in flat:
            continue
        value = flat[our_name]
        if "position_embeddings" in name and pair.unused_positions:
            value = torch.cat([value.new_zeros(pair.unused_positions, EMBED), value])
        found[name] = value
    return found


def separate(named: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Query, key and value under names of their own, however they are packed."""
    for name, value in named.items():
        parts = re.fullmatch(r"(.*self_attn\.)in_proj_(weight|bias)", name)
        split = re.fullmatch(r"(.*self_attn\.)parametrizations\.in_proj_bias\.original(\d)", name)
        if parts:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                yield f"{parts[1]}{part}_proj.{parts[2]}", third
        elif split:
            yield f"{split[1]}{'qkv'[int(split[2])]}_proj.bias", value
        else:
            yield name, value


# ---- two ways to train them


def predict(theirs: nn.Module) -> Callable[[], Tensor]:
    mask = SENTENCES.ne(small.PAD).long()
    return lambda: theirs(input_ids=SENTENCES, attention_mask=mask).logits


def mean_loss(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, TARGETS)


def their_loss(theirs: nn.Module, strategy: str) -> Tensor:
    if strategy == "rdrop":
        return tupe_plugin.rdrop(predict(theirs), mean_loss, alpha=ALPHA).total
    if strategy in NOISE:
        return tupe_plugin.adversarial_loss(
            tupe_plugin.make_adversary(**NOISE[strategy]),
            tupe_plugin.make_noise_site(model=theirs, **NOISE[strategy]),
            predict(theirs),
            mean_loss,
            tokens=SENTENCES,
            parameters=theirs.parameters(),
        ).total
    return mean_loss(predict(theirs)())


def our_criterion(strategy: str) -> Any:
    if strategy == "rdrop":
        return small.criterion("rdrop", rdrop_alpha=ALPHA)
    if strategy not in NOISE:
        return small.criterion("sentence_prediction")
    named = {f"adv_{name}": value for name, value in NOISE[strategy].items()}
    return small.criterion("adversarial", **named)


def make_passes_differ(model: nn.Module) -> None:
    """As dropout would, whose masks no two implementations share: other words in each pass.

    One pass over the doubled batch has those of both.
    """
    generator = torch.Generator().manual_seed(4)
    shape = (2, small.BATCH, small.SEQ, EMBED)
    both = torch.randn(shape, generator=generator, dtype=torch.float64) / 3
    one_by_one = itertools.cycle(both)

    def change(_: nn.Module, args: Any, words: Tensor) -> Tensor:
        return words + (next(one_by_one) if len(words) == small.BATCH else both.flatten(0, 1))

    tupe_plugin.view_of(model).word_embedding.register_forward_hook(change)


def backward(pair: Pair, strategy: str) -> tuple[nn.Module, nn.Module]:
    """Both models after the backward of one step; the losses are held against each other here."""
    ours, theirs = models(pair, TERMS if strategy == "bitfit" else None)
    if strategy == "bitfit":
        tupe_plugin.train_only_biases(theirs, TERMS)
    if strategy == "rdrop":
        make_passes_differ(ours)
        make_passes_differ(theirs)
    torch.manual_seed(3)
    loss, size, _ = our_criterion(strategy)(ours, small.sentences())
    (loss / size).backward()
    torch.manual_seed(3)
    other = their_loss(theirs, strategy)
    other.backward()
    torch.testing.assert_close(other, loss / size, rtol=1e-6, atol=0, check_dtype=False)
    return ours, theirs


every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))


@every_pair
@pytest.mark.parametrize("strategy", ["plain", "bitfit", "rdrop", *NOISE])
def test_same_loss_and_gradients(pair: Pair, strategy: str) -> None:
    ours, theirs = backward(pair, strategy)
    found = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    expected = as_theirs(pair, found, theirs)
    got = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys()
    assert len(got) > 3
    assert_close(pair, got, expected)


def test_only_what_a_training_step_reads_counts_in_the_share_that_bitfit_trains() -> None:
    """fairseq's RoBERTa keeps copies of its matrices, which Hugging Face's has not."""
    ours, theirs = (
        tupe_plugin.train_only_biases(model, TERMS) for model in models(PAIRS["roberta"])
    )
    token_types = 2 * EMBED
    assert (ours.biases, ours.total) == (theirs.biases, theirs.total - token_types)


def test_electras_projection_of_narrow_embeddings_is_an_embedding() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra `examples` is missing")
    config = transformers.ElectraConfig(
        vocab_size=small.VOCAB,
        embedding_size=EMBED // 2,
        hidden_size=EMBED,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
    )
    model = transformers.ElectraForSequenceClassification(config)
    groups = tupe_plugin.parameter_groups(model, lr=1.0, layer_decay=DECAY)
    projection = model.electra.embeddings_project.weight
    (rate,) = (group["lr"] for group in groups if any(p is projection for p in group["params"]))
    assert rate == pytest.approx(DECAY ** (LAYERS + 2))
    tupe_plugin.train_only_biases(model)
    assert not projection.requires_grad
    assert not model.electra.embeddings_project.bias.requires_grad


@every_pair
@pytest.mark.parametrize("window", ["no-embeddings", "biases"])
def test_same_update_by_mfac_with_layer_decay(pair: Pair, window: str) -> None:
    """And by Adam, of what is outside of the window; its epsilon keeps it from dividing 0 by 0."""
    ours, theirs = backward(pair, "plain")
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    fairseq.optim.model_in_training = ours
    try:
        settings = {"layer_decay": DECAY, "mfac_parameters": window, "adam_eps": 0.5}
        settings["mfac_rest_lr"] = 2 * LR
        cfg = configuration("mfac", **{f"optimizer__{key}": v for key, v in settings.items()})
        step = CLASSES["mfac"](cfg.optimizer, [p for p in ours.parameters() if p.requires_grad])
    finally:
        del fairseq.optim.model_in_training
    step.step()
    tupe_plugin.MFAC(
        tupe_plugin.mfac_groups(theirs, window, lr=LR, rest_lr=2 * LR, layer_decay=DECAY, eps=0.5),
        num_grads=cfg.optimizer.mfac_num_grads,
        damping=cfg.optimizer.mfac_damping,
    ).step()
    after, expected = theirs.state_dict(), as_theirs(pair, ours.state_dict(), theirs)
    assert_close(
        pair,
        {name: after[name] - before[name] for name in expected},
        {name: value - before[name] for name, value in expected.items()},
    )


def assert_close(pair: Pair, got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 0
    for name, value in expected.items():
        difference = float((got[name] - value).abs().max())
        assert difference <= pair.rounding * largest, name
