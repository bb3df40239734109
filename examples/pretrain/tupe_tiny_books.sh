#!/usr/bin/env bash
# Pre-train TUPE-R (tiny, 2 x 128) on a laptop: what the tables under benchmarks/results start from.
#
#   promise   no paper's figure: see benchmarks/results for what it gave here
#   data      64 MB of English novels (ELTeC), through preprocess/pretrain.sh
#   hardware  two CPU cores, about half an hour
#
#   usage     examples/pretrain/tupe_tiny_books.sh DATA_BIN SAVE_DIR [more fairseq-train options]
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 DATA_BIN SAVE_DIR [more fairseq-train options]" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
data=$1 save_dir=$2
shift 2
UPDATES=${UPDATES:-10000}
mkdir -p "$save_dir"

exec fairseq-train "$data" --user-dir "$(tupe user-dir)" \
    --task masked_lm --criterion masked_lm --mask-prob 0.15 \
    --arch tupe_tiny --rel-pos --embedding-normalize --max-positions 128 \
    --sample-break-mode complete --tokens-per-sample 128 --batch-size 64 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --weight-decay 0.01 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr 2e-3 --warmup-updates $((UPDATES / 20)) \
    --total-num-update "$UPDATES" --max-update "$UPDATES" \
    --dropout 0.0 --attention-dropout 0.0 --seed "${SEED:-1}" \
    --save-interval-updates 1000 --keep-interval-updates 1 --no-epoch-checkpoints \
    --skip-invalid-size-inputs-valid-test \
    --log-format json --log-interval 50 --log-file "$save_dir/train.log" --save-dir "$save_dir" "$@"
