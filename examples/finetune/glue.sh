#!/usr/bin/env bash
# Fine-tune on one GLUE task: TUPE, arXiv 2006.15595, section 4.1 (protocol) and Table 1 (scores).
#
#   promise   TUPE-R base after 1M updates, dev: MNLI 86.21/86.19, QNLI 92.17, QQP 91.30,
#             SST-2 93.26, CoLA 63.56, MRPC 89.89, RTE 73.56, STS-B 89.23 (the paper's figures)
#   protocol  lr in {2,3,4,5}e-5 x five seeds; median of the seeds for each lr; best lr reported.
#             examples/finetune/sweep.sh runs that and `tupe report` makes the table.
#   hardware  one GPU of 16 GB with fp16 (FP16=--fp16); tiny models: one CPU core
#
#   usage     examples/finetune/glue.sh TASK DATA_BIN CHECKPOINT SAVE_DIR [more fairseq-train options]
#             CHECKPOINT "none" trains from scratch; one in a folder of `tupe import` brings its own
#             ARCH, positions and input symbols (model.args and sentences.args beside it).
#   settings  LR=5e-5 SEED=1 EPOCHS ARCH=tupe_base REL_POS=--rel-pos MAX_POSITIONS=512 FP16=
#             OPTIMIZER=adam, or mfac: the settings published for it (arXiv 2107.03356), LR=1e-4,
#             NUM_GRADS=512 (a float32 window takes 2 KB for each parameter)
#             CHECKPOINTS=--no-epoch-checkpoints (the best and the last one are kept)
#
# Killed, the same command goes on from the last checkpoint.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
task=$1 data=$2 checkpoint=$3 save_dir=$4
shift 4

flags=$(tupe data flags "$task") || exit 2 # --num-classes, --valid-subset, the metric
read -ra flags <<<"$flags"
epochs=10
case $task in MNLI | QNLI | QQP) epochs=5 ;; esac

case ${OPTIMIZER:-adam} in
    adam)
        lr=5e-5 optimizer=(--optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-6
            --weight-decay 0.01 --clip-norm 1.0 --warmup-ratio 0.06)
        ;;
    mfac) lr=1e-4 optimizer=(--optimizer mfac --mfac-num-grads "${NUM_GRADS:-512}" --warmup-ratio 0) ;;
    *)
        echo "$0: unknown OPTIMIZER '$OPTIMIZER': adam or mfac" >&2
        exit 2
        ;;
esac

restore=(--restore-file "$checkpoint" --reset-optimizer --reset-dataloader --reset-meters --reset-lr-scheduler)
if [ "$checkpoint" = none ]; then
    restore=()
elif [ ! -f "$checkpoint" ]; then
    echo "$0: no checkpoint $checkpoint ('none' trains from scratch)" >&2
    exit 2
fi
model=(--arch "${ARCH:-tupe_base}" ${REL_POS---rel-pos} --embedding-normalize
    --max-positions "${MAX_POSITIONS:-512}" --init-token 0 --separator-token 2
    --dropout 0.1 --attention-dropout 0.1)
imported=$(dirname "$checkpoint")
if [ -f "$imported/model.args" ]; then
    read -r -d '' -a model < <(cat "$imported/model.args" "$imported/sentences.args") || true
fi
mkdir -p "$save_dir"

exec fairseq-train "$data" --user-dir "$(tupe user-dir)" "${restore[@]}" \
    --task sentence_prediction --criterion sentence_prediction \
    "${flags[@]}" "${model[@]}" --shorten-method truncate \
    --batch-size 32 --required-batch-size-multiple 1 \
    "${optimizer[@]}" --lr-scheduler warmup_ratio --lr "${LR:-$lr}" \
    --max-epoch "${EPOCHS:-$epochs}" --seed "${SEED:-1}" ${FP16:-} \
    --find-unused-parameters --skip-invalid-size-inputs-valid-test \
    ${CHECKPOINTS---no-epoch-checkpoints} \
    --log-format json --log-interval 50 --log-file "$save_dir/train.log" --save-dir "$save_dir" "$@"
