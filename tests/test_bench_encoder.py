"""The benchmark measures what it says: the authors' way computes the same as the package's."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from benchmarks.bench_encoder import (
    HEADS,
    PAD,
    VARIANTS,
    build_encoder,
    main,
    make_batch,
    parse,
)
from benchmarks.copied_bias import forward_with_copied_bias
from benchmarks.measurement import rounds
from tests.core.random_parameters import randomized
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

LENGTHS = ["--lengths", "5"]


def small_encoder(dropout: float) -> TupeEncoder:
    return randomized(
        TupeEncoder(
            13,
            PAD,
            num_layers=2,
            embed_dim=15,
            ffn_embed_dim=11,
            num_heads=3,
            max_positions=7,
            scheme=POSITION_SCHEMES["tupe-r"],
            dropout=dropout,
            attention_dropout=dropout,
            unpad=False,
        )
    )


@pytest.mark.parametrize("padded", [True, False])
def test_the_copied_bias_computes_the_same(padded: bool) -> None:
    tokens = torch.randint(2, 13, (2, 5), generator=torch.Generator().manual_seed(1))
    if padded:
        tokens[1, 3:] = PAD
    outcomes = []
    for forward in (lambda encoder, x: encoder(x)[-1], forward_with_copied_bias):
        encoder = small_encoder(0.0)
        out: Tensor = forward(encoder, tokens)
        out.square().sum().backward()
        outcomes.append([out, *(p.grad for p in encoder.parameters())])
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_the_copied_bias_drops_attention_weights_too() -> None:
    tokens = torch.randint(2, 13, (2, 5))
    encoder = small_encoder(0.5)
    first, second = (forward_with_copied_bias(encoder.train(), tokens) for _ in range(2))
    assert not torch.allclose(first, second)
    first, second = (forward_with_copied_bias(encoder.eval(), tokens) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.slow
def test_what_is_compared_is_tupe_r_in_training_at_base_width() -> None:
    assert {name: scheme for name, (scheme, _) in VARIANTS.items()} == {
        "ours": "tupe-r",
        "copied": "tupe-r",
        "padded": "tupe-r",
        "bert-a": "bert-a",
    }
    with torch.device("meta"):
        encoder = build_encoder("tupe-r", layers=2, length=512)
    assert encoder.training
    assert encoder.embed_tokens.embedding_dim == 768
    assert encoder.layers[0].self_attn.num_heads == HEADS == 12
    assert encoder.layers[0].self_attn.dropout == encoder.dropout.p == 0.1
    assert encoder.positions.relative is not None


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_share_of_padding_is_as_asked_for(share: float) -> None:
    tokens = make_batch(5, 512, share)
    assert tokens.eq(PAD).float().mean().item() == pytest.approx(share, abs=0.005)
    assert tokens[:, 0].ne(PAD).all()


def test_the_variants_take_turns_and_the_first_round_is_not_told() -> None:
    calls: list[str] = []
    steps = {name: (lambda name=name: calls.append(name)) for name in VARIANTS}
    told = list(rounds(steps, parse(["--device", "cpu", "--repeats", "3"])))
    assert len(told) == 3
    assert calls == list(VARIANTS) * 4
    assert all(list(times) == list(VARIANTS) for times in told)


@pytest.mark.parametrize("share", ["0.6", "-0.1", "many"])
def test_an_impossible_share_of_padding_is_refused(
    share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--padding", share])
    assert share in capsys.readouterr().err


def assert_is_a_report(printed: str) -> None:
    rows = [line for line in printed.splitlines() if line.startswith("| 5 |")]
    assert len(rows) == len(VARIANTS) - 1
    assert "commit" in printed
    for row in rows:
        numbers = [float(x) for x in re.findall(r"\d+\.\d\d\b", row.split("|", 3)[3])]
        assert len(numbers) == 4, row  # three ratios of time, one of memory
        assert numbers[0] <= numbers[1] <= numbers[2]


@pytest.mark.slow
def test_it_runs_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--layers", "1", "--repeats", "2", "--padding", "0.3", *LENGTHS]
    assert main(options) == 0
    assert_is_a_report(capsys.readouterr().out)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_it_runs_on_a_gpu(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cuda", "--dtype", dtype, "--layers", "1", "--repeats", "2", *LENGTHS]
    assert main(options) == 0
    assert_is_a_report(capsys.readouterr().out)
