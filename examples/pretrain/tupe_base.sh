#!/usr/bin/env bash
# Pre-train TUPE-R (base): TUPE, arXiv 2006.15595, section 4.1 and Table 1, row TUPE-R.
#
#   promise   GLUE dev average 85.04 after 1M updates, 83.68 after 300k (the paper's figures)
#   data      English Wikipedia + BookCorpus, 16 GB of text, through preprocess/pretrain.sh
#   hardware  16 GPUs of 16 GB or more with fp16; the authors had 16 V100.  We have not run it.
#
#   usage     examples/pretrain/tupe_base.sh DATA_BIN SAVE_DIR [more fairseq-train options]
#             TUPE-A: REL_POS= examples/pretrain/tupe_base.sh ...
#
# Global batch = nodes x GPUs of a node x sentences x update-freq = 256 sequences of 512 tokens:
#   16 GPUs x 16 x 1   or   8 GPUs x 16 x 2   or   4 GPUs x 32 x 2   or   1 GPU x 32 x 8.
# UPDATE_FREQ is computed from the rest, so that each of these gives the same training.
#
# Several nodes: start the same line on each node with NNODES, NODE_RANK and MASTER_ADDR set
# (tupe_base.sbatch does so under Slurm).
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 DATA_BIN SAVE_DIR [more fairseq-train options]" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
data=$1 save_dir=$2
shift 2

NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
GPUS_PER_NODE=${GPUS_PER_NODE:-$(nvidia-smi --list-gpus | wc -l)}
SENTENCES=${SENTENCES:-16}
GLOBAL_BATCH=${GLOBAL_BATCH:-256}
UPDATES=${UPDATES:-1000000}
REL_POS=${REL_POS---rel-pos}

per_update=$((NNODES * GPUS_PER_NODE * SENTENCES))
if [ "$per_update" -eq 0 ] || [ $((GLOBAL_BATCH % per_update)) -ne 0 ]; then
    echo "$0: $NNODES nodes x $GPUS_PER_NODE GPUs x $SENTENCES sentences = $per_update does not" \
        "divide the global batch of $GLOBAL_BATCH: change SENTENCES or GPUS_PER_NODE" >&2
    exit 2
fi

exec torchrun --nnodes "$NNODES" --node_rank "$NODE_RANK" --nproc_per_node "$GPUS_PER_NODE" \
    --master_addr "${MASTER_ADDR:-localhost}" --master_port "${MASTER_PORT:-29500}" \
    "$(command -v fairseq-train)" "$data" --user-dir "$(tupe user-dir)" \
    --fp16 --num-workers 4 --ddp-backend c10d \
    --task masked_lm --criterion masked_lm --mask-prob 0.15 \
    --arch tupe_base $REL_POS --embedding-normalize --max-positions 512 \
    --sample-break-mode complete --tokens-per-sample 512 \
    --batch-size "$SENTENCES" --update-freq $((GLOBAL_BATCH / per_update)) \
    --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-6 \
    --weight-decay 0.01 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr 1e-4 --warmup-updates 10000 \
    --total-num-update "$UPDATES" --max-update "$UPDATES" \
    --dropout 0.1 --attention-dropout 0.1 --seed "${SEED:-1}" \
    --save-interval-updates 25000 --keep-interval-updates 3 --keep-interval-updates-pattern 100000 \
    --no-epoch-checkpoints --skip-invalid-size-inputs-valid-test \
    --log-format simple --log-interval 100 --save-dir "$save_dir" "$@"
