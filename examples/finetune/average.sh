#!/usr/bin/env bash
# Fine-tune with several seeds, average the models greedily, validate the average.
#
#   paper     Model soups (arXiv 2203.05482), Recipe 1; there, models differ in more than the seed, and
#             a table of GLUE is in appendix J. Not reproduced here.
#   hardware  as glue.sh, once for each seed
#
#   usage     examples/finetune/average.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  SEEDS="1 2 3", and glue.sh's; more options: --layer-decay 0.95 --criterion rdrop ...
#
# A run that has finished is not run again; an interrupted one goes on.
# The average is chosen by the dev set, so its score there is no estimate for other text.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
task=$1 data=$2 checkpoint=$3 save_dir=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=examples/jobs.sh
source "$here/../jobs.sh"
stop_when_told

models=()
for seed in ${SEEDS:-1 2 3}; do
    model=$save_dir/seed$seed/checkpoint_best.pt
    models+=("$model")
    [ -f "$save_dir/seed$seed/finished" ] && continue
    echo "$task seed $seed: started, log in $save_dir/seed$seed/train.log"
    SEED=$seed run_job "$here/glue.sh" "$task" "$data" "$checkpoint" "$save_dir/seed$seed" "$@" >/dev/null
    touch "$save_dir/seed$seed/finished"
    rm -f "$save_dir/seed$seed/checkpoint_last.pt"
done

run_job tupe average "${models[@]}" -o "$save_dir/average.pt" --greedy "$data"
echo
fairseq-validate "$data" --user-dir "$(tupe user-dir)" --path "$save_dir/average.pt" \
    --task sentence_prediction --criterion sentence_prediction --batch-size 32 \
    --skip-invalid-size-inputs-valid-test --log-format json | grep ' | valid | '
