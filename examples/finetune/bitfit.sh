#!/usr/bin/env bash
# BitFit, arXiv 2106.10199, on one GLUE task, in both published settings: all bias terms; query and
# intermediate ones alone (the paper's b_q and b_m2). Then the table, the deltas and a heat map.
#
#   promise   BERT-large, average of GLUE's dev sets: 84.2 with all bias terms, 0.08 % of the
#             parameters; full fine-tuning 84.1 (the paper's figures)
#   protocol  lr from 1e-4 to 1e-3; the best lr is reported
#   hardware  one GPU of 16 GB with fp16 (FP16=--fp16); tiny models: one CPU core
#
#   usage     examples/finetune/bitfit.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  LRS="1e-4 4e-4 7e-4 1e-3" SEED=1 TERMS="all query,intermediate", and glue.sh's
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

for terms in ${TERMS:-all query,intermediate}; do
    for lr in ${LRS:-1e-4 4e-4 7e-4 1e-3}; do
        run="$save_dir/$terms/lr$lr/seed${SEED:-1}"
        [ -f "$run/delta.safetensors" ] && continue  # finished
        mkdir -p "$run"
        echo "$task, $terms, lr $lr: started, log in $run/train.log"
        LR=$lr run_job "$here/glue.sh" "$task" "$data" "$checkpoint" "$run" \
            --criterion bitfit --bitfit-terms "$terms" "$@" >>"$run.output" 2>&1 ||
            { tail -n 3 "$run.output" >&2; exit 1; }
        tupe plot bitfit-drift "$run/train.log" -o "$run/drift.png"
        tupe delta save "$checkpoint" "$run/checkpoint_best.pt" -o "$run/delta.safetensors"
        rm -f "$run/checkpoint_last.pt"
    done
done
tupe report "$save_dir"
