"""M-FAC in Hugging Face's Trainer: fine-tune a text classifier (arXiv 2107.03356, section 4.3).

    python examples/mfac/huggingface_trainer.py OUT              # a tiny model and task, made here
    python examples/mfac/huggingface_trainer.py OUT --model prajjwal1/bert-tiny \\
        --train RTE/train.tsv --dev RTE/dev.tsv                        # your model, your data

  needs      pip install 'tupe-plugin[examples]'
  data       TSV with a header line: a column `label`, and `sentence`, or `sentence1` and
             `sentence2`; other columns are not read.  All labels must occur in --train
  model      a name on the Hugging Face hub or a folder; without --model a BERT of 2 x 64 with
             random weights and a vocabulary of the words of --train
  promise    the tiny task (animals or tools?): 95 % right or more after 5 epochs
  hardware   tiny task: one CPU core, half a minute.  bert-tiny: 9 GB for m 512 in float32, 4.5 GB
             with --window-dtype bfloat16
  window     --parameters no-embeddings (or biases) leaves the others to Adam, at --rest-lr, or as
             they are with --rest frozen; the window takes memory for the parameters in it alone
  resume     --resume goes on from the last checkpoint in OUT: the Trainer writes the optimizer's
             state, window included, to optimizer.pt there
  settings   published for BERT: lr 1e-4, damping 1e-6, m 1024 (512 for MRPC and STS-B), batch 32,
             5 epochs, linear decay to 0.  They are for models that were pre-trained: random weights
             want a larger damping
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import torch
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

from tupe_plugin import MFAC, mfac_groups
from tupe_plugin.core.mfac_parameters import ALL, PARAMETERS, RESTS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "huggingface"))
from sentence_classification import (
    Encoded,
    accuracy,
    animals_or_tools,
    build_model,
    read_tsv,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for checkpoints")
    parser.add_argument("--model", help="name on the hub, or folder (default: random, tiny)")
    parser.add_argument("--train", type=Path, metavar="TSV", help="with --dev (default: made here)")
    parser.add_argument("--dev", type=Path, metavar="TSV")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, help="default 1e-4, or 1e-3 without --model")
    parser.add_argument("--num-grads", type=int, default=512, help="m, gradients in the window")
    parser.add_argument("--damping", type=float, help="default 1e-6, or 1e-3 without --model")
    parser.add_argument("--window-dtype", choices=DTYPES, default="float32")
    parser.add_argument("--parameters", choices=PARAMETERS, default=ALL, help="in the window")
    parser.add_argument("--rest", choices=RESTS, default=RESTS[0], help="what trains the others")
    parser.add_argument("--rest-lr", type=float, help="of Adam; default: --lr")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from OUT's last checkpoint")
    args = parser.parse_args(argv)
    if (args.train is None) != (args.dev is None):
        parser.error("--train and --dev go together")
    if args.lr is None:
        args.lr = 1e-4 if args.model else 1e-3
    if args.damping is None:
        args.damping = 1e-6 if args.model else 1e-3
    return args


def main(argv: list[str] | None = None) -> float:
    args = parse(argv)
    logging.disable_progress_bar()
    set_seed(args.seed)
    train = read_tsv(args.train) if args.train else animals_or_tools(640, seed=1)
    dev = read_tsv(args.dev) if args.dev else animals_or_tools(200, seed=2)
    labels = sorted({label for _, label in train})
    model, tokenizer = build_model(args.model, train, labels)

    training = TrainingArguments(
        output_dir=str(args.out),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        max_grad_norm=0.0,  # the default clips, and M-FAC would see another curvature
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,  # each holds a window
        logging_strategy="epoch",
        report_to="none",
        disable_tqdm=True,
        seed=args.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    model.to(training.device)  # the window lives with the parameters
    groups = model.parameters()
    if args.parameters != ALL:
        groups = mfac_groups(
            model, args.parameters, lr=args.lr, rest=args.rest, rest_lr=args.rest_lr
        )
    optimizer = MFAC(
        groups,
        lr=args.lr,
        num_grads=args.num_grads,
        damping=args.damping,
        window_dtype=DTYPES[args.window_dtype],
    )
    updates = math.ceil(len(train) / (training.train_batch_size * training.world_size))
    schedule = get_linear_schedule_with_warmup(optimizer, 0, args.epochs * updates)
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=Encoded(train, tokenizer, labels),
        eval_dataset=Encoded(dev, tokenizer, labels),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=accuracy,
        optimizers=(optimizer, schedule),
    )
    trainer.train(resume_from_checkpoint=args.resume)
    result = trainer.evaluate()["eval_accuracy"]
    print(f"accuracy on dev: {result:.1%}")
    return result


if __name__ == "__main__":
    main()
