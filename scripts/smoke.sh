#!/usr/bin/env bash
# The main job at its smallest, in about a minute: preprocess, pre-train, resume, fine-tune.
#
#   smoke.sh OUT     OUT is made, and must not exist. Uses the fairseq-* commands on PATH.
set -euo pipefail

[[ $# == 1 ]] || { echo "usage: smoke.sh OUT" >&2; exit 2; }
out=$1
source "$(dirname "$0")/../examples/need_commands.sh"
plugin=$(cd "$(dirname "$0")/.." && pwd)/tupe_plugin
mkdir "$out"
export OMP_NUM_THREADS=1

python - "$out" <<'PYTHON'
"""Sentences of Python's documentation; the task is whether a sentence is longer than the median."""
import re
import sys
from pathlib import Path
from pydoc_data.topics import topics

out = Path(sys.argv[1])
text = " ".join(topics[name] for name in sorted(topics))
sentences = [re.findall(r"[a-z]+", part) for part in text.lower().split(". ")]
sentences = [words for words in sentences if 5 <= len(words) <= 40][:700]
median = sorted(map(len, sentences))[len(sentences) // 2]
for split, part in (("valid", sentences[:100]), ("train", sentences[100:])):
    (out / f"{split}.text").write_text("".join(" ".join(words) + "\n" for words in part))
    labels = ("long\n" if len(words) > median else "short\n" for words in part)
    (out / f"{split}.label").write_text("".join(labels))
PYTHON

preprocess() { # what, folder, further options
    fairseq-preprocess --only-source --trainpref "$out/train.$1" --validpref "$out/valid.$1" \
        --destdir "$2" "${@:3}" >>"$out/log" 2>&1
}
train() {
    fairseq-train --user-dir "$plugin" --arch tupe_tiny --rel-pos --max-positions 64 \
        --optimizer adam --lr 1e-3 --batch-size 16 --num-workers 1 --log-format simple "$@" \
        2>&1 | tee -a "$out/log"
}
says() { grep "$1" >/dev/null || { echo "smoke.sh: no line has '$1'; see $out/log" >&2; exit 1; }; }

echo "preprocess"
preprocess text "$out/lm"
preprocess text "$out/task/input0" --srcdict "$out/lm/dict.txt"
preprocess label "$out/task/label"

echo "pre-train"
language_model=("$out/lm" --task masked_lm --criterion masked_lm --tokens-per-sample 64
    --sample-break-mode complete --save-dir "$out/pretrained" --lr-scheduler fixed)
train "${language_model[@]}" --max-update 10 | says "done training"
echo "resume"
train "${language_model[@]}" --max-update 20 | says "epoch 1 @ 10 updates"
echo "fine-tune"
train "$out/task" --task sentence_prediction --criterion sentence_prediction --num-classes 2 \
    --init-token 0 --restore-file "$out/pretrained/checkpoint_last.pt" --reset-optimizer \
    --reset-dataloader --reset-meters --reset-lr-scheduler --save-dir "$out/fine-tuned" \
    --lr-scheduler warmup_ratio --warmup-ratio 0.1 --max-epoch 2 --best-checkpoint-metric mcc \
    --maximize-best-checkpoint-metric | says "valid on 'valid' subset .*mcc"
echo "passed"
