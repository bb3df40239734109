#!/usr/bin/env bash
# Fine-tune the bias terms of a model on a GLUE task: BitFit, arXiv 2106.10199; glue.sh with another
# strategy.
#
#   promise   BERT-large, average of GLUE's dev sets: 84.2 with all bias terms, 0.08 % of the
#             parameters; full fine-tuning 84.1 (the paper's figures)
#   protocol  lr from 1e-4 to 1e-3, the best is reported; all bias terms, and query and intermediate
#             ones alone (the paper's b_q and b_m2). `tupe sweep --preset bitfit` runs that.
#   hardware  one GPU of 16 GB with fp16 (FP16=--fp16); tiny models: one CPU core
#
#   usage     examples/finetune/bitfit.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  LR=1e-3 TERMS=all, and glue.sh's
#
# Then `tupe delta save CHECKPOINT SAVE_DIR/checkpoint_best.pt -o FILE` writes biases and head, and
# `tupe plot bitfit-drift SAVE_DIR/train.log -o FILE` draws what has moved.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
LR=${LR:-1e-3} STRATEGY=bitfit exec "$(dirname "$0")/glue.sh" "${@:1:4}" ${TERMS:+--bitfit-terms "$TERMS"} "${@:5}"
