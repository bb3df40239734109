#!/usr/bin/env bash
# Fine-tune on a GLUE task with layer decay: the nearer to the input, the lower the learning rate.
#
#   paper     ELECTRA (arXiv 2003.10555), appendix B: 0.8 for small and base models, 0.9 for large ones;
#             wenxin (Baidu) combines 0.95 with R-Drop, adversarial noise and averages.
#             Not reproduced here.
#   hardware  as glue.sh; costs nothing
#
#   usage     examples/finetune/layer_decay.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  LAYER_DECAY=0.95, and glue.sh's (OPTIMIZER=mfac works too)
#
# With FP16=--fp16 give --fp16-no-flatten-grads as well.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
STRATEGY=layer-decay exec "$(dirname "$0")/glue.sh" "${@:1:4}" \
    ${LAYER_DECAY:+--layer-decay "$LAYER_DECAY"} "${@:5}"
