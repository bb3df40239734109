#!/usr/bin/env bash
# Plain text in, fairseq data for masked-LM pre-training out.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'END'
usage: preprocess/pretrain.sh [options] TEXT... OUT_DIR

Normalises, tokenises, lower-cases and BPE-encodes text and makes OUT_DIR/data-bin, which
fairseq-train reads. TEXT: files in UTF-8, also .gz, .bz2, .xz; a line is a paragraph or a
sentence, an empty line ends a document. Interrupted, run the same command again: it goes on.
OUT_DIR/work holds what lies between; it can be removed when data-bin is made.

validation text:
  --valid FILE            take it from this file (default: taken out of TEXT)
  --valid-ratio R         share of the documents taken for validation (default 0.005)
  --valid-block-lines N   treat every N lines of a longer document as one (default 200)
  --seed N                another choice of documents (default 1)
vocabulary:
  --bpe-merges N          how many BPE merges to learn (default 32000)
  --bpe-codes FILE        use these merges (subword-nmt or fastBPE format) and learn none
  --dict FILE             use this fairseq dictionary and make none
  --authors-dict FILE     the same for a dictionary of the original TUPE code, which leaves out
                          its special symbols <file>, <email>, <url>: they are put first
  --vocab-size N          keep the N most frequent units, fairseq's --nwordssrc (default: all)
  --threshold N           drop units seen less than N times, fairseq's --thresholdsrc (default 0)
other:
  --max-line-tokens N     cut lines of more than N units at a sentence end (default 510: fits
                          --tokens-per-sample 512 with --sample-break-mode complete)
  --workers N             processes (default: all cores)
  -h, --help              this text

PYTHON names the Python that has fairseq (default python3).
END
}

valid="" valid_ratio=0.005 valid_block_lines=200 seed=1
bpe_merges=32000 bpe_codes="" dict="" authors_dict="" vocab_size=-1 threshold=0
max_line_tokens=510 workers=0
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --valid | --valid-ratio | --bpe-codes | --dict | --authors-dict)
      need_value "$1" $#
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift 2
      ;;
    --valid-block-lines | --bpe-merges | --vocab-size | --max-line-tokens | \
      --seed | --threshold | --workers)
      need_value "$1" $#
      case $1 in --seed | --threshold | --workers) smallest=0 ;; *) smallest=1 ;; esac
      need_number "$1" "$2" $smallest
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift 2
      ;;
    -*) usage_error "unknown option $1" ;;
    *)
      arguments+=("$1")
      shift
      ;;
  esac
done

[ ${#arguments[@]} -ge 2 ] || usage_error "give at least one TEXT and OUT_DIR"
out=$(absolute "${arguments[-1]}")
texts=()
for text in "${arguments[@]:0:${#arguments[@]}-1}"; do texts+=("$(absolute "$text")"); done
valid=$(absolute "$valid") bpe_codes=$(absolute "$bpe_codes")
dict=$(absolute "$dict") authors_dict=$(absolute "$authors_dict")
[ ! -e "$out" ] || [ -d "$out" ] || usage_error "OUT_DIR must be a folder, but $out is a file"
[[ $valid_ratio =~ ^0?\.[0-9]+$ ]] || usage_error "--valid-ratio must be between 0 and 1, not '$valid_ratio'"
[ -z "$dict" ] || [ -z "$authors_dict" ] || usage_error "give --dict or --authors-dict, not both"
inputs=("${texts[@]}")
for file in "$valid" "$bpe_codes" "$dict" "$authors_dict"; do
  [ -z "$file" ] || inputs+=("$file")
done
need_file "${inputs[@]}"

work=$out/work
start_steps "$out" "${inputs[@]}"

step "$work/clean" map_lines --steps "$CLEANING" "${texts[@]}" \
  --output {}/text --drop-emptied
if [ -n "$valid" ]; then
  train_text=$work/clean/text valid_text=$work/clean-valid/text
  step "$work/clean-valid" map_lines --steps "$CLEANING" "$valid" \
    --output {}/text --drop-emptied
else
  train_text=$work/split/train valid_text=$work/split/valid
  step "$work/split" filter split_documents "$work/clean/text" --train {}/train \
    --valid {}/valid --valid-ratio "$valid_ratio" --block-lines "$valid_block_lines" --seed "$seed"
fi

if [ -z "$bpe_codes" ]; then
  bpe_codes=$work/codes/bpe.codes
  step "$work/codes" filter learn_bpe --merges "$bpe_merges" --output {}/bpe.codes "$train_text"
fi
for split in train valid; do
  text=${split}_text
  step "$work/bpe-$split" map_lines --steps apply_bpe,split_long_lines "${!text}" \
    --output {}/$split --bpe-codes "$bpe_codes" --max-line-tokens "$max_line_tokens"
done

if [ -n "$authors_dict" ]; then
  step "$work/dict" complete_authors_dict "$authors_dict" {}/dict.txt
  dict=$work/dict/dict.txt
fi
make_data_bin() {
  local folder=$1
  shift
  cp "$bpe_codes" "$folder/bpe.codes"
  binarize "$folder" --trainpref "$work/bpe-train/train" --validpref "$work/bpe-valid/valid" "$@"
}
source_dict=()
[ -z "$dict" ] || source_dict=(--srcdict "$dict")
step "$out/data-bin" make_data_bin {} --nwordssrc "$vocab_size" --thresholdsrc "$threshold" \
  "${source_dict[@]}"
echo "data: $out/data-bin ($(wc -l <"$out/data-bin/dict.txt") units; with dict.txt and bpe.codes)"
