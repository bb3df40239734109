"""`TupeModel`: raw sentences get the ids, features and predictions that the same data would."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import models

from tupe_plugin import TupeModel
from tupe_plugin.inference.model_on_data import load_split
from tupe_plugin.inference.predictor import Predictor, read_fine_tuned

from .trained_models import (
    LABELS,
    LONGEST,
    SENTENCES,
    fine_tuned,
    write_task,
)

PAIRS = list(zip(SENTENCES, SENTENCES[::-1], strict=True))
CPU = torch.device("cpu")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("arch", "kind"), [("tupe", "bpe"), ("roberta", "wordpiece")])
def test_rows_are_treated_as_the_data(tmp_path: Path, kind: str, arch: str) -> None:
    """Pairs, empty and too long sentences among them: same ids, same scores as `tupe predict`."""
    data = write_task(tmp_path, kind=kind, pairs=True)
    checkpoint = fine_tuned(tmp_path / "run" / "checkpoint_best.pt", data, arch=arch)
    predictor = Predictor(read_fine_tuned(checkpoint), data, device=CPU, half=False)
    dataset = load_split(predictor.task, "valid")
    wanted = [dataset[row]["net_input.src_tokens"].tolist() for row in range(len(dataset))]

    model = TupeModel.from_pretrained(checkpoint.parent, device="cpu")
    if arch == "tupe":  # in fairseq's words
        of_fairseq = models.ARCH_MODEL_REGISTRY["tupe_tiny"].from_pretrained
        hub = of_fairseq(str(checkpoint.parent), checkpoint.name, f"../{data.name}", device="cpu")
        assert (type(hub), hub.data.resolve()) == (TupeModel, data)
        assert hub.token_ids(PAIRS[:1])[0].tolist() == wanted[0]
        with pytest.raises(TypeError, match="bpe= is not for a tupe model: its text goes through"):
            of_fairseq(str(checkpoint.parent), bpe="gpt2")
    assert [ids.tolist() for ids in model.token_ids(PAIRS)] == wanted
    assert max(map(len, wanted)) == LONGEST  # one was cut
    scores = predictor.predict("valid", batch_size=3).outputs
    np.testing.assert_allclose(model.scores(PAIRS, batch_size=3), scores, atol=1e-6)
    for prediction, row in zip(model.predict(PAIRS), scores, strict=True):
        assert prediction.label == LABELS[row.argmax()]
        assert list(prediction.probabilities) == LABELS


def test_batches_and_order_do_not_matter(classifier: TupeModel) -> None:
    order = random.Random(2).sample(range(len(SENTENCES)), len(SENTENCES))
    for pooling in ("mean", "cls"):
        features = classifier.encode(SENTENCES, pooling=pooling, batch_size=1)
        mixed = classifier.encode([SENTENCES[place] for place in order], pooling=pooling)
        torch.testing.assert_close(mixed, features[order], rtol=1e-5, atol=1e-5)
    by_token = classifier.encode(SENTENCES, pooling=None)
    assert [len(one) for one in by_token] == [len(ids) for ids in classifier.token_ids(SENTENCES)]
    torch.testing.assert_close(
        torch.stack([one[0] for one in by_token]), features, atol=1e-5, rtol=1e-5
    )
    assert classifier.encode([]).shape == (0, features.size(1))
    assert classifier.encode([], pooling=None) == classifier.predict([]) == []


def test_loading_is_quiet_and_a_model_says_what_it_is(
    classifier: TupeModel, masked_lm: TupeModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), caplog.at_level("INFO", logger="fairseq"):
        again = TupeModel.from_pretrained(classifier.path, device="cpu")
        assert logging.getLogger("fairseq").level == logging.INFO
    assert [record for record in caplog.records if record.name.startswith("fairseq")] == []
    start = f"TupeModel('{classifier.path}', --arch tupe_tiny"
    assert repr(again) == f"{start}, labels={', '.join(LABELS)}, device=cpu)"
    assert "labels" not in repr(masked_lm)


def test_a_module_in_training_mode_predicts_without_dropout(classifier: TupeModel) -> None:
    scores = classifier.scores(SENTENCES)
    classifier.module.train()
    np.testing.assert_array_equal(classifier.scores(SENTENCES), scores)


def test_half_precision_is_near(classifier: TupeModel) -> None:
    half = TupeModel.from_pretrained(classifier.path, half=True, device="cpu")
    np.testing.assert_allclose(half.scores(SENTENCES), classifier.scores(SENTENCES), atol=0.01)


def test_regression_gives_values(tmp_path: Path, singles: Path) -> None:
    """Those of GLUE's STS-B in its own units, wherever its data has gone since.

    What the data records counts for more than its name.
    """
    values, options = {}, ("--num-classes", 1, "--regression-target")
    for name in ("own-bin", "STS-B-bin"):
        shutil.copytree(singles, tmp_path / name)
        run = fine_tuned(tmp_path / "run" / name / "model.pt", tmp_path / name, *options)
        moved = (tmp_path / name).rename(tmp_path / f"{name}-moved")
        values[name] = TupeModel.from_pretrained(run, data=moved).predict(SENTENCES)
    np.testing.assert_allclose(values["STS-B-bin"], 5 * np.array(values["own-bin"]), rtol=1e-6)

    (moved / "manifest.json").write_text('{"options": {"label_scale": 2.0}}')
    found = TupeModel.from_pretrained(run, data=moved).predict(SENTENCES)
    np.testing.assert_allclose(found, 2 * np.array(values["own-bin"]), rtol=1e-6)
    (moved / "manifest.json").write_text('{"options": {"label_scale": "5"}}')
    with pytest.raises(ValueError, match=r"manifest\.json: label_scale is '5', no number"):
        TupeModel.from_pretrained(run, data=moved)

    (tmp_path / "STS-B-bin-moved").rename(tmp_path / "CoLA-bin")
    with pytest.raises(ValueError, match=r"was trained on STS-B, and .*CoLA-bin is of CoLA: give"):
        TupeModel.from_pretrained(run, data=tmp_path / "CoLA-bin")


def test_fill_mask(masked_lm: TupeModel) -> None:
    """As the model does by hand, wherever the mask stands; a dictionary's fillers are no units."""
    sentence = "The <mask>'s home."
    words = masked_lm.module.encoder.dictionary
    units = masked_lm.tokenize("The man's home.")
    tokens = [words.bos(), *map(words.index, units), words.eos()]
    at = units.index("man") + 1
    tokens[at] = words.index("<mask>")
    with torch.no_grad():
        logits, _ = masked_lm.module(torch.tensor([tokens]))
    probabilities = logits[0, at].softmax(-1)
    fillers = [unit for unit, symbol in enumerate(words.symbols) if symbol.startswith("madeup")]
    assert fillers
    probabilities[fillers] = 0
    best = probabilities.topk(3)
    others = ["<mask>", "a <mask>, home", "un<mask>able"]
    found = masked_lm.fill_mask([*others, sentence], top=3)
    assert [filling.unit for filling in found[-1]] == [words[unit] for unit in best.indices]
    np.testing.assert_allclose([f.probability for f in found[-1]], best.values, rtol=1e-4)
    (every,) = masked_lm.fill_mask("<mask>", top=np.int64(len(words) - len(fillers)))
    assert {one.unit for one in every} == {*words.symbols} - {words[unit] for unit in fillers}
    assert [len(one) for one in found] == [3] * 4


def test_what_cannot_be_done_is_said_in_one_line(
    classifier: TupeModel, masked_lm: TupeModel, tmp_path: Path
) -> None:
    bare = tmp_path / "TASK-bin"  # as made before glue.sh recorded what the text went through
    for part in ("input0", "label"):
        shutil.copytree(classifier.data / part, bare / part)
    old = fine_tuned(tmp_path / "run" / "checkpoint_best.pt", bare)
    assert (
        TupeModel.from_pretrained(old, data=masked_lm.data).scores(SENTENCES).shape
        == classifier.scores(SENTENCES).shape
    )
    other = tmp_path / "other"
    shutil.copytree(masked_lm.data, other)
    (other / "dict.txt").write_text("a 1\n")
    gone = tmp_path / "gone" / "checkpoint_best.pt"
    gone.parent.mkdir()
    fine_tuned(gone, bare)
    refusals = [
        (lambda: TupeModel.from_pretrained("nowhere.pt"), "no such checkpoint: nowhere.pt"),
        (
            lambda: TupeModel.from_pretrained(old, device="gpu"),
            "device='gpu': .*; give cpu or cuda",
        ),
        (lambda: TupeModel.from_pretrained(old), "says what text goes .*give the data-bin .*data="),
        (lambda: TupeModel.from_pretrained(old, data="none"), "no such folder of data: none"),
        (lambda: TupeModel.from_pretrained(old, data=other), "is another dictionary than"),
        (lambda: masked_lm.predict(["a"]), "is a checkpoint of pre-training: predictions need"),
        (lambda: classifier.fill_mask("<mask>"), "was fine-tuned for sentence prediction"),
        (lambda: masked_lm.fill_mask("a"), "row 1: .* with one <mask>, not 'a'$"),
        (lambda: masked_lm.fill_mask("a " * 40 + "<mask>"), "row 1: its <mask> comes after the 24"),
        (lambda: masked_lm.fill_mask("<mask>", top=0), "top=0: give a whole number from 1"),
        (lambda: classifier.predict([("a", "b")]), "row 1: it is a pair, .* on single sentences"),
        (lambda: classifier.predict(("a", "b")), r"give \[\(a, b\)\] for a pair of sentences, and"),
        (lambda: classifier.predict(["a", None]), "row 2: give a sentence, or a pair .*, not None"),
        (lambda: classifier.encode("a", pooling="max"), "pooling='max': give mean, cls or None"),
        (lambda: classifier.encode("a", batch_size=0), "batch_size=0: give a whole number from 1"),
        (lambda: classifier.scores([], batch_size="9"), "batch_size='9': give a whole number"),
        (lambda: masked_lm.fill_mask("<mask>", top=True), "top=True: give a whole number from 1"),
        (lambda: classifier.encode(5), "give a sentence or a list of rows, not 5"),
        (lambda: classifier.predict(b"a"), "give a sentence or a list of rows, not b'a'"),
        (lambda: classifier.encode({"a", "b"}), "give a sentence or a list of rows, not {"),
        (lambda: classifier.encode("a", pooling=["cls"]), r"pooling=\['cls'\]: give mean, cls"),
        (lambda: classifier.tokenize(["a"]), r"give a sentence, not \['a'\]"),
        (lambda: TupeModel.from_pretrained(old, device=1.5), "device='1.5': .*; give cpu or cuda"),
        (lambda: TupeModel.from_pretrained(old, device="meta"), "device='meta': .*; give cpu or"),
    ]
    for refused, message in refusals:
        with pytest.raises(ValueError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)
    shutil.rmtree(bare)
    with pytest.raises(ValueError, match=r"there is no input0/dict\.txt in .* or .*data="):
        TupeModel.from_pretrained(gone)
    with pytest.raises(ValueError, match=r"has the names of its classes \(.* is of a pre-training"):
        TupeModel.from_pretrained(gone, data=masked_lm.data)
