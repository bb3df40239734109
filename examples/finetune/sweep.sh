#!/usr/bin/env bash
# The paper's protocol on one task: every learning rate with every seed, then the table.
#
#   usage     examples/finetune/sweep.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  LRS="2e-5 3e-5 4e-5 5e-5" SEEDS="1 2 3 4 5" JOBS=1 (runs at a time)
#             KEEP= (a pattern such as checkpoint_best.pt: which checkpoints of a finished run stay),
#             and glue.sh's
#
# A run that has finished is not run again; an interrupted one goes on.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
task=$1 data=$2 checkpoint=$3 save_dir=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=examples/jobs.sh
source "$here/../jobs.sh"
stop_when_told

run_one() {
    local lr=$1 seed=$2 run="$save_dir/lr$1/seed$2"
    [ -f "$run/finished" ] && return
    echo "$task lr $lr seed $seed: started, log in $run/train.log"
    if ! LR=$lr SEED=$seed python "$here/record_peak_memory.py" "$run/peak_memory.txt" \
        "$here/glue.sh" "$task" "$data" "$checkpoint" "$run" "${options[@]}" >>"$run.output" 2>&1; then
        echo "$task lr $lr seed $seed: failed, the end of $run.output says:" >&2
        tail -n 3 "$run.output" >&2
        return 1
    fi
    touch "$run/finished"
    local file
    for file in "$run"/checkpoint*.pt; do
        # shellcheck disable=SC2254
        case ${file##*/} in ${KEEP:-}) ;; *) rm -f "$file" ;; esac
    done
}

options=("$@")
lrs=${LRS:-2e-5 3e-5 4e-5 5e-5} seeds=${SEEDS:-1 2 3 4 5}
for lr in $lrs; do
    mkdir -p "$save_dir/lr$lr"
    for seed in $seeds; do
        while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-1}" ]; do wait -n || true; done
        in_background run_one "$lr" "$seed"
    done
done
wait
for lr in $lrs; do
    for seed in $seeds; do [ -f "$save_dir/lr$lr/seed$seed/finished" ] || exit 1; done
done
tupe report "$save_dir"
