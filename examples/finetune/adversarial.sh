#!/usr/bin/env bash
# Fine-tune on a GLUE task with adversarial noise: glue.sh with another strategy.
#
#   paper     METHOD=attention  wenxin (Baidu), strategy "adv": ERNIE 3.0 base on CLUE, iflytek 61.14 -> 61.83,
#                               afqmc 76.11 -> 76.39; its sizes of noise are not public, ours are chosen
#             METHOD=fgm        arXiv 1605.07725       METHOD=pgd    arXiv 1706.06083
#             METHOD=freelb     arXiv 1909.11764, with the authors' settings for STS-B
#             METHOD=smart      arXiv 1911.03437, with the authors' settings
#             Their tables have not been reproduced here.
#   hardware  as glue.sh; a step takes 2 to 4 times as long, benchmarks/results/strategies_*.md
#
#   usage     examples/finetune/adversarial.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  METHOD=attention WEIGHT= ALPHA=0 (R-Drop as well, if above 0), and glue.sh's
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }

case ${METHOD:=attention} in
    attention | fgm | pgd | freelb | smart) ;;
    *)
        echo "$0: unknown METHOD '$METHOD': attention, fgm, pgd, freelb or smart" >&2
        exit 2
        ;;
esac
STRATEGY=$METHOD exec "$(dirname "$0")/glue.sh" "${@:1:4}" \
    ${WEIGHT:+--adv-weight "$WEIGHT"} --rdrop-alpha "${ALPHA:-0}" "${@:5}"
