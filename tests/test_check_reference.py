"""`check_reference.py` on the authors' files, on made-up ones of other sizes, on wrong ones."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests import check_reference
from tests.conftest import REFERENCE_DATA
from tests.reference_files import read
from tests.references import encoder as naive
from tests.references import mfac as naive_mfac
from tupe_plugin.core.encoder import TupeEncoder
from tupe_plugin.core.heads import ClassificationHead, MaskedLMHead
from tupe_plugin.core.position_scheme import POSITION_SCHEMES

FILES = [REFERENCE_DATA / f"{name}.safetensors" for name in ("tupe_a", "tupe_r", "tupe_r_prenorm")]

THEIR_NAMES = (  # written down once more, apart from the package's own table
    ("encoder.positions.absolute.projection.embedding.", "decoder.sentence_encoder.pos."),
    ("encoder.positions.absolute.projection.layer_norm.", "decoder.sentence_encoder.pos_ln."),
    ("encoder.positions.absolute.projection.query.", "decoder.sentence_encoder.pos_q_linear."),
    ("encoder.positions.absolute.projection.key.", "decoder.sentence_encoder.pos_k_linear."),
    ("encoder.positions.relative.bias.", "decoder.sentence_encoder.relative_attention_bias."),
    ("encoder.embedding_layer_norm.", "decoder.sentence_encoder.emb_layer_norm."),
    ("encoder.final_layer_norm.", "decoder.sentence_encoder.emb_out_layer_norm."),
    ("encoder.", "decoder.sentence_encoder."),
    ("lm_head.", "decoder.lm_head."),
    ("classifier.", "classification_heads.sentence_classification_head."),
)


def their_name(name: str) -> str:
    ours, theirs = next(pair for pair in THEIR_NAMES if name.startswith(pair[0]))
    return theirs + name[len(ours) :]


# ---- made-up files: the naive float64 reference in the authors' form


def made_up(
    *,
    relative: bool,
    pre_norm: bool,
    normalized: bool,
    classes: int = 2,
    pad: int = 1,
    bos: int = 0,
    vocab: int = 23,
) -> dict[str, Any]:
    """A file such as the authors' code would have written, of other sizes."""
    layers, heads, embed, ffn, positions = 3, 2, 6, 7, 11
    scheme = "tupe-r" if relative else "tupe-a"
    encoder = TupeEncoder(
        vocab,
        pad,
        num_layers=layers,
        embed_dim=embed,
        ffn_embed_dim=ffn,
        num_heads=heads,
        max_positions=positions,
        scheme=POSITION_SCHEMES[scheme],
        embedding_normalize=normalized,
        normalize_before=pre_norm,
    )
    parts = nn.ModuleDict(
        {
            "encoder": encoder,
            "lm_head": MaskedLMHead(encoder.embed_tokens.weight),
            "classifier": ClassificationHead(embed, classes),
        }
    )
    generator = torch.Generator().manual_seed(4)
    p = {
        name: (torch.randn(value.shape, generator=generator).double() / 2).requires_grad_()
        for name, value in parts.named_parameters()
    }
    tokens = torch.randint(5, vocab, (2, 7), generator=generator)
    tokens[:, 0] = bos
    tokens[1, 4:] = pad
    masked = torch.zeros(2, 7, dtype=torch.bool)
    masked[0, 2] = masked[0, 5] = masked[1, 3] = True
    targets = torch.randint(5, vocab, (2, 7), generator=generator)

    features = naive.encode(
        naive.under(p, "encoder."),
        tokens,
        scheme=scheme,
        heads=heads,
        layers=layers,
        padding_idx=pad,
        pre_norm=pre_norm,
    )
    head = naive.under(p, "lm_head.")
    logits = naive.masked_lm_logits(head, p["encoder.embed_tokens.weight"], features[masked])
    loss = F.cross_entropy(logits, targets[masked], reduction="sum")
    loss.backward()

    state = {their_name(name): value.detach() for name, value in p.items()}
    state["decoder.lm_head.weight"] = state["decoder.sentence_encoder.embed_tokens.weight"]
    return {
        "config": {
            "arch": "bert_base",
            "encoder_layers": layers,
            "encoder_embed_dim": embed,
            "encoder_ffn_embed_dim": ffn,
            "encoder_attention_heads": heads,
            "max_positions": positions,
            "rel_pos": relative,
            "embedding_normalize": normalized,
            "encoder_normalize_before": pre_norm,
            "tokens_per_sample": positions,
        },
        "vocab_symbols": vocab,
        "pad": pad,
        "bos": bos,
        "state_dict": state,
        "src_tokens": tokens,
        "target_tokens": targets,
        "masked_tokens": masked,
        "features": features.detach(),
        "masked_lm_logits": logits.detach(),
        "classification_logits": naive.class_logits(
            naive.under(p, "classifier."), features
        ).detach(),
        "masked_lm_loss_sum": loss.item(),
        "masked_lm_grads": {their_name(n): v.grad for n, v in p.items() if v.grad is not None},
    }


def saved(data: object, folder: Path) -> Path:
    path = folder / "reference.pt"
    torch.save(data, path)
    return path


def verdict(data: object, folder: Path) -> int:
    return check_reference.main([str(saved(data, folder))])


@pytest.mark.parametrize(
    ("relative", "pre_norm", "normalized"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, False)],
)
def test_other_sizes_agree_to_rounding(relative, pre_norm, normalized, tmp_path, capsys) -> None:
    data = made_up(relative=relative, pre_norm=pre_norm, normalized=normalized)
    path = saved(data, tmp_path)
    # The file is float64, and so is the comparison: no room for anything but rounding.
    assert check_reference.main([str(path), "--limit", "1e-10"]) == 0
    printed = capsys.readouterr().out
    for name in ("features", "masked-LM logits", "classification logits", "masked-LM loss"):
        assert f"  {name}\n" in printed
    for name in data["masked_lm_grads"]:
        assert f"  grad {name}\n" in printed


def test_other_special_symbols_and_classes(tmp_path: Path) -> None:
    data = made_up(relative=True, pre_norm=False, normalized=True, classes=5, pad=3, bos=4)
    assert verdict(data, tmp_path) == 0
    data["pad"] = 1
    assert verdict(data, tmp_path) == 1


# ---- it fails when it should


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return made_up(relative=True, pre_norm=False, normalized=True)


def changed(data: dict[str, Any], group: str, name: str, value: Any) -> dict[str, Any]:
    return data | {group: data[group] | {name: value}}


def spoilt(tensor: Tensor, error: float) -> Tensor:
    """One number is off by this share of the largest."""
    made = tensor.clone()
    made.view(-1)[3] += error * made.abs().max()
    return made


OUTPUTS = ("features", "masked_lm_logits", "classification_logits")
BUCKETS = "decoder.sentence_encoder.relative_attention_bias.weight"
POSITIONS = "decoder.sentence_encoder.pos.weight"
NEW = "decoder.new.weight"
Change = Callable[[dict[str, Any]], dict[str, Any]]
# What is changed -> how, status, what is printed.
CHANGES: dict[str, tuple[Change, int, str]] = {
    **{
        f"{name} by {error}": (lambda d, n=name, e=error: d | {n: spoilt(d[n], e)}, 1, "FAILED")
        for name in OUTPUTS
        for error in (2e-5, math.nan)
    },
    "less than the limit": (lambda d: d | {"features": spoilt(d["features"], 5e-6)}, 0, "ok"),
    "loss": (lambda d: d | {"masked_lm_loss_sum": d["masked_lm_loss_sum"] * 1.001}, 1, "loss"),
    # One bucket: a softmax would not see all of them moved alike.
    "weight": (
        lambda d: changed(d, "state_dict", BUCKETS, spoilt(d["state_dict"][BUCKETS], 1e-3)),
        *(1, "FAILED"),
    ),
    "extra gradient": (
        lambda d: changed(d, "masked_lm_grads", NEW, torch.zeros(3)),
        *(1, f"grad {NEW} (missing here)"),
    ),
    "missing gradient": (
        lambda d: (
            d
            | {"masked_lm_grads": {k: v for k, v in d["masked_lm_grads"].items() if k != POSITIONS}}
        ),
        *(1, f"grad {POSITIONS} (not in the file)"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told(change: str, good: dict[str, Any], tmp_path: Path, capsys) -> None:
    make, status, printed = CHANGES[change]
    assert verdict(make(good), tmp_path) == status
    assert printed in capsys.readouterr().out


def test_each_gradient_counts(good: dict[str, Any], tmp_path: Path, capsys) -> None:
    perturbed = {name: value * 1.0001 for name, value in good["masked_lm_grads"].items()}
    assert verdict(good | {"masked_lm_grads": perturbed}, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    above = [line.split()[2] for line in lines if line.endswith("ABOVE THE LIMIT")]
    assert above == list(perturbed)


# ---- the authors' files and the command


def test_the_authors_outputs_are_equalled(capsys: pytest.CaptureFixture[str]) -> None:
    status = check_reference.main([*map(str, FILES)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.count("  ok: ") == len(FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_perturbed_copy_of_the_authors_outputs_is_told(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read(path)
    data["state_dict"]["decoder.sentence_encoder.pos_q_linear.weight"][3, 5] += 1e-2
    assert check_reference.main([str(saved(data, tmp_path)), "--quiet"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_the_naive_reference_equals_the_authors_outputs() -> None:
    """The yardstick of all other tests of the encoder, held against the authors' numbers."""
    for path in FILES:
        data = read(path)
        reverse = {theirs: ours for ours, theirs in reversed(THEIR_NAMES)}
        p = {}
        for key, value in data["state_dict"].items():
            theirs = max((t for t in reverse if key.startswith(t)), key=len)
            p[reverse[theirs] + key[len(theirs) :]] = value.double()
        tokens = data["src_tokens"]
        lengths = tokens.ne(data["pad"]).sum(1)
        shortest = int(lengths.argmin())
        config = data["config"]
        features = naive.encode(
            naive.under(p, "encoder."),
            tokens[shortest : shortest + 1, : lengths[shortest] + 1],  # one symbol of padding
            scheme="tupe-r" if config["rel_pos"] else "tupe-a",
            heads=config["encoder_attention_heads"],
            layers=config["encoder_layers"],
            padding_idx=data["pad"],
            pre_norm=config["encoder_normalize_before"],
        )
        expected = data["features"][shortest, : features.shape[1]].double()
        # float32 outputs: their own rounding is all that may differ.
        assert (features[0] - expected).abs().max() < 2e-6 * expected.abs().max(), path.name


# ---- M-FAC


def made_up_mfac(*, num_grads: int = 7, momentum: float = 0.5) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)

    def draw() -> list[Tensor]:
        return [
            torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(3, 5), (7,)]
        ]

    init, grads = draw(), [draw() for _ in range(17)]
    settings = {"lr": 0.01, "num_grads": num_grads, "momentum": momentum, "weight_decay": 0.1}
    after = naive_mfac.train(init, grads, damping=1e-4, **settings)
    return {
        **settings,
        **{"damp": 1e-4, "dtype": "torch.float64"},
        **{"init": init, "grads": grads, "params_after": after},
    }


MFAC_CHANGES = {
    **{name: ({name: 0.75}, 1, "") for name in ("lr", "damp", "momentum", "weight_decay")},
    "no damping": ({"damp": 0.0}, 2, "damping=0.0"),
    "no window": ({"num_grads": 0}, 2, "num_grads=0"),
    "no result": ({"params_after": []}, 2, "as many grads as params_after"),
    "shapes": ({"init": [torch.zeros(2), torch.zeros(7)]}, 2, "step 1: shapes are not those of in"),
}


@pytest.mark.parametrize(("error", "status"), [(1e-6, 1), (1e-9, 0), (float("nan"), 1)])
def test_each_step_of_mfac_counts(error: float, status: int, tmp_path: Path) -> None:
    data = made_up_mfac()
    last = data["params_after"][4][1]
    last[2] += error * max(p.abs().max() for p in data["params_after"][4])
    assert verdict(data, tmp_path) == status


@pytest.mark.parametrize("change", MFAC_CHANGES)
def test_other_settings_of_mfac_are_told(change: str, tmp_path: Path, capsys) -> None:
    values, status, message = MFAC_CHANGES[change]
    assert verdict(made_up_mfac() | values, tmp_path) == status
    assert message in capsys.readouterr().err


def test_the_authors_mfac_runs_are_equalled(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(REFERENCE_DATA.glob("mfac*.safetensors"))
    assert len(files) == 2
    status = check_reference.main([*map(str, files), "--quiet"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.count("within 1e-07") == len(files)


# ---- files that cannot be compared


def test_wrong_files_are_told_in_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {name: tmp_path / name for name in ("text", "empty", "cut", "code", "list", "partial")}
    wrong["text"].write_text("hello\n")
    wrong["empty"].write_bytes(b"")
    torch.save({"a": torch.zeros(1000)}, wrong["cut"])
    wrong["cut"].write_bytes(wrong["cut"].read_bytes()[:1000])
    torch.save({"a": Path("x")}, wrong["code"])
    torch.save([1], wrong["list"])
    torch.save({"config": {}, "state_dict": {}}, wrong["partial"])
    absent = tmp_path / "absent"
    assert check_reference.main([*map(str, wrong.values()), str(absent), str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        str(path) for path in (*wrong.values(), absent, tmp_path)
    ]
    assert "lacks: classification_logits" in lines[5]


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("config", "max_positions", 3),
        ("config", "encoder_attention_heads", 5),
        ("config", "encoder_layers", 4),
        ("state_dict", "decoder.sentence_encoder.unheard.of", torch.zeros(1)),
    ],
)
def test_weights_that_fit_no_model_are_told_without_a_traceback(
    group, name, value, good, tmp_path, capsys
) -> None:
    assert verdict(changed(good, group, name, value), tmp_path) == 2
    assert "no model with these weights can be built" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_a_script() -> None:
    command = [sys.executable, check_reference.__file__, str(FILES[0])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
