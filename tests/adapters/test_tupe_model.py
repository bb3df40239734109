"""`--arch tupe_*`: options that arrive, sizes, errors, and state dicts of several origins."""

from __future__ import annotations

import logging
import re
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq import models, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import open_dict
from torch import nn
from torch.nn import functional as F

from tests.adapters.small_batches import dictionary
from tests.conftest import REFERENCE_DATA
from tests.reference_files import read
from tests.references.relative_position import bucket
from tupe_plugin.checkpoint.formats import tupe_2021
from tupe_plugin.checkpoint.settings import BEFORE_THERE_WERE_OPTIONS
from tupe_plugin.core.attention_backends import BACKENDS
from tupe_plugin.core.position_scheme import POSITION_SCHEMES
from tupe_plugin.models.tupe import TupeConfig, TupeModel

VOCAB, PAD = 23, 1
SMALL = (
    *("--encoder-layers", "2", "--encoder-embed-dim", "15", "--encoder-ffn-embed-dim", "7"),
    *("--encoder-attention-heads", "3", "--max-positions", "11"),
)
HEAD = "sentence_classification_head"

every_scheme = pytest.mark.parametrize("scheme", list(POSITION_SCHEMES))


def arguments(*flags: str, arch: str = "tupe_tiny", task: str = "masked_lm") -> Namespace:
    """What fairseq-train's parser makes of a command line."""
    parser = options.get_training_parser(default_task=task)
    line = ["data", "--task", task, "--criterion", task, "--arch", arch, *flags]
    return options.parse_args_and_arch(parser, line)


def build(
    *flags: str, tokens_per_sample: int | None = None, symbols: int = VOCAB, **where: str
) -> TupeModel:
    torch.manual_seed(1)
    task = SimpleNamespace(
        cfg=SimpleNamespace(tokens_per_sample=tokens_per_sample),
        source_dictionary=dictionary(symbols),
    )
    return TupeModel.build_model(TupeConfig.from_namespace(arguments(*flags, **where)), task)


def small(*flags: str, **options: Any) -> TupeModel:
    return build(*SMALL, *flags, **options)


def sentences() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(4, VOCAB, (2, 7), generator=generator)
    tokens[:, 0] = 0
    tokens[1, 5:] = PAD
    return tokens


# ---- options


@pytest.mark.parametrize(
    ("arch", "layers", "embed_dim", "heads"),
    [
        ("tupe_tiny", 2, 128, 2),
        ("tupe_mini", 4, 256, 4),
        ("tupe_small", 4, 512, 8),
        ("tupe_base", 12, 768, 12),
        ("tupe_large", 24, 1024, 16),
    ],
)
def test_architectures(arch: str, layers: int, embed_dim: int, heads: int) -> None:
    with torch.device("meta"):  # shapes only
        model = build(arch=arch)
    encoder = model.encoder.sentence_encoder
    assert encoder.embed_tokens.weight.shape == (VOCAB, embed_dim)
    assert len(encoder.layers) == layers
    assert {layer.fc1.out_features for layer in encoder.layers} == {4 * embed_dim}
    assert {layer.self_attn.num_heads for layer in encoder.layers} == {heads}
    assert model.max_positions() == 512


def test_a_size_given_by_hand_wins_over_the_architecture() -> None:
    encoder = build("--encoder-layers", "3", "--encoder-embed-dim", "64").encoder.sentence_encoder
    assert len(encoder.layers) == 3
    assert encoder.embed_tokens.embedding_dim == 64
    assert encoder.layers[0].fc1.out_features == 512  # still the architecture's


def test_the_attention_is_the_one_that_was_named() -> None:
    for name in ("explicit", "sdpa"):  # the others want a GPU
        layers = small("--attention-backend", name).encoder.sentence_encoder.layers
        assert {layer.self_attn.attention for layer in layers} == {BACKENDS[name]}


@pytest.mark.parametrize(("flag", "unpad"), [("auto", None), ("always", True), ("never", False)])
def test_unpad_reaches_the_encoder(flag: str, unpad: bool | None) -> None:
    assert small("--unpad", flag).encoder.sentence_encoder.unpad is unpad


def configuration(*flags: str, task: str) -> Any:
    """What fairseq-train makes of it in the end, by way of hydra."""
    return convert_namespace_to_omegaconf(arguments(*flags, task=task))


@pytest.mark.parametrize("task", ["masked_lm", "sentence_prediction"])
def test_every_flag_arrives(task: str) -> None:
    """fairseq drops a flag in silence where another part owns the same name."""
    given = {
        "encoder_layers": 3,
        "encoder_embed_dim": 20,
        "encoder_ffn_embed_dim": 28,
        "encoder_attention_heads": 5,
        "position_scheme": "tupe-a-tie-cls",
        "rel_pos_bins": 14,
        "max_rel_pos": 29,
        "max_positions": 31,
        "position_offset": 3,
        "num_segments": 6,
        "layer_norm_eps": 1e-12,
        "activation_fn": "relu",
        "dropout": 0.2,
        "attention_dropout": 0.3,
        "attention_backend": "explicit",
        "unpad": "never",
        "activation_dropout": 0.4,
        "pooler_dropout": 0.5,
        "pooler_input_dropout": 0.6,
        "pooler_activation_fn": "relu",
        "bitfit_terms": "query,output",
    }
    switches = ["rel_pos", "embedding_normalize", "encoder_normalize_before"]
    switches += ["load_checkpoint_heads"]
    flags = []
    for name, value in given.items():
        flags += ["--" + name.replace("_", "-"), str(value)]
    flags += ["--" + name.replace("_", "-") for name in switches]
    cfg = configuration(*flags, task=task).model
    assert {name: cfg[name] for name in given} == given
    assert all(cfg[name] is True for name in switches)
    unset = configuration(task=task).model
    assert all(unset[name] is False for name in switches)
    assert all(unset[name] != value for name, value in given.items())
    assert set(given) | set(switches) == set(unset) - {"_name"}


def test_fairseq_builds_the_configured_model() -> None:
    cfg = configuration(*SMALL, "--rel-pos", "--tokens-per-sample", "11", task="masked_lm")
    task = SimpleNamespace(cfg=cfg.task, source_dictionary=dictionary())
    model = models.build_model(cfg.model, task)
    assert isinstance(model, TupeModel)
    assert model.state_dict().keys() == small("--rel-pos").state_dict().keys()


def test_what_an_older_checkpoint_was_is_the_default_of_each_option() -> None:
    """Where no fairseq model is made, as for an export or a picture of the positions."""
    defaults = {name: getattr(TupeConfig, name) for name in BEFORE_THERE_WERE_OPTIONS}
    assert defaults == BEFORE_THERE_WERE_OPTIONS


def test_the_settings_of_an_older_checkpoint_are_completed_with_defaults() -> None:
    cfg = configuration(*SMALL, "--tokens-per-sample", "11", task="masked_lm")
    with open_dict(cfg.model):
        for name in ("num_segments", "position_offset", "layer_norm_eps", "bitfit_terms"):
            del cfg.model[name]
    task = SimpleNamespace(cfg=cfg.task, source_dictionary=dictionary())
    model = models.build_model(cfg.model, task, from_checkpoint=True)
    assert model.encoder.sentence_encoder.final_layer_norm is None
    assert model.encoder.lm_head.layer_norm.eps == 1e-5


def test_options_reach_the_modules() -> None:
    flags = ["--dropout", "0.2", "--attention-dropout", "0.3", "--activation-dropout", "0.4"]
    flags += ["--pooler-dropout", "0.5", "--pooler-activation-fn", "relu"]
    flags += ["--pooler-input-dropout", "0.6", "--layer-norm-eps", "0.7"]
    flags += ["--activation-fn", "relu", "--embedding-normalize", "--encoder-normalize-before"]
    flags += ["--rel-pos", "--rel-pos-bins", "14", "--max-rel-pos", "29"]
    model = small(*flags)
    encoder = model.encoder.sentence_encoder
    layer = encoder.layers[0]
    assert encoder.dropout.p == layer.dropout.p == 0.2
    assert layer.self_attn.dropout == 0.3
    assert layer.activation_dropout.p == 0.4
    assert layer.normalize_before
    assert encoder.final_layer_norm is not None
    assert encoder.embedding_layer_norm is not None
    assert encoder.positions.relative.bias.weight.shape == (15, 3)
    expected = [bucket(offset, 14, 29) for offset in range(-10, 11)]
    assert encoder.positions.relative.buckets.tolist() == expected
    model.register_classification_head(HEAD, num_classes=2)
    head = model.classification_heads[HEAD]
    assert (head.input_dropout.p, head.dropout.p) == (0.6, 0.5)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {0.7}
    negative = torch.tensor([-1.0])
    for activation in (layer.activation, model.encoder.lm_head.activation, head.activation):
        assert activation(negative) == 0


def test_without_options_it_is_tupe_a_with_post_layer_norm() -> None:
    encoder = small().encoder.sentence_encoder
    assert [name for name, _ in encoder.positions.named_children()] == ["absolute"]
    assert encoder.final_layer_norm is None
    assert encoder.embedding_layer_norm is None


@every_scheme
def test_position_scheme_chooses_the_parts(scheme: str) -> None:
    model = small("--position-scheme", scheme)
    parts = {name for name, _ in model.encoder.sentence_encoder.positions.named_children()}
    expected = {
        "tupe-a": {"absolute"},
        "tupe-r": {"absolute", "relative"},
        "tupe-a-tie-cls": {"absolute"},
        "bert-a": {"learned"},
        "bert-r": {"learned", "relative"},
        "bert-a-d": {"projection"},
        "none": set(),
    }
    assert parts == expected[scheme]
    products = POSITION_SCHEMES[scheme].num_products
    assert model.encoder.sentence_encoder.layers[0].self_attn.scale == (5 * products) ** -0.5


@pytest.mark.parametrize(
    ("scheme", "same_as"),
    [("tupe-a", "tupe-r"), ("tupe-r", "tupe-r"), ("bert-a", "bert-r"), ("bert-r", "bert-r")],
)
def test_rel_pos_adds_the_relative_bias(scheme: str, same_as: str) -> None:
    with_flag = small("--position-scheme", scheme, "--rel-pos")
    by_name = small("--position-scheme", same_as)
    assert with_flag.state_dict().keys() == by_name.state_dict().keys()
    outputs = [model.eval()(sentences())[0] for model in (with_flag, by_name)]
    assert torch.equal(*outputs)  # same seed, same parts


# ---- what it computes


def test_outputs() -> None:
    model = small("--rel-pos").eval()
    model.register_classification_head(HEAD, num_classes=3)
    tokens = sentences()
    features, extra = model(tokens, features_only=True)
    assert features.shape == (2, 7, 15)
    assert extra["inner_states"] is None
    _, extra = model(tokens, features_only=True, return_all_hiddens=True)
    assert [tuple(x.shape) for x in extra["inner_states"]] == [(7, 2, 15)] * 3
    assert torch.equal(extra["inner_states"][-1].transpose(0, 1), features)

    logits, _ = model(tokens)
    assert logits.shape == (2, 7, VOCAB)
    masked = torch.zeros_like(tokens, dtype=torch.bool)
    masked[0, 3] = masked[1, 2] = True
    some, _ = model(tokens, masked_tokens=masked)
    torch.testing.assert_close(some, logits[masked])

    classes, _ = model(tokens, features_only=True, classification_head_name=HEAD)
    torch.testing.assert_close(classes, model.classification_heads[HEAD](features))
    for log_probs in (True, False):
        probabilities = model.get_normalized_probs((classes.half(), None), log_probs=log_probs)
        assert probabilities.dtype == torch.float32
        sums = (probabilities.exp() if log_probs else probabilities).sum(-1)
        torch.testing.assert_close(sums, torch.ones(2))
    assert model.supported_targets == {"self"}


@every_scheme
def test_pre_training_uses_every_parameter(scheme: str) -> None:
    """Several workers without ``--find-unused-parameters`` rest on this."""
    model = small("--position-scheme", scheme, "--embedding-normalize")
    tokens = sentences()
    logits, _ = model(tokens, masked_tokens=tokens.ne(PAD))
    F.cross_entropy(logits, tokens[tokens.ne(PAD)]).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_it_starts_from_bert_s_initialisation_head_included() -> None:
    model = build("--rel-pos")
    model.register_classification_head(HEAD, num_classes=3)
    for name, parameter in model.named_parameters():
        if "layer_norm" in name or name.endswith("bias") or "relative" in name:
            continue
        assert parameter.std().item() == pytest.approx(0.02, rel=0.2), name


# ---- errors


def test_blocks_longer_than_the_table_are_refused_before_training() -> None:
    small(tokens_per_sample=11)
    with pytest.raises(
        ValueError, match="--tokens-per-sample 12 is longer than --max-positions 11"
    ):
        small(tokens_per_sample=12)


@pytest.mark.parametrize("number", [None, 0, -1, 10**12])
def test_a_head_needs_a_number_of_classes(number: int | None) -> None:
    with pytest.raises(ValueError, match=f"--num-classes {number}"):
        small().register_classification_head(HEAD, num_classes=number)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--encoder-attention-heads 4", "^--encoder-embed-dim 15 is no multiple of .*-heads 4: "),
        ("--position-offset 2", "^--position-offset 2: position scheme tupe-a has no learned pos"),
        ("--attention-backend flex", "^--attention-backend flex: flex has no dropout .*, and 0.1"),
        (
            "--attention-backend triton",
            "^--attention-backend triton: triton attention takes head sizes .*, not 5: choose sdpa",
        ),
        ("--rel-pos --max-rel-pos 8", "^--max-rel-pos 8: give more than 8, .* --rel-pos-bins 32"),
        (
            "--encoder-embed-dim 99999 --encoder-layers 20",
            r"parameters, which take \d+\.\d\d GB .* are available: lower --encoder-layers",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_flag(flags: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(*flags.split())


@pytest.mark.parametrize(
    ("scheme", "change", "message"),
    [
        *(
            (scheme, {"symbols": 26}, "checkpoint has 26 symbols, the model 23: .*<file>, <email>")
            for scheme in POSITION_SCHEMES
        ),
        *(
            (
                scheme,
                {"flags": ("--max-positions", "13")},
                "checkpoint has 13 positions, the model 11: give --max-positions",
            )
            for scheme in POSITION_SCHEMES
            if scheme != "none"
        ),
        *(
            (
                scheme,
                {"flags": ("--rel-pos-bins", "10")},
                "checkpoint has 1[01] relative position entries, the model 3[23]: .*rel-pos-bins",
            )
            for scheme in ("tupe-r", "bert-r")
        ),
    ],
)
def test_a_checkpoint_of_another_size_says_which_option_to_give(
    scheme: str, change: dict[str, Any], message: str
) -> None:
    flags = change.get("flags", ())
    other = small("--position-scheme", scheme, *flags, symbols=change.get("symbols", VOCAB))
    with pytest.raises(ValueError, match=message):
        small("--position-scheme", scheme).load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        (
            "--rel-pos",
            "--rel-pos --position-scheme bert-a",
            "tupe-r, here bert-r: give --position-scheme tupe-r",
        ),
        ("", "--rel-pos", "tupe-a, here tupe-r: give --position-scheme tupe-a without --rel-pos"),
        ("--rel-pos", "--position-scheme tupe-r", None),
    ],
)
def test_the_effective_scheme_of_a_checkpoint_is_named(
    theirs: str, ours: str, why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    model, other = small(*ours.split()), small(*theirs.split())
    told = model.why_not_fit(vars(other.cfg), {})
    assert told == (why and f"it was written with position scheme {why}")
    assert f"position scheme {'bert-r' if 'bert' in ours else 'tupe-r'}" in caplog.text


FOREIGN = {"encoder_attention_heads": 5, "encoder_normalize_before": True}
"""As of fairseq's RoBERTa: its eps has no name, and some names mean other things."""


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        ("--dropout 0.3 --max-rel-pos 90 --pooler-activation-fn relu --max-positions 12", "", None),
        ("", "--encoder-attention-heads 5", r"attention-heads 3 \(here 5\): give .* 3$"),
        ("--rel-pos --max-rel-pos 90", "--rel-pos", r"--max-rel-pos 90 \(here 128\): give .* 90$"),
        (
            "--layer-norm-eps 1e-12 --activation-fn relu",
            "",
            r"--layer-norm-eps 1e-12 \(here 1e-05\), with --activation-fn relu \(here gelu\): "
            "give --layer-norm-eps 1e-12, give --activation-fn relu$",
        ),
        ("", "--num-segments 2", r"--num-segments 0 \(here 2\): give --num-segments 0$"),
        ("", "--embedding-normalize", "out --embedding-normalize: leave --embedding-normalize out"),
        (
            "--position-scheme bert-a --position-offset 2",
            "--position-scheme bert-a --max-positions 13",
            r"--position-offset 2 \(here 0\)",
        ),
        ({"encoder_attention_heads": 3}, "--rel-pos --max-rel-pos 90", None),
        (FOREIGN, "--position-scheme bert-a --layer-norm-eps 1e-12", "heads 5 .*eps 1e-05 .*1e-12"),
    ],
)
def test_settings_that_change_no_size_are_compared(
    theirs: str | dict[str, Any], ours: str, why: str | None
) -> None:
    model = small(*ours.split())
    settings = theirs if isinstance(theirs, dict) else vars(small(*theirs.split()).cfg)
    settings = {name: value for name, value in settings.items() if value != 0}  # of before it was
    told = model.why_not_fit(settings, {})
    assert told is None if why is None else re.search(why, told or "")


def test_a_head_s_activation_counts_where_the_head_is_taken_over() -> None:
    theirs, model = small("--pooler-activation-fn", "relu"), small("--load-checkpoint-heads")
    for classes, same in ((2, True), (3, False)):
        theirs.register_classification_head(HEAD, num_classes=classes)
        told = model.why_not_fit(vars(theirs.cfg), theirs.state_dict())
        assert ("--pooler-activation-fn relu" in (told or "")) is same
        model.register_classification_head(HEAD, num_classes=2)


# ---- state dicts


@every_scheme
@pytest.mark.parametrize("norm", [(), ("--embedding-normalize", "--encoder-normalize-before")])
def test_state_dict_round_trip(scheme: str, norm: tuple[str, ...]) -> None:
    one, other = (small("--position-scheme", scheme, *norm).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(sentences())[0], other(sentences())[0])
    lm_head, embedding = other.encoder.lm_head, other.encoder.sentence_encoder.embed_tokens
    assert lm_head.weight is embedding.weight  # still tied


@every_scheme
@pytest.mark.parametrize("norm", [(), ("--embedding-normalize", "--encoder-normalize-before")])
def test_the_authors_names_and_back(scheme: str, norm: tuple[str, ...]) -> None:
    model = small("--position-scheme", scheme, *norm)
    model.register_classification_head(HEAD, num_classes=2)
    ours = model.state_dict()
    theirs = tupe_2021.to_authors(ours)
    assert len(theirs) == len(ours)
    assert tupe_2021.is_authors_format(theirs)
    assert not tupe_2021.is_authors_format(ours)
    back = tupe_2021.from_authors(theirs)
    assert list(back) == list(ours)
    assert all(back[key] is ours[key] for key in ours)


def test_the_authors_names_are_the_ones_of_their_files() -> None:
    for name in ("tupe_a", "tupe_r", "tupe_r_prenorm"):
        theirs = read(REFERENCE_DATA / f"{name}.safetensors")["state_dict"]
        assert list(tupe_2021.to_authors(tupe_2021.from_authors(theirs))) == list(theirs)


def test_a_checkpoint_in_the_authors_names_loads() -> None:
    one, other = (small("--rel-pos", "--embedding-normalize").eval() for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_()
    other.load_state_dict(tupe_2021.to_authors(one.state_dict()))
    assert torch.equal(one(sentences())[0], other(sentences())[0])


def with_head(classes: int, *flags: str, name: str = HEAD, inner: int | None = None) -> TupeModel:
    model = small(*flags)
    model.register_classification_head(name, num_classes=classes, inner_dim=inner)
    torch.nn.init.normal_(model.classification_heads[name].out_proj.weight)
    return model


def head_weight(model: TupeModel, name: str = HEAD) -> torch.Tensor:
    return model.classification_heads[name].out_proj.weight.detach().clone()


def test_pre_trained_weights_load_into_a_model_with_a_fresh_head() -> None:
    model = with_head(3)
    before = head_weight(model)
    model.load_state_dict(small().state_dict())
    assert torch.equal(head_weight(model), before)


@pytest.mark.parametrize("flags", [(), ("--load-checkpoint-heads",)])
def test_a_head_of_the_same_name_and_size_is_taken_over(flags: tuple[str, ...]) -> None:
    """Resumed fine-tuning."""
    model, trained = with_head(3, *flags), with_head(3)
    torch.nn.init.normal_(trained.classification_heads[HEAD].out_proj.weight)
    model.load_state_dict(trained.state_dict())
    assert torch.equal(head_weight(model), head_weight(trained))


@pytest.mark.parametrize("flags", [(), ("--load-checkpoint-heads",)])
@pytest.mark.parametrize(
    ("classes", "inner", "lost"),
    [(2, None, "-"), (3, 9, "-"), (3, None, "dense"), (3, None, "out_proj")],
)
def test_a_head_of_another_size_is_left_out_with_a_warning(
    flags: tuple[str, ...],
    classes: int,
    inner: int | None,
    lost: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Or one of another kind, which has not both layers."""
    model = with_head(3, *flags)
    before = head_weight(model)
    theirs = with_head(classes, inner=inner).state_dict()
    theirs = {key: value for key, value in theirs.items() if f"{HEAD}.{lost}" not in key}
    with caplog.at_level(logging.WARNING):
        model.load_state_dict(theirs)
    assert torch.equal(head_weight(model), before)
    assert f"leaving out classification head '{HEAD}'" in caplog.text


def test_an_unknown_head_is_left_out_or_with_the_flag_built(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trained = with_head(3, name="rte", inner=9)
    plain = small()
    with caplog.at_level(logging.WARNING):
        plain.load_state_dict(trained.state_dict())
    assert not plain.classification_heads
    assert "the model has no such head" in caplog.text

    model = small("--load-checkpoint-heads").eval()
    model.load_state_dict(trained.state_dict())
    assert torch.equal(head_weight(model, "rte"), head_weight(trained, "rte"))
    tokens = sentences()
    expected, _ = trained.eval()(tokens, classification_head_name="rte")
    # Equal only if the new head is in evaluation mode, as its model: it has dropout.
    assert torch.equal(model(tokens, classification_head_name="rte")[0], expected)


def test_a_bare_encoder_s_checkpoint_leaves_the_heads_fresh_but_for_the_pooler() -> None:
    """What `tupe import` writes of a BERT: no masked-LM head, a pooler, what it only carries."""
    encoder_alone = {
        key: value for key, value in small().state_dict().items() if ".lm_head." not in key
    }
    pooler = {"dense.weight": torch.randn(15, 15), "dense.bias": torch.randn(15)}
    carried = {"unused.next_sentence.weight": torch.zeros(2, 15)}
    model = with_head(3)
    lm_head, classes = model.encoder.lm_head.dense.weight.clone(), head_weight(model)
    torch.nn.init.normal_(encoder_alone["encoder.sentence_encoder.embed_tokens.weight"])
    model.load_state_dict(
        encoder_alone | {f"pooler.{key}": value for key, value in pooler.items()} | carried
    )
    assert torch.equal(model.encoder.lm_head.dense.weight, lm_head)
    embedding = encoder_alone["encoder.sentence_encoder.embed_tokens.weight"]
    assert torch.equal(model.encoder.lm_head.weight, embedding)
    assert torch.equal(head_weight(model), classes)
    assert torch.equal(model.classification_heads[HEAD].dense.weight, pooler["dense.weight"])
    model.load_state_dict(with_head(3).state_dict() | carried)  # a trained head stays as it is
    assert not torch.equal(model.classification_heads[HEAD].dense.weight, pooler["dense.weight"])


def test_a_replaced_head_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    model = with_head(3)
    with caplog.at_level(logging.WARNING):
        model.register_classification_head(HEAD, num_classes=5)
    assert head_weight(model).shape == (5, 15)
    assert "replacing classification head" in caplog.text


def test_a_key_that_belongs_to_nothing_is_an_error() -> None:
    state = small().state_dict() | {"encoder.unheard_of": torch.zeros(1)}
    with pytest.raises(RuntimeError, match=r"encoder\.unheard_of"):
        small().load_state_dict(state)
