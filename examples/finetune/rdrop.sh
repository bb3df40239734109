#!/usr/bin/env bash
# Fine-tune on a GLUE task with R-Drop: glue.sh with another strategy.
#
#   paper     R-Drop (arXiv 2106.14448), the table of GLUE dev sets, with BERT-base and RoBERTa-large.
#             Not reproduced here.
#   hardware  as glue.sh; a step takes about twice the time and up to twice the memory
#
#   usage     examples/finetune/rdrop.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  ALPHA=0.5 (the paper's 1.0, which adds the two losses up; published: 0.05 to 0.5 in
#             our units, chosen for each task; the authors' GLUE code: 0.25 x batch size), and glue.sh's
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
STRATEGY=rdrop exec "$(dirname "$0")/glue.sh" "${@:1:4}" ${ALPHA:+--rdrop-alpha "$ALPHA"} "${@:5}"
