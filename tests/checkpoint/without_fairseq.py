"""Run by a process of its own: use exported models with transformers alone.

    python without_fairseq.py CASES RESULTS     files of torch.save

A case is a folder, another to save to, the name of an Auto class, token ids, and texts.
"""

from __future__ import annotations

import math
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

FORBIDDEN = {"fairseq", "tupe_plugin", "preprocess"}


class _Refuse(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.split(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


assert not FORBIDDEN & sys.modules.keys()
sys.meta_path.insert(0, _Refuse())

import torch  # noqa: E402
import transformers  # noqa: E402

TRUST = {"trust_remote_code": True}


def results_of(case: dict[str, Any]) -> dict[str, Any]:
    folder, auto = case["folder"], getattr(transformers, case["auto"])
    config = transformers.AutoConfig.from_pretrained(folder, **TRUST)
    bare = transformers.AutoModel.from_pretrained(folder, **TRUST).eval()
    model = auto.from_pretrained(folder, **TRUST).eval()
    tokens, mask = case["tokens"], case["tokens"].ne(config.pad_token_id)
    with torch.no_grad():
        features = bare(tokens, mask.long(), output_hidden_states=True)
        # What stands in the place of padding is not read.
        logits = model(tokens.masked_fill(~mask, 5), attention_mask=mask.long()).logits
        alone = [
            model(row[kept].unsqueeze(0)).logits[0] for row, kept in zip(tokens, mask, strict=True)
        ]
        if config.model_type == "tupe":  # tells padding by itself
            assert torch.equal(model(tokens, return_dict=False)[0], logits)
            assert "padding comes before a text" in _refusal(model, tokens.flip(1))
    assert torch.equal(features.last_hidden_state, features.hidden_states[-1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **TRUST)
    ids = [tokenizer(*row)["input_ids"] for row in case["texts"]]
    if not tokenizer.is_fast:  # ids of no token, as labels have them: to be read and not to fail
        assert tokenizer.decode([-100, len(tokenizer)]) == "<unk> <unk>"
    found = {
        "hidden_states": features.hidden_states,
        "logits": logits,
        "alone": alone,
        "ids": ids,
        "name": type(model).__name__,
        "labels": config.id2label,
        "max_length": tokenizer.model_max_length,
        "mask": tokenizer.mask_token_id,
        "masked": tokenizer(case["masked"])["input_ids"],
    }
    model.save_pretrained(case["again"])
    tokenizer.save_pretrained(case["again"])
    same = auto.from_pretrained(case["again"], **TRUST).eval()
    assert torch.equal(same(tokens).logits, model(tokens).logits)
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["again"], **TRUST)
    assert [tokenizer(*row)["input_ids"] for row in case["texts"]] == ids
    if config.model_type == "tupe":
        for name in ("eager", "explicit", "flex"):
            other = auto.from_pretrained(folder, attn_implementation=name, **TRUST).eval()
            with torch.no_grad():
                torch.testing.assert_close(other(tokens).logits, logits, rtol=1e-10, atol=1e-10)
    for dtype in (torch.float16, torch.bfloat16):
        half = auto.from_pretrained(folder, dtype=dtype, **TRUST)
        assert half(tokens).logits.isfinite().all()
    _check_training(auto.from_pretrained(folder, **TRUST), tokens)
    return found


def _refusal(model: Any, tokens: Any) -> str:
    try:
        model(tokens)
    except ValueError as error:
        return str(error)
    return ""


def _check_training(model: Any, tokens: Any) -> None:
    """Dropout, a loss, gradients; the head shares the embedding and grows with it."""
    model.train()
    labels = tokens
    if "Classification" in type(model).__name__:
        labels = torch.arange(len(tokens)) % 2
        if model.config.num_labels == 1:
            labels = labels.double()
    first, second = (model(tokens, labels=labels) for _ in range(2))
    assert not torch.equal(first.logits, second.logits)
    first.loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == [], without
    if "MaskedLM" in type(model).__name__:
        embedding = model.get_input_embeddings()
        assert model.lm_head.weight is embedding.weight
        size = model.config.vocab_size + 3
        model.resize_token_embeddings(size, mean_resizing=False)
        assert model(tokens).logits.shape[-1] == size


def _check_trainer(case: dict[str, Any], folder: Path) -> None:
    """Fine-tuning by the Trainer, which saves model, tokenizer and code."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(case["folder"], **TRUST)
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["folder"], **TRUST)
    before = [parameter.clone() for parameter in model.parameters()]
    rows = [dict(tokenizer(*row, truncation=True), labels=0) for row in case["texts"]]
    options = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(str(folder), num_train_epochs=1, **options),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < math.inf
    assert not any(map(torch.equal, before, model.parameters()))
    trainer.save_model(str(folder))
    again = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **TRUST)
    assert all(map(torch.equal, again.parameters(), model.parameters()))


def main(cases: Path, results: Path) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    loaded = torch.load(cases)
    torch.save([results_of(case) for case in loaded], results)
    classifier = next(case for case in loaded if "Classification" in case["auto"])
    _check_trainer(classifier, results.parent / "trained")
    assert not FORBIDDEN & sys.modules.keys()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
