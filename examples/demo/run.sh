#!/usr/bin/env bash
# The whole job in about four minutes on two cores, without a download: a corpus out of Python's own
# documentation, BPE, masked-LM pre-training, fine-tuning; three models that differ in nothing but
# what they know of positions.
#
#   examples/demo/run.sh [OUT]      writes everything into OUT (default demo-out)
#
# Interrupted, run it again: it goes on. `make demo` calls it with the right PATH; by hand, activate
# the environment that has fairseq-train first. The settings below can be given in the environment.
set -Eeuo pipefail

PRETRAIN_UPDATES=${PRETRAIN_UPDATES:-600}
FINETUNE_UPDATES=${FINETUNE_UPDATES:-600}
VALIDATIONS=${VALIDATIONS:-4} # of each training
SEED=${SEED:-1}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-demo-out}
models=(tupe-r bert-a none)
names=(TUPE-R BERT-A "no positions") # of the models, in the table and the picture
export PYTHON=python          # the environment's, whatever `make PYTHON=...` made it from
export OMP_NUM_THREADS=1 # each model trains on a core of its own

fail() {
  echo "demo: $1" >&2
  exit "${2:-1}"
}

clock() {
  printf '[%d:%02d]' $((SECONDS / 60)) $((SECONDS % 60))
}

title() {
  printf '\n%s %s\n' "$(clock)" "$1"
}

source "$here/../need_commands.sh"
# shellcheck source=examples/demo/jobs.sh
source "$here/jobs.sh"
trap 'stop_jobs; fail "interrupted; run the same command again to go on" 130' INT TERM
trap 'stop_jobs; fail "line $LINENO of run.sh failed (see above)"' ERR

# quietly LOG COMMAND...: the command's output goes to LOG, and its end to the screen if it fails.
quietly() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    fail "$1 failed; its whole output is in $log"
  }
}

# What a finished training says last. A training that says it is not run again.
finished() {
  grep -qs "done training" "$1"
}

# latest METRIC LOG: "120 updates, ppl 431.2".
latest() {
  sed -n "s/.*train_inner.*\"$1\": \"\([^\"]*\)\".*\"num_updates\": \"\([^\"]*\)\".*/\2 updates, $1 \1/p" \
    "$2" | tail -n 1
}

# train_all KIND METRIC: runs `KIND MODEL` for all models side by side and shows how far they are.
train_all() {
  local kind=$1 metric=$2 model log line shown="" pids=() logs=() number
  for model in "${models[@]}"; do
    log=$out/$model/$kind/train.log
    mkdir -p "${log%/*}"
    if ! finished "$log"; then
      in_background training "$kind" "$model" "$log"
      pids+=($!) logs+=("$log")
    fi
  done
  while [ -n "$(jobs -rp)" ]; do
    sleep 1
    for number in "${!pids[@]}"; do
      kill -0 "${pids[$number]}" 2>/dev/null || finished "${logs[$number]}" ||
        training_failed "${logs[$number]}"
    done
    [ $((SECONDS % 5)) -eq 0 ] || continue
    line=""
    for model in "${models[@]}"; do
      line+=$(printf '  %6s: %-27s' "$model" "$(latest "$metric" "$out/$model/$kind/train.log")")
    done
    [ "$line" = "$shown" ] || echo "$(clock)$line"
    shown=$line
  done
  for model in "${models[@]}"; do
    finished "$out/$model/$kind/train.log" || training_failed "$out/$model/$kind/train.log"
  done
}

training() { # KIND MODEL LOG
  trap - ERR
  "$1" "$2" >>"$3" 2>&1
}

training_failed() {
  stop_jobs
  tail -n 15 "$1" >&2
  fail "a training failed; its whole output is in $1"
}

set_options() { # of both trainings of a model
  case $1 in
    tupe-r) options=(--rel-pos) ;;
    *) options=(--position-scheme "$1") ;;
  esac
  options+=(
    --user-dir "$user_dir" --arch tupe_tiny --encoder-attention-heads 4
    --max-positions 128 --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-6 --lr 1e-3
    --weight-decay 0.01 --clip-norm 1.0 --seed "$SEED" --num-workers 0 --cpu
    --log-format json --log-interval 10 --no-epoch-checkpoints
  )
}

# every UPDATES: validate and save at these intervals, and at no end of an epoch.
every() {
  echo --validate-interval 1000 --validate-interval-updates $((($1 + VALIDATIONS - 1) / VALIDATIONS))
  echo --save-interval 1000 --save-interval-updates $((($1 + VALIDATIONS - 1) / VALIDATIONS))
  echo --keep-interval-updates 1
}

pretrain() {
  set_options "$1"
  # shellcheck disable=SC2046
  fairseq-train "$out/corpus/data-bin" "${options[@]}" --task masked_lm --criterion masked_lm \
    --sample-break-mode complete --tokens-per-sample 128 --batch-size 8 --batch-size-valid 32 \
    --lr-scheduler polynomial_decay --warmup-updates $((PRETRAIN_UPDATES / 10)) \
    --total-num-update "$PRETRAIN_UPDATES" --max-update "$PRETRAIN_UPDATES" \
    $(every "$PRETRAIN_UPDATES") --save-dir "$out/$1/pretrain"
}

finetune() {
  set_options "$1"
  # shellcheck disable=SC2046
  fairseq-train "$out/task/data-bin" "${options[@]}" --task sentence_prediction \
    --criterion sentence_prediction --num-classes 2 --init-token 0 \
    --finetune-from-model "$out/$1/pretrain/checkpoint_last.pt" \
    --batch-size 32 --batch-size-valid 64 --required-batch-size-multiple 1 \
    --lr-scheduler warmup_ratio --warmup-ratio 0.06 --max-update "$FINETUNE_UPDATES" \
    $(every "$FINETUNE_UPDATES") --save-dir "$out/$1/finetune"
}

build_corpus() {
  "$PYTHON" "$here/build_corpus.py" "$out/corpus.part"
  mv "$out/corpus.part" "$out/corpus.txt"
}

build_task() {
  local part=$out/task.part text=$out/corpus/work column source
  rm -rf "$part"
  "$PYTHON" "$here/build_task.py" "$text/bpe-train/train" "$text/bpe-valid/valid" "$part"
  for column in input0 label; do
    source=()
    [ $column = label ] || source=(--srcdict "$out/corpus/data-bin/dict.txt")
    quietly "$part/fairseq-preprocess-$column.log" fairseq-preprocess --only-source \
      --trainpref "$part/train.$column" --validpref "$part/valid.$column" \
      --destdir "$part/data-bin/$column" "${source[@]+"${source[@]}"}"
  done
  mv "$part" "$out/task"
}

for program in fairseq-train fairseq-preprocess tupe "$PYTHON"; do
  command -v "$program" >/dev/null ||
    fail "no $program on the PATH; run make demo, or activate the environment that has it"
done
user_dir=$(tupe user-dir)

# What an OUT of other settings holds cannot be gone on with.
settings="$PRETRAIN_UPDATES $FINETUNE_UPDATES $VALIDATIONS $SEED $("$PYTHON" -V)
$(cat "$here"/*.sh "$here"/*.py | cksum)"
if [ -e "$out" ] && [ ! -f "$out/settings.txt" ] && [ -n "$(ls -A "$out")" ]; then
  fail "$out exists and was not made by the demo; choose another folder: $0 OUT"
fi
mkdir -p "$out"
if [ -f "$out/settings.txt" ] && [ "$(cat "$out/settings.txt")" != "$settings" ]; then
  echo "demo: $out was made with other settings; starting afresh"
  rm -rf "$out/corpus.txt" "$out/task"
  for model in "${models[@]}"; do rm -rf "${out:?}/$model"; done
fi
echo "$settings" >"$out/settings.txt"

title "1/6 Corpus: the documentation of Python's standard library"
[ -f "$out/corpus.txt" ] || build_corpus

title "2/6 preprocess/pretrain.sh: normalise, tokenise, learn BPE, binarise"
# The corpus is a sentence a line and holds no copies; "os.path.join(a, b)" is a sentence here.
"$root/preprocess/pretrain.sh" --bpe-merges 4000 --valid-ratio 0.1 --max-line-tokens 126 \
  --wrapped no --dedup none \
  --skip filter_paragraphs,replace_addresses,clean_punctuation,segment_sentences,merge_short_sentences \
  "$out/corpus.txt" "$out/corpus"

title "3/6 Task: does a sentence run forward or backward? Each one appears both ways, so a bag of
       words is right exactly half the time."
[ -d "$out/task" ] || build_task
paste <(head -n 2 "$out/task/valid.label") <(head -n 2 "$out/task/valid.input0") |
  sed 's/@@ //g; s/^/       /'

title "4/6 fairseq-train --task masked_lm: pre-training three models side by side"
train_all pretrain ppl

title "5/6 fairseq-train --task sentence_prediction: fine-tuning them"
train_all finetune accuracy

title "6/6 Results"
curves=() rows=()
for number in "${!models[@]}"; do
  folder=$out/${models[$number]}
  rows+=("${names[$number]}=$folder")
  curves+=("${names[$number]}=$folder/pretrain/train.log")
  curves+=("${names[$number]}=$folder/finetune/train.log")
done
quietly "$out/plot.log" tupe plot learning-curve "${curves[@]}" -o "$out/learning-curve.png" \
  --title "Pre-training (masked words) and fine-tuning (forward or backward?)"
# No heat map of positions: so short a pre-training draws noise (benchmarks/results/pretraining-*.md).
"$PYTHON" "$here/report.py" "$out/task/valid.label" "${rows[@]}"
printf '\nLook at  %s\n' "$out/learning-curve.png"
echo "$(clock) done"
