#!/usr/bin/env bash
# Fine-tune on one GLUE task: TUPE, arXiv 2006.15595, section 4.1 (protocol) and Table 1 (scores).
#
#   promise   TUPE-R base after 1M updates, dev: MNLI 86.21/86.19, QNLI 92.17, QQP 91.30,
#             SST-2 93.26, CoLA 63.56, MRPC 89.89, RTE 73.56, STS-B 89.23 (the paper's figures)
#   protocol  lr in {2,3,4,5}e-5 x five seeds; median of the seeds for each lr; best lr reported.
#             `tupe sweep --preset tupe` runs that, and `tupe report` makes the table.
#   hardware  one GPU of 16 GB with fp16 (FP16=--fp16); tiny models: one CPU core
#
#   usage     examples/finetune/glue.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#             CHECKPOINT "none" trains tupe_base --rel-pos from scratch; any other says itself of what
#             architecture it is, with which positions and input symbols
#   settings  LR=5e-5 SEED=1 EPOCHS ARCH REL_POS=--rel-pos MAX_POSITIONS FP16=
#             OPTIMIZER=adam, or mfac: the settings published for it (arXiv 2107.03356), LR=1e-4,
#             NUM_GRADS=512 (a float32 window takes 2 KB for each parameter)
#             STRATEGY=plain, or another of tupe_plugin/sweep/presets.toml
#             CHECKPOINTS=--no-epoch-checkpoints (the best and the last one are kept)
#
# Killed, the same command goes on from the last checkpoint.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
task=$1 data=$2 checkpoint=$3 save_dir=$4
shift 4

how=() settings=()
[ -n "${REL_POS-x}" ] || how=(--without rel-pos)
[ -z "${CHECKPOINTS-x}" ] && how+=(--without no-epoch-checkpoints)
[ -z "${STRATEGY:-}" ] || how+=(--strategy "$STRATEGY")
[ -z "${ARCH:-}" ] || settings+=(--arch "$ARCH")
[ -z "${MAX_POSITIONS:-}" ] || settings+=(--max-positions "$MAX_POSITIONS")
[ -z "${OPTIMIZER:-}" ] || settings+=(--optimizer "$OPTIMIZER")
[ -z "${NUM_GRADS:-}" ] || settings+=(--mfac-num-grads "$NUM_GRADS")
[ -z "${LR:-}" ] || settings+=(--lr "$LR")
[ -z "${EPOCHS:-}" ] || settings+=(--max-epoch "$EPOCHS")
[ -z "${SEED:-}" ] || settings+=(--seed "$SEED")

# The figures are in tupe_plugin/sweep/recipe.toml, which `tupe sweep` reads too.
command=$(tupe recipe "${how[@]}" "$task" "$data" "$checkpoint" "$save_dir" \
    "${settings[@]}" ${FP16:-} ${CHECKPOINTS:-} "$@") || exit 2
mkdir -p "$save_dir"
eval "exec $command"
