#!/usr/bin/env bash
# Every fine-tuning strategy of this package on one task, beside plain fine-tuning, and their
# combinations: BitFit (arXiv 2106.10199), R-Drop (2106.14448), FGM (1605.07725), adversarial
# attention, layer decay, the average of a run's last checkpoints.
#
#   hardware  tiny models: one CPU core; arms with R-Drop take about twice the time, adversarial
#             ones two to four times
#
#   usage     examples/finetune/strategies.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#   settings  LR=5e-5 BITFIT_LR=1e-3 SEEDS="1 2 3" JOBS=1 (runs at a time) EPOCHS=3
#             LAYER_DECAY=0.95 ARMS="plain bitfit ..." (default: all), and glue.sh's
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
export EPOCHS=${EPOCHS:-3} SEEDS=${SEEDS:-1 2 3}
decay=(--layer-decay "${LAYER_DECAY:-0.95}")
rdrop=(--criterion rdrop --rdrop-alpha "${ALPHA:-1.0}")
attention=(--criterion adversarial --adv-method attention)
averaged="plain attention_decay rdrop_decay"
lr=${LR:-5e-5} known=

every_arm() {
    arm plain "$lr"
    arm bitfit "${BITFIT_LR:-1e-3}" --criterion bitfit --bitfit-terms all
    arm decay "$lr" "${decay[@]}"
    arm rdrop "$lr" "${rdrop[@]}"
    arm fgm "$lr" --criterion adversarial --adv-method fgm
    arm attention "$lr" "${attention[@]}"
    arm rdrop_decay "$lr" "${rdrop[@]}" "${decay[@]}"
    arm attention_decay "$lr" "${attention[@]}" "${decay[@]}"
}

arm() { known+=" $1"; }
every_arm
for name in ${ARMS:-}; do
    [[ "$known " == *" $name "* ]] || { echo "$0: unknown arm '$name' in ARMS: give some of$known" >&2; exit 2; }
done

arm() { # NAME LR OPTION...
    local name=$1 lr=$2
    shift 2
    [[ " ${ARMS:-$name} " == *" $name "* ]] || return 0
    local checkpoints=--no-epoch-checkpoints keep=
    [[ " $averaged " != *" $name "* ]] || checkpoints="" keep='checkpoint[2-9].pt'
    LRS=$lr CHECKPOINTS=$checkpoints KEEP=$keep run_job "$here/sweep.sh" "$task" "$data" "$checkpoint" \
        "$save_dir/$name" "$@" "${options[@]}" >/dev/null
}

options=("$@")
every_arm
tupe report "$save_dir"

# One average for each seed, so that it has a mean and a deviation too.
for name in $averaged; do
    for seed in $SEEDS; do
        run=$save_dir/$name/lr$lr/seed$seed
        [ -d "$run" ] || continue
        if [ ! -f "$run/average.txt" ]; then
            rm -f "$run/average.pt"
            run_job tupe average "$run"/checkpoint[2-9].pt -o "$run/average.pt" --evaluate "$data" \
                >"$run/average.part"
            mv "$run/average.part" "$run/average.txt"
        fi
        echo
        cat "$run/average.txt"
    done
done
