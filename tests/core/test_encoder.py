from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.core.random_parameters import randomized
from tests.references.encoder import encode
from tupe_plugin.core.attention_backends import explicit_attention, sdpa_attention
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

VOCAB, PAD = 17, 1
LAYERS, HEADS, HEAD_DIM, FFN = 2, 3, 5, 11
EMBED = HEADS * HEAD_DIM
MAX_POSITIONS, BINS, MAX_DISTANCE = 13, 8, 7
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
TIGHT = {"rtol": 1e-10, "atol": 1e-10}

every_scheme = pytest.mark.parametrize("scheme", list(POSITION_SCHEMES))
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
both_norms = pytest.mark.parametrize("pre_norm", [False, True], ids=["post-LN", "pre-LN"])


def encoder(scheme: str, **options) -> TupeEncoder:
    sizes = {
        "num_layers": LAYERS,
        "embed_dim": EMBED,
        "ffn_embed_dim": FFN,
        "num_heads": HEADS,
        "max_positions": MAX_POSITIONS,
        "num_bins": BINS,
        "max_distance": MAX_DISTANCE,
    }
    return randomized(TupeEncoder(VOCAB, PAD, scheme=POSITION_SCHEMES[scheme], **(sizes | options)))


def sentences(*lengths: int) -> Tensor:
    """Token ids ``(batch, seq)``: token 0 first, padding last."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(2, VOCAB, (len(lengths), max(lengths)), generator=generator)
    tokens[:, 0] = 0
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = PAD
    return tokens


def features(module: TupeEncoder, tokens: Tensor) -> Tensor:
    return module(tokens)[-1]


# ---- equality


def reference(module: nn.Module, tokens: Tensor, **options: Any) -> Tensor:
    """What the naive encoder makes of the same parameters."""
    return encode(
        dict(module.named_parameters()),
        tokens,
        heads=HEADS,
        layers=LAYERS,
        padding_idx=PAD,
        num_bins=BINS,
        max_distance=MAX_DISTANCE,
        **options,
    )


@every_scheme
@both_norms
@both_modes
@pytest.mark.parametrize("lengths", [(7, 4, 1), (5,), (1,)], ids=str)
def test_equals_the_naive_reference(
    scheme: str, pre_norm: bool, training: bool, lengths: tuple[int, ...]
) -> None:
    module = encoder(
        scheme, normalize_before=pre_norm, embedding_normalize=training, unpad=False, **NO_DROPOUT
    ).train(training)
    tokens = sentences(*lengths)
    with torch.no_grad():
        expected = reference(module, tokens, scheme=scheme, pre_norm=pre_norm)
        torch.testing.assert_close(features(module, tokens), expected, **TIGHT)


@pytest.mark.parametrize("scheme", ["bert-a", "bert-r"])
@pytest.mark.parametrize("segments", [1, 2])
def test_what_other_encoders_have_equals_the_naive_reference(scheme: str, segments: int) -> None:
    """BERT's token types, RoBERTa's and MPNet's unused positions, each with its own epsilon."""
    options = {"unpad": False, "position_offset": 2, "num_segments": segments, "separator_idx": 2}
    eps = 0.1
    module = encoder(
        scheme,
        **options,
        embedding_normalize=True,
        layer_norm=lambda size: nn.LayerNorm(size, eps=eps),
    ).eval()
    tokens = torch.full((3, MAX_POSITIONS), PAD)
    for row, line in zip(tokens, ([0, 5, 2, 4, 6, 2], [0, 5, 2, 2, 6, 2, 7, 2], [0]), strict=True):
        row[: len(line)] = torch.tensor(line)
    tokens[2, :] = 3  # as long as it may be
    expected = reference(module, tokens, scheme=scheme, position_offset=2, eps=eps)
    torch.testing.assert_close(features(module, tokens), expected, **TIGHT)


def test_segments_need_the_symbol_that_ends_one() -> None:
    with pytest.raises(ValueError, match="num_segments=2 needs separator_idx"):
        encoder("bert-a", num_segments=2)


@every_scheme
@both_norms
@both_modes
def test_the_fused_path_equals_the_explicit_one_with_gradients(
    scheme: str, pre_norm: bool, training: bool
) -> None:
    outcomes = []
    for attention in (sdpa_attention, explicit_attention):
        module = encoder(scheme, normalize_before=pre_norm, attention=attention).train(training)
        torch.manual_seed(3)
        out = features(module, sentences(7, 4, 1))
        out.square().sum().backward()
        outcomes.append([out, *(p.grad for p in module.parameters())])
    for fused, explicit in zip(*outcomes, strict=True):
        torch.testing.assert_close(fused, explicit, **TIGHT)


# ---- limits where the answer is known


@both_norms
@both_modes
@pytest.mark.parametrize("scheme", ["tupe-a", "tupe-a-tie-cls", "bert-a", "bert-a-d", "none"])
def test_without_positions_it_is_torch_s_own_encoder_with_another_scale(
    scheme: str, pre_norm: bool, training: bool
) -> None:
    """Zero positional parameters leave plain attention, its logits scaled by (n d)^-1/2.

    torch's own layers scale by d^-1/2, so the difference goes into their query weights.
    """
    module = encoder(scheme, normalize_before=pre_norm, **NO_DROPOUT).train(training)
    for name, parameter in module.named_parameters():
        if name.startswith("positions.") and "layer_norm" not in name:
            nn.init.zeros_(parameter)
    products = {"bert-a": 1, "none": 1, "bert-a-d": 4}.get(scheme, 2)

    layer = nn.TransformerEncoderLayer(
        EMBED, HEADS, FFN, dropout=0.0, activation="gelu", batch_first=True, norm_first=pre_norm
    )
    plain = nn.TransformerEncoder(
        layer, LAYERS, norm=nn.LayerNorm(EMBED) if pre_norm else None, enable_nested_tensor=False
    )
    names = (("self_attn_layer_norm", "norm1"), ("final_layer_norm", "norm2"))
    names += (("fc1", "linear1"), ("fc2", "linear2"))
    state = {}
    for key, value in module.state_dict().items():
        if key.startswith("layers."):
            for ours, theirs in names:
                key = key.replace(f".{ours}.", f".{theirs}.")
            state[key] = value.clone()
            if "in_proj" in key:
                state[key][:EMBED] /= products**0.5
        elif key.startswith("final_layer_norm."):
            state[key.replace("final_layer_norm", "norm")] = value
    plain.double().load_state_dict(state)

    tokens = sentences(7, 4, 1)
    padding = tokens.eq(PAD)
    x = module.embed_tokens(tokens).masked_fill(padding.unsqueeze(-1), 0.0)
    with torch.enable_grad():  # keeps torch's own encoder off its fused inference path
        expected = plain.train(training)(x, src_key_padding_mask=padding)
    words = ~padding
    torch.testing.assert_close(features(module, tokens)[words], expected[words], **TIGHT)


@both_modes
def test_without_positions_the_order_of_the_words_is_not_seen(training: bool) -> None:
    module = encoder("none", **NO_DROPOUT).train(training)
    tokens, order = sentences(7, 7), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    expected = features(module, tokens)[:, order]
    torch.testing.assert_close(features(module, tokens[:, order]), expected, **TIGHT)


@pytest.mark.parametrize("scheme", [name for name in POSITION_SCHEMES if name != "none"])
def test_with_positions_it_is_seen(scheme: str) -> None:
    module = encoder(scheme).eval()
    tokens, order = sentences(7), torch.tensor([0, 2, 1, 3, 4, 5, 6])
    expected = features(module, tokens)[:, order]
    assert not torch.allclose(features(module, tokens[:, order]), expected)


# ---- padding, lengths


@every_scheme
@both_modes
def test_padding_changes_nothing_for_the_words(scheme: str, training: bool) -> None:
    module = encoder(scheme, **NO_DROPOUT).train(training)
    short = sentences(5)
    padded = torch.cat([short, torch.full((1, 3), PAD)], dim=1)
    torch.testing.assert_close(features(module, padded)[:, :5], features(module, short), **TIGHT)


@every_scheme
@both_norms
def test_unpadding_changes_no_words_features_and_no_gradient(scheme: str, pre_norm: bool) -> None:
    tokens = sentences(7, 4, 1)
    words = tokens.ne(PAD)
    outcomes = []
    for unpad in (True, False):
        options = {"normalize_before": pre_norm, "embedding_normalize": True, "num_segments": 2}
        module = encoder(scheme, unpad=unpad, separator_idx=2, **options, **NO_DROPOUT)
        rows: list[int] = []
        module.layers[0].fc1.register_forward_hook(
            lambda _, inputs, __, rows=rows: rows.append(inputs[0].shape[:-1].numel())
        )
        out = features(module, tokens)
        torch.manual_seed(3)
        (out[words] * torch.randn_like(out[words])).sum().backward()
        gradients = {name: p.grad for name, p in module.named_parameters()}
        assert rows == [words.sum() if unpad else words.numel()]
        outcomes.append((out[words], gradients))
    torch.testing.assert_close(*outcomes, **TIGHT)


def test_unpadded_features_are_zero_at_padding() -> None:
    tokens = sentences(7, 4)
    for state in encoder("tupe-r", unpad=True)(tokens, all_states=True):
        assert (state[1, 4:] == 0).all()


@every_scheme
def test_a_sequence_too_long_names_both_lengths(scheme: str) -> None:
    module = encoder(scheme)
    module(sentences(MAX_POSITIONS))
    with pytest.raises(ValueError, match="14 tokens is longer than max_positions=13"):
        module(sentences(MAX_POSITIONS + 1))


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    with pytest.raises(ValueError, match="embed_dim=15 is no multiple of num_heads=4"):
        encoder("tupe-a", num_heads=4)


# ---- training


@every_scheme
@both_norms
def test_gradients_of_every_parameter(scheme: str, pre_norm: bool) -> None:
    module = encoder(
        scheme,
        num_layers=1,
        embed_dim=6,
        ffn_embed_dim=3,
        num_heads=2,
        max_positions=5,
        num_bins=4,
        max_distance=2,
        normalize_before=pre_norm,
        embedding_normalize=pre_norm,
        **NO_DROPOUT,
    )
    tokens = sentences(3, 2)
    names, values = zip(*module.named_parameters(), strict=True)

    def encode_words(*parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return functional_call(module, named, (tokens,))[-1][tokens != PAD]

    # The padding row of the table is a constant: torch gives it no gradient, by design.
    assert names[0] == "embed_tokens.weight"
    constant = values[0].detach().clone()

    def without_padding_row(rows: Tensor, *others: Tensor) -> Tensor:
        keep = torch.arange(VOCAB).unsqueeze(1) == PAD
        return encode_words(torch.where(keep, constant, rows), *others)

    assert torch.autograd.gradcheck(without_padding_row, values, fast_mode=True)


@every_scheme
@both_norms
def test_every_parameter_takes_part(scheme: str, pre_norm: bool) -> None:
    """Otherwise distributed training stops: "parameters that were not used"."""
    module = encoder(scheme, normalize_before=pre_norm, embedding_normalize=True)
    features(module, sentences(7, 4)).square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", ["dropout", "attention_dropout", "activation_dropout"])
def test_each_dropout_acts_in_training_only(kind: str) -> None:
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, kind: 0.5}
    module, tokens = encoder("tupe-r", **rates), sentences(7, 4)
    undropped = encoder("tupe-r", **NO_DROPOUT).eval()
    torch.testing.assert_close(features(module.eval(), tokens), features(undropped, tokens))
    torch.manual_seed(1)
    once = features(module.train(), tokens)
    assert not torch.allclose(once, features(module, tokens))
    torch.manual_seed(1)
    assert torch.equal(once, features(module, tokens))


# ---- what the layers are given


class Recorder:
    """Attention that remembers what it was given."""

    def __init__(self) -> None:
        self.biases: list[Tensor | None] = []
        self.paddings: list[Tensor | None] = []
        self.skipped: list[bool] = []

    def __call__(self, *args: Tensor, **options) -> Tensor:
        self.biases.append(options["bias"])
        self.paddings.append(options["key_padding"])
        self.skipped.append(options["skip_padded_queries"])
        return sdpa_attention(*args, **options)


@pytest.mark.parametrize("scheme", ["tupe-a", "tupe-r", "tupe-a-tie-cls", "bert-r"])
@pytest.mark.parametrize("lengths", [(7, 7, 7, 7, 7), (7, 4)], ids=["equal", "padded"])
@both_modes
def test_all_layers_share_one_bias_that_is_not_copied_for_each_sentence(
    scheme: str, lengths: tuple[int, ...], training: bool
) -> None:
    recorder = Recorder()
    module = encoder(scheme, attention=recorder, num_layers=3).train(training)
    tokens = sentences(*lengths)
    module(tokens)
    assert len(recorder.biases) == 3
    for bias, padding in zip(recorder.biases, recorder.paddings, strict=True):
        assert bias is recorder.biases[0]
        assert padding is recorder.paddings[0]
        torch.testing.assert_close(bias, module.attention_bias(7), **TIGHT)
    if len(set(lengths)) == 1:
        assert recorder.paddings == [None] * 3
    else:
        assert torch.equal(recorder.paddings[0], tokens.eq(PAD))


@pytest.mark.parametrize("unpad", [True, False])
def test_attention_may_skip_padded_queries_where_layers_have_none(unpad: bool) -> None:
    recorder = Recorder()
    encoder("tupe-r", attention=recorder, unpad=unpad)(sentences(7, 4))
    assert recorder.skipped == [unpad] * LAYERS


@pytest.mark.parametrize("scheme", ["bert-a", "bert-a-d", "none"])
def test_schemes_without_a_bias_have_none(scheme: str) -> None:
    recorder = Recorder()
    module = encoder(scheme, attention=recorder)
    module(sentences(7, 7))
    assert recorder.biases == [None] * LAYERS
    assert module.attention_bias(7) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_bias_has_the_type_of_the_queries(dtype: torch.dtype) -> None:
    recorder = Recorder()
    module = encoder("tupe-r", attention=recorder).float()
    with torch.autocast("cpu", dtype=dtype):
        out = features(module, sentences(7, 4))
    assert {bias.dtype for bias in recorder.biases} == {dtype}
    out.float().square().sum().backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in module.parameters()
    )


def test_states_are_the_input_and_what_each_layer_gives() -> None:
    module, tokens = encoder("tupe-r", normalize_before=True, **NO_DROPOUT), sentences(7, 4)
    states = module(tokens, all_states=True)
    (alone,) = module(tokens)
    assert torch.equal(alone, states[-1])
    assert [tuple(state.shape) for state in states] == [(2, 7, EMBED)] * (LAYERS + 1)
    assert (states[0][1, 4:] == 0).all()  # padding
    assert torch.equal(states[0][0], module.embed_tokens(tokens[0]))


# ---- lower precision


@pytest.mark.parametrize("scheme", ["tupe-a", "tupe-r", "bert-a", "bert-a-d"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@both_modes
def test_half_precision_errs_at_most_twice_as_much_as_plain_torch(
    scheme: str, dtype: torch.dtype, training: bool
) -> None:
    """Plain torch: the same layers with the attention written out, in that precision."""
    options = {"embed_dim": 96, "ffn_embed_dim": 97, "max_positions": 67, **NO_DROPOUT}
    tokens = sentences(67, 61, 2, 1)
    words = tokens != PAD
    errors = {}
    for attention in (sdpa_attention, explicit_attention):
        module = encoder(scheme, attention=attention, **options).train(training)
        randomized(module, std=0.1).to(dtype)
        out = features(module, tokens)
        assert out.dtype == dtype
        truth = features(module.double(), tokens)
        errors[attention] = (out.double() - truth)[words].abs().max().item()
    assert 0 < errors[sdpa_attention] <= 2 * errors[explicit_attention]
