"""`tupe plot`: what is read is what training wrote, and the pictures show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.checkpoint.written import write_checkpoint
from tests.sweep.some_runs import a_run
from tupe_plugin.commands import main
from tupe_plugin.commands.plot_learning_curve import draw_learning_curve, read_runs
from tupe_plugin.commands.plot_positions import NoPositionsError, draw_positions, read_positions
from tupe_plugin.sweep.fairseq_log import UnreadableLogError

pytest.importorskip("matplotlib", reason="pictures need matplotlib (the extra `plot`)")

HEADS, LENGTH = 3, 7


def call(*arguments: object) -> int:
    return main(["plot", *map(str, arguments)])


def pixels(path: Path) -> np.ndarray:
    """`(height, width, 4)`, 0 to 1."""
    from matplotlib.image import imread

    return imread(path)


def has_colour(image: np.ndarray, colour: str) -> bool:
    from matplotlib.colors import to_rgb

    return bool((np.abs(image[..., :3] - np.array(to_rgb(colour))).max(axis=-1) < 0.02).any())


@pytest.fixture
def write_log(tmp_path: Path):
    """Write a log of one metric: `{update: value}` for training and for `valid`."""

    def write(name: str, metric: str, train: dict[int, float], valid: dict[int, float]) -> Path:
        lines = [
            f'2026-01-02 03:04:05 | INFO | {tag} | {{"{prefix}{metric}": "{value}", '
            f'"{prefix}num_updates": "{update}"}}\n'
            for tag, prefix, curve in (("train_inner", "", train), ("valid", "valid_", valid))
            for update, value in curve.items()
        ]
        path = tmp_path / name / "train.log"
        path.parent.mkdir()
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


class TestLearningCurve:
    def test_each_log_is_drawn_by_its_most_telling_metric(self, write_log) -> None:
        pretrain = write_log("pre", "ppl", {10: 900.0, 20: 300.0}, {20: 310.0})
        finetune = write_log("fine", "accuracy", {10: 50.0}, {10: 55.0})
        first, second = read_runs([f"TUPE-R={pretrain}", str(finetune)])
        assert (first.name, first.metric) == ("TUPE-R", "ppl")
        assert (second.name, second.metric) == ("fine", "accuracy")
        assert first.log.valid["valid"][20]["ppl"] == 310.0

    def test_a_run_of_a_sweep_is_read_from_its_record(self, tmp_path: Path) -> None:
        run = a_run(0.25, 0.5)
        (tmp_path / "seed1").mkdir()
        run.write(tmp_path / "seed1")
        for given in (tmp_path / "seed1", tmp_path / "seed1" / "run.json"):
            (read,) = read_runs([str(given)], metric="mcc")
            assert read.name == "seed1"
            assert read.log.valid["valid"][20]["mcc"] == 0.5

    def test_every_run_has_its_colour_in_the_picture(self, write_log, tmp_path: Path) -> None:
        logs = [
            write_log(name, "loss", {10: 3.0, 20: 2.0}, {10: 3.5, 20: 2.5}) for name in ("a", "b")
        ]
        assert call("learning-curve", logs[0], "-o", tmp_path / "one.png") == 0
        assert call("learning-curve", *logs, "-o", tmp_path / "two.png") == 0
        blue, vermilion = "#0072b2", "#d55e00"
        assert has_colour(pixels(tmp_path / "one.png"), blue)
        assert not has_colour(pixels(tmp_path / "one.png"), vermilion)
        assert has_colour(pixels(tmp_path / "two.png"), blue)
        assert has_colour(pixels(tmp_path / "two.png"), vermilion)

    def test_a_panel_for_each_metric(self, write_log, tmp_path: Path) -> None:
        logs = [
            write_log("a", "ppl", {10: 300.0}, {10: 310.0}),
            write_log("b", "accuracy", {10: 50.0}, {10: 55.0}),
        ]
        draw_learning_curve(read_runs(map(str, logs[:1])), tmp_path / "one.png", title="")
        draw_learning_curve(read_runs(map(str, logs)), tmp_path / "two.png", title="")
        assert pixels(tmp_path / "two.png").shape[1] == 2 * pixels(tmp_path / "one.png").shape[1]

    def test_a_metric_that_is_not_there_is_named_with_those_that_are(self, write_log) -> None:
        log = write_log("a", "loss", {10: 3.0}, {})
        with pytest.raises(UnreadableLogError, match=r"no metric 'mcc'.*it has loss"):
            read_runs([str(log)], metric="mcc")

    def test_a_bad_log_or_picture_format_gives_one_line_and_status_1(
        self, write_log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("learning-curve", tmp_path / "absent.log", "-o", tmp_path / "a.png") == 1
        assert "absent.log: No such file" in capsys.readouterr().err
        log = write_log("a", "loss", {10: 3.0}, {})
        assert call("learning-curve", log, "-o", tmp_path / "a.doc") == 1
        assert "doc" in capsys.readouterr().err


@pytest.fixture(scope="module")
def fairseq():
    return pytest.importorskip("fairseq")


@pytest.fixture
def save_checkpoint(fairseq, tmp_path: Path):
    """Save an untrained tupe model in fairseq's form; returns the path and the model's encoder."""
    from argparse import Namespace

    from fairseq.data import Dictionary
    from omegaconf import OmegaConf

    from tupe_plugin.models.tupe import TupeConfig, TupeModel

    def save(**settings: object):
        torch.manual_seed(3)
        cfg = TupeConfig(
            encoder_layers=1,
            encoder_embed_dim=5 * HEADS,
            encoder_ffn_embed_dim=11,
            encoder_attention_heads=HEADS,
            max_positions=13,
        )
        for name, value in settings.items():
            setattr(cfg, name, value)
        task = Namespace(cfg=Namespace(), source_dictionary=Dictionary())
        model = TupeModel.build_model(cfg, task)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        path = tmp_path / "checkpoint.pt"
        model_settings = OmegaConf.to_container(OmegaConf.structured(cfg), enum_to_str=True)
        cfg = {"model": {**model_settings, "_name": "tupe"}}
        write_checkpoint(path, model.state_dict(), cfg=cfg)
        return path, model.encoder.sentence_encoder

    return save


class TestPositions:
    @pytest.mark.parametrize(
        ("settings", "scheme"),
        [
            ({"rel_pos": True}, "tupe-r"),
            ({"layer_norm_eps": 0.5}, "tupe-a"),
            ({"position_scheme": "tupe-a-tie-cls"}, "tupe-a-tie-cls"),
            ({"position_scheme": "bert-a", "rel_pos": True, "position_offset": 2}, "bert-r"),
            ({"rel_pos": True, "rel_pos_bins": 6, "max_rel_pos": 9}, "tupe-r"),
        ],
    )
    def test_the_correlation_read_is_the_model_s_own(
        self, save_checkpoint, settings: dict, scheme: str
    ) -> None:
        path, encoder = save_checkpoint(**settings)
        positions = read_positions(path, length=LENGTH)
        assert positions.scheme == scheme
        assert positions.attn_bias.shape == (HEADS, LENGTH, LENGTH)
        assert torch.equal(positions.attn_bias, encoder.attention_bias(LENGTH))

    def test_length_is_all_positions_of_a_short_model(self, save_checkpoint) -> None:
        path, _ = save_checkpoint()
        assert read_positions(path).attn_bias.shape == (HEADS, 13, 13)

    @pytest.mark.parametrize("scheme", ["bert-a", "bert-a-d", "none"])
    def test_a_scheme_without_a_bias_is_named(self, save_checkpoint, scheme: str) -> None:
        path, _ = save_checkpoint(position_scheme=scheme)
        with pytest.raises(NoPositionsError, match=f"position scheme {scheme} adds no bias"):
            read_positions(path)

    @pytest.mark.parametrize("length", [1, 14])
    def test_a_length_outside_the_model_is_refused(self, save_checkpoint, length: int) -> None:
        path, _ = save_checkpoint()
        with pytest.raises(NoPositionsError, match=f"--length {length} .* 13 positions"):
            read_positions(path, length=length)

    def test_other_files_are_refused_in_one_line(
        self, fairseq, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tmp_path / "roberta.pt"
        write_checkpoint(other, {}, cfg={"model": {"_name": "roberta"}})
        assert call("positions", other, "-o", tmp_path / "a.png") == 1
        assert (
            "has no encoder of a known family (tupe, fairseq-transformer" in capsys.readouterr().err
        )

    def test_the_authors_checkpoint(self, fairseq, legacy_checkpoint: Path) -> None:
        positions = read_positions(legacy_checkpoint)
        assert positions.scheme == "tupe-r"
        assert positions.attn_bias.shape == (3, 40, 40)
        cls_row, cls_column = positions.attn_bias[:, 0], positions.attn_bias[:, 1:, 0]
        assert torch.equal(cls_row, cls_row[:, :1].expand_as(cls_row))
        assert torch.equal(cls_column, cls_column[:, :1].expand_as(cls_column))

    def test_the_picture_has_a_panel_for_each_head_and_shows_its_values(
        self, tmp_path: Path
    ) -> None:
        low, high = "#440154", "#fde725"  # the ends of the scale of colours
        attn_bias = torch.zeros(1, LENGTH, LENGTH)
        attn_bias[0, 3, 4] = 1.0
        draw_positions(attn_bias, tmp_path / "one.png", title="")
        draw_positions(attn_bias.expand(2, -1, -1), tmp_path / "two.png", title="")
        draw_positions(attn_bias.expand(5, -1, -1), tmp_path / "five.png", title="")
        one, two, five = (pixels(tmp_path / f"{name}.png") for name in ("one", "two", "five"))
        assert has_colour(one, low)
        assert has_colour(one, high)
        assert two.shape[1] > one.shape[1]
        assert five.shape[0] > two.shape[0]

    def test_a_far_value_of_cls_does_not_wash_out_the_words(self, tmp_path: Path) -> None:
        attn_bias = torch.zeros(1, LENGTH, LENGTH)
        attn_bias[0, 3, 4] = 1.0
        draw_positions(attn_bias, tmp_path / "plain.png", title="")
        attn_bias[0, :, 0] = 1.0e6
        draw_positions(attn_bias, tmp_path / "far.png", title="")
        for name in ("plain", "far"):
            assert has_colour(pixels(tmp_path / f"{name}.png"), "#440154")  # zero: the low end
