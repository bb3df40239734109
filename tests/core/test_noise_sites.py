from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.core.random_parameters import randomized
from tupe_plugin.core.adversarial import SMART, Pass, Passes
from tupe_plugin.core.attention_access import SITES
from tupe_plugin.core.attention_backends import NO_NOISE
from tupe_plugin.core.divergence import symmetric_kl_divergence
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.inner_gradients import allowed
from tupe_plugin.core.noise_sites import AttentionNoise, WordNoise, rms_entry, rms_vector
from tupe_plugin.core.perturbation import LInfBall, Normal, UnitStep
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

BATCH, SEQ, HEADS, EMBED, LAYERS, PAD = 3, 7, 3, 15, 2, 1
LENGTHS = (7, 5, 1)


def encoder(dropout: float = 0.0, *, embed_dim: int = EMBED, std: float = 0.2) -> TupeEncoder:
    made = TupeEncoder(
        23,
        PAD,
        num_layers=LAYERS,
        embed_dim=embed_dim,
        ffn_embed_dim=11,
        num_heads=HEADS,
        max_positions=13,
        scheme=POSITION_SCHEMES["tupe-r"],
        dropout=dropout,
        attention_dropout=dropout,
    )
    return randomized(made, std=std).train()


def tokens() -> Tensor:
    made = torch.randint(4, 23, (BATCH, SEQ), generator=torch.Generator().manual_seed(2))
    for row, length in enumerate(LENGTHS):
        made[row, length:] = PAD
    return made


def sites(model: TupeEncoder):
    return {
        "words": WordNoise(model),
        **{site: AttentionNoise(model, site) for site in SITES},
    }


def some_noise(site, seed: int = 4) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return site.space(tokens()).draw(lambda e, _: e.normal_(generator=generator) * 0.3)


every_site = pytest.mark.parametrize("name", ["words", "weights", "logits"])


@every_site
def test_noise_has_a_place_for_every_word_and_none_for_padding(name) -> None:
    space = sites(encoder())[name].space(tokens())
    assert space.dtype == torch.float64
    if name == "words":
        (allowed,) = space.allowed
        assert allowed.shape == (BATCH, SEQ, EMBED)
        assert [int(x) for x in allowed.sum((1, 2))] == [EMBED * n for n in LENGTHS]
    else:
        assert [mask.shape for mask in space.allowed] == [(BATCH, HEADS, SEQ, SEQ)] * LAYERS
        for mask in space.allowed:
            assert [int(x) for x in mask.sum((1, 2, 3))] == [HEADS * n * n for n in LENGTHS]


@every_site
def test_zero_noise_is_none_and_the_model_is_left_as_it_was(name) -> None:
    model = encoder(dropout=0.2)
    site = sites(model)[name]
    outputs = []
    for noise in (None, site.space(tokens()).zeros(), some_noise(site)):
        torch.manual_seed(5)
        with site.entering(noise):
            outputs.append(model(tokens())[-1])
    torch.manual_seed(5)
    outputs.append(model(tokens())[-1])
    plain, zero, noisy, after = outputs
    torch.testing.assert_close(zero, plain, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(noisy, plain, atol=1e-3)
    assert torch.equal(after, plain)
    assert [layer.self_attn.noise for layer in model.layers] == [NO_NOISE] * LAYERS
    assert not model.embed_tokens._forward_hooks


@every_site
def test_the_model_is_left_as_it_was_after_an_error(name) -> None:
    model = encoder()
    site = sites(model)[name]
    plain = model(tokens())[-1]
    with pytest.raises(ZeroDivisionError), site.entering(some_noise(site)):
        1 / 0  # noqa: B018
    assert torch.equal(model(tokens())[-1], plain)


@every_site
def test_padding_changes_nothing(name) -> None:
    """A sentence by itself, with its part of the noise, gives what it gives in the batch."""
    model = encoder()
    site = sites(model)[name]
    noise = some_noise(site)
    with site.entering(noise):
        together = model(tokens())[-1]
    for row, length in enumerate(LENGTHS):
        own = [n[row : row + 1] for n in noise]
        if name == "words":
            own = [n[:, :length] for n in own]
        else:
            own = [n[:, :, :length, :length] for n in own]
        with site.entering(tuple(own)):
            alone = model(tokens()[row : row + 1, :length])[-1]
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-10, atol=1e-10)


def test_word_noise_moves_the_words_and_not_the_tied_output() -> None:
    model = encoder()
    site = WordNoise(model)
    (noise,) = some_noise(site)
    with site.entering((noise,)):
        states = model(tokens(), all_states=True)
    embedded = model.embed_tokens(tokens()) + noise
    expected = embedded.masked_fill(tokens().eq(PAD).unsqueeze(-1), 0.0)
    torch.testing.assert_close(states[0], expected)


@pytest.mark.parametrize("unit", [rms_vector, rms_entry])
def test_the_unit_of_words_is_that_of_each_sentence_without_its_padding(unit) -> None:
    model = encoder()
    space = WordNoise(model, unit=unit).space(tokens())
    (ones,) = space.in_model(tuple(mask.to(space.dtype) for mask in space.allowed))
    for row, length in enumerate(LENGTHS):
        words = model.embed_tokens.weight[tokens()[row, :length]]
        expected = words.square().mean() if unit is rms_entry else words.square().sum(1).mean()
        torch.testing.assert_close(
            ones[row, :length], expected.sqrt().expand(length, EMBED), rtol=1e-12, atol=0
        )
        assert not ones[row, length:].any()


@pytest.mark.parametrize("layers", [None, [1]])
def test_heads_and_layers_share_a_query(layers) -> None:
    """Vectors of length 1 in each head are of length 1 in all of them together."""
    space = AttentionNoise(encoder(), layers=layers, shared=True).space(tokens())
    noise = space.in_model(tuple(F.normalize(mask.double(), dim=-1) for mask in space.allowed))
    assert len(noise) == len(layers or range(LAYERS))
    lengths = torch.stack([n.square().sum((1, 3)) for n in noise]).sum(0).sqrt()
    torch.testing.assert_close(lengths, tokens().ne(PAD).double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("site", SITES)
def test_chosen_layers_only(site) -> None:
    model = encoder()
    site = AttentionNoise(model, site, layers=[1])
    noise = some_noise(site)
    assert len(noise) == 1
    plain = model(tokens(), all_states=True)
    with site.entering(noise):
        noisy = model(tokens(), all_states=True)
    assert torch.equal(plain[1], noisy[1])
    assert not torch.allclose(plain[2], noisy[2], atol=1e-3)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer 2: the encoder's are 0 to 1"):
        AttentionNoise(encoder(), layers=[0, 2])
    with pytest.raises(ValueError, match="attention noise enters weights or logits"):
        AttentionNoise(encoder(), "values")


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("std", "least_cosine"), [(0.02, 0.95), (1.0, 0.5)])
def test_smart_finds_its_direction_in_bfloat16(
    std: float, least_cosine: float, autocast: bool
) -> None:
    """Its first noise, 1e-5, is below the rounding of an embedding.  Found: the step it takes.

    Beside words of 1 the noise is below the rounding of float32's products, too: there the sign of
    the direction is chance.
    """
    steps = []
    for half in (False, True):
        model = encoder(embed_dim=126, std=0.06).float()
        torch.nn.init.normal_(
            model.embed_tokens.weight, std=std, generator=torch.Generator().manual_seed(7)
        )
        if half and not autocast:
            model = model.bfloat16()
        site, found = WordNoise(model), []

        def run(noise, model=model, site=site, half=half, found=found) -> Pass:
            found.append(noise)
            with (
                site.entering(noise),
                torch.autocast("cpu", torch.bfloat16, enabled=half and autocast),
            ):
                logits = model(tokens())[-1][..., :3].float().mean(1)
            return Pass(logits, logits.sum())

        smart = SMART(
            init=Normal(1e-5),
            ascent=UnitStep(LInfBall(1e-3, -1), 1e-3),
            divergence=symmetric_kl_divergence,
            weight=1.0,
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=half and autocast):
            space = site.space(tokens())
        smart(Passes(run, run, ()), space, torch.Generator().manual_seed(8))
        steps.append(found[-1][0][:2].double())  # of the sentences with more than one word
    wide, narrow = steps
    assert narrow.abs().max().item() == pytest.approx(1e-3, rel=1e-4)
    # directions at random have 0 +- 0.03
    cosine = torch.cosine_similarity(wide.flatten(), narrow.flatten(), dim=0)
    assert (cosine if std < 1 else cosine.abs()) > least_cosine


@every_site
def test_frozen_parameters_let_the_gradient_through_to_the_noise(name) -> None:
    model = encoder().requires_grad_(False)
    site = sites(model)[name]
    noise = some_noise(site)
    with site.entering(noise):
        loss = model(tokens())[-1][:, 0].square().sum()
    gradients = torch.autograd.grad(loss, noise)
    for gradient, mask in zip(gradients, site.space(tokens()).allowed, strict=True):
        assert gradient[mask].abs().max() > 0


@pytest.mark.parametrize("site", SITES)
def test_a_layer_that_is_made_again_without_the_noise_is_refused(site) -> None:
    """Hugging Face's gradient checkpointing: the gradient would be another loss's."""
    model = encoder()
    noise = some_noise(made := AttentionNoise(model, site))
    model.layers[1].gradient_checkpointing = True
    with pytest.raises(ValueError, match="gradient_checkpointing_disable"), made.entering(noise):
        pass
    with made.entering(None):
        pass


def test_noise_that_does_not_reach_the_prediction_is_refused() -> None:
    space = WordNoise(encoder()).space(tokens())
    with pytest.raises(ValueError, match="on token ids and not on embeddings"):
        allowed((None,), space)


def test_a_layer_that_was_dropped_has_no_slope() -> None:
    space = AttentionNoise(encoder()).space(tokens())
    ones = torch.ones(space.allowed[1].shape, dtype=space.dtype)
    dropped, kept = allowed((None, ones), space)
    assert not dropped.any()
    assert torch.equal(kept, space.allowed[1].to(space.dtype))
