#!/usr/bin/env bash
# One GLUE task's official TSV files in, fairseq data for --task sentence_prediction out.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'END'
usage: preprocess/glue.sh [options] GLUE_DIR TASK OUT_DIR

Makes OUT_DIR/TASK-bin with input0, input1 (pairs) and label, from GLUE_DIR/TASK/*.tsv, with the
text treatment of pretrain.sh. TASK: CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI
(preprocess/glue_tasks.toml), or ALL that are there. Interrupted, run the same command again: it goes on.
Splits: train, valid, test; MNLI's mismatched sets are valid1 and test1.

the pre-training's merges and dictionary, one of:
  --data-bin DIR          a folder that pretrain.sh made (DIR/bpe.codes and DIR/dict.txt)
  --bpe-codes FILE --dict FILE
                          the two files themselves; with --authors-dict FILE for a dictionary of
                          the original TUPE code (see pretrain.sh --help)
other:
  --skip-malformed        drop and count malformed training rows (always so for QQP, whose official
                          file has some); default: stop and name file and line
  --workers N             processes (default: all cores)
  -h, --help              this text

PYTHON names the Python that has fairseq (default python3).
END
}

data_bin="" bpe_codes="" dict="" authors_dict="" workers=0 skip_malformed=()
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --data-bin | --bpe-codes | --dict | --authors-dict | --workers)
      need_value "$1" $#
      [ "$1" != --workers ] || need_number "$1" "$2" 0
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift 2
      ;;
    --skip-malformed)
      skip_malformed=(--skip-malformed)
      shift
      ;;
    -*) usage_error "unknown option $1" ;;
    *)
      arguments+=("$1")
      shift
      ;;
  esac
done

[ ${#arguments[@]} -eq 3 ] || usage_error "give GLUE_DIR, TASK and OUT_DIR"
glue_dir=$(absolute "${arguments[0]}") task=${arguments[1]} out=$(absolute "${arguments[2]}")
data_bin=$(absolute "$data_bin") bpe_codes=$(absolute "$bpe_codes")
dict=$(absolute "$dict") authors_dict=$(absolute "$authors_dict")
[ ! -e "$out" ] || [ -d "$out" ] || usage_error "OUT_DIR must be a folder, but $out is a file"
if [ -n "$data_bin" ]; then
  bpe_codes=${bpe_codes:-$data_bin/bpe.codes}
  [ -n "$dict$authors_dict" ] || dict=$data_bin/dict.txt
fi
[ -n "$bpe_codes" ] && [ -n "$dict$authors_dict" ] || usage_error "give --data-bin, or --bpe-codes and --dict"
[ -z "$dict" ] || [ -z "$authors_dict" ] || usage_error "give --dict or --authors-dict, not both"
[ -d "$glue_dir" ] || fail "no such folder: $glue_dir"

if [ "$task" = ALL ]; then
  options=(--bpe-codes "$bpe_codes" --workers "$workers" "${skip_malformed[@]}")
  if [ -n "$dict" ]; then options+=(--dict "$dict"); else options+=(--authors-dict "$authors_dict"); fi
  tasks=$("$PYTHON" -m preprocess.filters.glue_tasks) || exit 1
  for task in $tasks; do
    if [ -d "$glue_dir/$task" ]; then
      "$0" "${options[@]}" "$glue_dir" "$task" "$out"
    else
      echo "== $task: not in $glue_dir, left out" >&2
    fi
  done
  exit 0
fi

"$PYTHON" -m preprocess.filters.glue_tasks "$task" || exit 1
work=$out/work/$task
tables=("$glue_dir/$task"/*.tsv)
need_file "$bpe_codes" "$dict$authors_dict" "${tables[@]}"
start_steps "$work" "$bpe_codes" "$dict$authors_dict" "${tables[@]}"

if [ -n "$authors_dict" ]; then
  step "$work/dict" complete_authors_dict "$authors_dict" {}/dict.txt
  dict=$work/dict/dict.txt
fi
step "$work/rows" filter read_glue "$glue_dir" "$task" --output {} "${skip_malformed[@]}"

encode_texts() {
  map_lines --steps "$CLEANING,apply_bpe" "$work"/rows/*.input? --bpe-codes "$bpe_codes" \
    --output-dir "$1"
}
step "$work/bpe" encode_texts {}

# prefixes FOLDER COLUMN: fairseq-preprocess's options for the splits that are there.
prefixes() {
  local folder=$1 column=$2 kind
  printf '%s\n' --trainpref "$folder/train.$column"
  for kind in valid test; do
    [ -e "$folder/$kind.$column" ] || continue
    local files=$folder/$kind.$column
    [ ! -e "$folder/${kind}1.$column" ] || files+=,$folder/${kind}1.$column
    printf '%s\n' "--${kind}pref" "$files"
  done
}

make_task_bin() {
  local folder=$1 column options
  for column in input0 input1 label; do
    [ -e "$work/rows/train.$column" ] || continue
    if [ $column != label ]; then
      mapfile -t options < <(prefixes "$work/bpe" $column)
      binarize "$folder/$column" --srcdict "$dict" "${options[@]}"
    elif [ -e "$work/rows/label.dict.txt" ]; then
      mapfile -t options < <(prefixes "$work/rows" label)
      binarize "$folder/label" --srcdict "$work/rows/label.dict.txt" "${options[@]}"
    else # regression: fairseq reads the numbers from text files
      mkdir "$folder/label"
      cp "$work"/rows/*.label "$folder/label"
    fi
  done
}
step "$out/$task-bin" make_task_bin {}
echo "data: $out/$task-bin" >&2
