"""`check_reference.py` on the authors' files, on made-up ones of other sizes, on wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests import check_reference
from tests.conftest import REFERENCE_DATA
from tests.reference_files import read
from tests.references import encoder as naive
from tests.references import mfac as naive_mfac

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
    layers, heads, head_dim, ffn, positions, inner = 3, 2, 3, 7, 11, 6
    embed = heads * head_dim
    generator = torch.Generator().manual_seed(4)

    p: dict[str, Tensor] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        p[name + ".weight"], p[name + ".bias"] = torch.empty(outputs, inputs), torch.empty(outputs)

    def norm(name: str) -> None:
        p[name + ".weight"], p[name + ".bias"] = torch.empty(embed), torch.empty(embed)

    p["encoder.embed_tokens.weight"] = torch.empty(vocab, embed)
    projection = "encoder.positions.absolute.projection."
    p[projection + "embedding.weight"] = torch.empty(positions + 1, embed)
    norm(projection + "layer_norm")
    linear(projection + "query", embed, embed)
    linear(projection + "key", embed, embed)
    if relative:
        p["encoder.positions.relative.bias.weight"] = torch.empty(33, heads)
    if normalized:
        norm("encoder.embedding_layer_norm")
    if pre_norm:
        norm("encoder.final_layer_norm")
    for layer in range(layers):
        block = f"encoder.layers.{layer}."
        p[block + "self_attn.in_proj_weight"] = torch.empty(3 * embed, embed)
        p[block + "self_attn.in_proj_bias"] = torch.empty(3 * embed)
        linear(block + "self_attn.out_proj", embed, embed)
        linear(block + "fc1", ffn, embed)
        linear(block + "fc2", embed, ffn)
        norm(block + "self_attn_layer_norm")
        norm(block + "final_layer_norm")
    linear("lm_head.dense", embed, embed)
    norm("lm_head.layer_norm")
    p["lm_head.bias"] = torch.empty(vocab)
    linear("classifier.dense", inner, embed)
    linear("classifier.out_proj", classes, inner)
    for name in p:
        values = torch.randn(p[name].shape, generator=generator, dtype=torch.float64) / 2
        p[name] = values.requires_grad_()

    tokens = torch.randint(5, vocab, (2, 7), generator=generator)
    tokens[:, 0] = bos
    tokens[1, 4:] = pad
    masked = torch.zeros(2, 7, dtype=torch.bool)
    masked[0, 2] = masked[0, 5] = masked[1, 3] = True
    targets = torch.randint(5, vocab, (2, 7), generator=generator)

    features = naive.encode(
        naive.under(p, "encoder."),
        tokens,
        scheme="tupe-r" if relative else "tupe-a",
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


@pytest.mark.parametrize("relative", [True, False], ids=["TUPE-R", "TUPE-A"])
@pytest.mark.parametrize("pre_norm", [True, False], ids=["pre-LN", "post-LN"])
@pytest.mark.parametrize("normalized", [True, False], ids=["embedding-LN", "no embedding-LN"])
def test_other_sizes_agree_to_rounding(
    relative: bool,
    pre_norm: bool,
    normalized: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
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


@pytest.mark.parametrize("name", ["features", "masked_lm_logits", "classification_logits"])
@pytest.mark.parametrize("error", [2e-5, float("nan")])
def test_a_perturbed_output_fails(
    name: str, error: float, good: dict[str, Any], tmp_path: Path
) -> None:
    perturbed = good[name].clone()
    perturbed.view(-1)[3] += error * perturbed.abs().max()
    assert verdict(good | {name: perturbed}, tmp_path) == 1


def test_a_perturbation_below_the_limit_passes(good: dict[str, Any], tmp_path: Path) -> None:
    perturbed = good["features"].clone()
    perturbed.view(-1)[3] += 5e-6 * perturbed.abs().max()
    assert verdict(good | {"features": perturbed}, tmp_path) == 0


def test_a_perturbed_loss_fails(good: dict[str, Any], tmp_path: Path) -> None:
    assert verdict(good | {"masked_lm_loss_sum": good["masked_lm_loss_sum"] * 1.001}, tmp_path) == 1


def test_each_gradient_counts(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perturbed = {name: value * 1.0001 for name, value in good["masked_lm_grads"].items()}
    assert verdict(good | {"masked_lm_grads": perturbed}, tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    above = [line.split()[2] for line in lines if line.endswith("ABOVE THE LIMIT")]
    assert above == list(perturbed)


def test_a_missing_and_an_extra_gradient_fail_and_are_named(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = changed(good, "masked_lm_grads", "decoder.new.weight", torch.zeros(3))
    assert verdict(extra, tmp_path) == 1
    assert "grad decoder.new.weight (missing here)" in capsys.readouterr().out
    name = "decoder.sentence_encoder.pos.weight"
    gradients = {key: value for key, value in good["masked_lm_grads"].items() if key != name}
    assert verdict(good | {"masked_lm_grads": gradients}, tmp_path) == 1
    assert f"grad {name} (not in the file)" in capsys.readouterr().out


def test_a_changed_weight_fails(good: dict[str, Any], tmp_path: Path) -> None:
    name = "decoder.sentence_encoder.relative_attention_bias.weight"
    weight = good["state_dict"][name].clone()
    weight[1] += 1e-3  # one bucket: a softmax would not see all of them moved alike
    assert verdict(changed(good, "state_dict", name, weight), tmp_path) == 1


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


@pytest.mark.parametrize(("num_grads", "momentum"), [(7, 0.0), (1, 0.5), (29, 0.9)])
def test_mfac_runs_of_other_sizes_agree(num_grads: int, momentum: float, tmp_path: Path) -> None:
    assert verdict(made_up_mfac(num_grads=num_grads, momentum=momentum), tmp_path) == 0


@pytest.mark.parametrize(("error", "status"), [(1e-6, 1), (1e-9, 0), (float("nan"), 1)])
def test_each_step_of_mfac_counts(error: float, status: int, tmp_path: Path) -> None:
    data = made_up_mfac()
    last = data["params_after"][4][1]
    last[2] += error * max(p.abs().max() for p in data["params_after"][4])
    assert verdict(data, tmp_path) == status


@pytest.mark.parametrize("name", ["lr", "damp", "momentum", "weight_decay"])
def test_other_settings_of_mfac_fail(name: str, tmp_path: Path) -> None:
    data = made_up_mfac()
    assert verdict(data | {name: data[name] * 1.5}, tmp_path) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"damp": 0.0}, "damping=0.0"),
        ({"num_grads": 0}, "num_grads=0"),
        ({"params_after": []}, "as many grads as params_after"),
        ({"init": [torch.zeros(2), torch.zeros(7)]}, "step 1: shapes are not those of init"),
    ],
    ids=lambda value: "",
)
def test_unusable_mfac_files_are_told(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verdict(made_up_mfac() | change, tmp_path) == 2
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
    group: str,
    name: str,
    value: Any,
    good: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert verdict(changed(good, group, name, value), tmp_path) == 2
    assert "no model with these weights can be built" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_a_script() -> None:
    command = [sys.executable, check_reference.__file__, str(FILES[0])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
