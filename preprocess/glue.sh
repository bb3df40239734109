#!/usr/bin/env bash
# GLUE's official TSV files, or a task of your own, in; data for --task sentence_prediction out.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'END'
usage: preprocess/glue.sh [options] GLUE_DIR TASK OUT_DIR
       preprocess/glue.sh --check GLUE_DIR TASK

Makes OUT_DIR/TASK-bin with input0, input1 (pairs), label and index (names of test rows), from
GLUE_DIR/TASK/*.tsv, with the text treatment of pretrain.sh. TASK: CoLA, SST-2, MRPC, STS-B, QQP,
MNLI, QNLI, RTE, WNLI (tupe_plugin/data/glue_tasks.toml), or ALL that are there. Interrupted,
run the same command again: it goes on. Splits: train, valid, test; MNLI's mismatched sets are valid1
and test1, the diagnostic set (AX) is MNLI's test2.
  --check                 compare columns and row counts with the official files; makes nothing

a task of your own, in GLUE_DIR/TASK (splits train, valid, test):
  --format tsv            train.tsv, dev.tsv, test.tsv with a header line
  --format jsonl          train.json, dev.json, test.json with an object on each line (as CLUE's)
  --format squad2         train-v2.0.json, dev-v2.0.json: is the question answerable from the text?
  --text-columns A[,B]    the columns or keys of the text, or of the pair's two texts
  --label-column L        the column or key of the label (default: label)
  --index-column I        the column or key that predictions of test rows are listed by
  --regression            labels are numbers

the pre-training's text treatment, units and dictionary, one of:
  --data-bin DIR          a folder that pretrain.sh or `tupe import` made: DIR/cleaning.txt, bpe.codes
                          (or vocab.txt, or encoder.json and vocab.bpe)
                          and dict.txt are used
  --bpe-codes FILE --dict FILE
                          the two files themselves; with --authors-dict FILE for a dictionary of
                          the original TUPE code (see pretrain.sh --help); with --tokenizer perl
                          for the Perl scripts of Moses
  --tokenizer wordpiece --vocab FILE
                          WordPiece units of a BERT checkpoint; --cased keeps case and accents;
                          with --dict FILE for another dictionary than the vocabulary's own
other:
  --skip-malformed        drop and count malformed training rows (always so for QQP, whose official
                          file has some); default: stop and name file and line
  --workers N             processes (default: all cores)
  -h, --help              this text

PYTHON names the Python that has fairseq (default python3).
END
}

data_bin="" bpe_codes="" dict="" authors_dict="" workers=0 skip_malformed=()
tokenizer="" vocab="" cased="" units="" passed=()
format=glue check="" text_columns="" label_column="" index_column="" regression=""
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --data-bin | --bpe-codes | --dict | --authors-dict | --tokenizer | --vocab | --workers | \
      --format | --text-columns | --label-column | --index-column)
      need_value "$1" $#
      [ "$1" != --workers ] || need_number "$1" "$2" 0
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      passed+=("$1" "$2")
      shift 2
      ;;
    --skip-malformed)
      skip_malformed=(--skip-malformed)
      passed+=("$1")
      shift
      ;;
    --check | --regression | --cased)
      name=${1#--}
      printf -v "$name" %s "$1"
      passed+=("$1")
      shift
      ;;
    -*) usage_error "unknown option $1" ;;
    *)
      arguments+=("$1")
      shift
      ;;
  esac
done

if [ -n "$check" ]; then
  [ ${#arguments[@]} -eq 2 ] && [ "$format" = glue ] || usage_error "give --check GLUE_DIR TASK"
  [ -d "${arguments[0]}" ] || fail "no such folder: ${arguments[0]}"
  need_packages
  exec "$PYTHON" -m tupe_plugin.data.read.check_glue "${arguments[@]}"
fi

[ ${#arguments[@]} -eq 3 ] || usage_error "give GLUE_DIR, TASK and OUT_DIR"
glue_dir=$(absolute "${arguments[0]}") task=${arguments[1]} out=$(absolute "${arguments[2]}")
data_bin=$(absolute "$data_bin") bpe_codes=$(absolute "$bpe_codes") vocab=$(absolute "$vocab")
dict=$(absolute "$dict") authors_dict=$(absolute "$authors_dict")
[ ! -e "$out" ] || [ -d "$out" ] || usage_error "OUT_DIR must be a folder, but $out is a file"
[ -n "$data_bin$bpe_codes$vocab" ] ||
  usage_error "give --data-bin, or --bpe-codes and --dict, or --tokenizer wordpiece and --vocab"
cleaning_steps "${tokenizer:-moses}"
if [ -n "$data_bin" ]; then
  [ -z "$tokenizer$vocab$cased" ] || usage_error "the tokenizer is that of --data-bin"
  if [ -e "$data_bin/cleaning.txt" ]; then CLEANING=$(cat "$data_bin/cleaning.txt"); fi
  if [ -e "$data_bin/vocab.txt" ]; then
    tokenizer=wordpiece vocab=$data_bin/vocab.txt
    ! grep -qs '"cased": "yes"' "$data_bin/manifest.json" || cased=--cased
  elif [ -e "$data_bin/encoder.json" ]; then
    tokenizer=gpt2 vocab=$data_bin/encoder.json bpe_codes=$data_bin/vocab.bpe
  else
    bpe_codes=${bpe_codes:-$data_bin/bpe.codes}
  fi
  [ -n "$dict$authors_dict" ] || dict=$data_bin/dict.txt
fi
if [ "$tokenizer" = wordpiece ]; then
  [ -n "$vocab" ] || usage_error "--tokenizer wordpiece needs --vocab FILE, a BERT vocab.txt"
  [ -z "$bpe_codes$authors_dict" ] || usage_error "WordPiece takes its units from --vocab, not from BPE codes"
elif [ "$tokenizer" != gpt2 ]; then
  [ -z "$vocab$cased" ] || usage_error "--vocab and --cased are for --tokenizer wordpiece"
  [ -n "$bpe_codes" ] && [ -n "$dict$authors_dict" ] || usage_error "give --data-bin, or --bpe-codes and --dict"
  units=,apply_bpe
fi
[ -z "$dict" ] || [ -z "$authors_dict" ] || usage_error "give --dict or --authors-dict, not both"
[ -d "$glue_dir" ] || fail "no such folder: $glue_dir"
need_packages
own=()
case $format in
  glue) [ -z "$text_columns$label_column$index_column$regression" ] ||
    usage_error "columns and --regression are for --format tsv, jsonl, squad2" ;;
  squad2) [ -z "$text_columns$label_column$index_column$regression" ] ||
    usage_error "--format squad2 has its own columns" ;;
  tsv | jsonl) [ -n "$text_columns" ] || usage_error "--format $format needs --text-columns" ;;
  *) usage_error "--format is glue, tsv, jsonl or squad2, not '$format'" ;;
esac
if [ "$format" != glue ]; then
  case $task in "" | . | .. | */* | ALL) usage_error "TASK must be a folder in GLUE_DIR" ;; esac
  [ -d "$glue_dir/$task" ] || fail "no such folder: $glue_dir/$task"
  own=(--format "$format")
  [ -z "$text_columns" ] || own+=(--text-columns "$text_columns")
  [ -z "$label_column" ] || own+=(--label-column "$label_column")
  [ -z "$index_column" ] || own+=(--index-column "$index_column")
  [ -z "$regression" ] || own+=(--regression)
elif [ "$task" = ALL ]; then
  tasks=$("$PYTHON" -m tupe_plugin.data.read.read_glue --list) || exit 1
  for task in $tasks; do
    if [ -d "$glue_dir/$task" ]; then
      "$0" "${passed[@]}" "$glue_dir" "$task" "$out"
    else
      echo "== $task: not in $glue_dir, left out" >&2
    fi
  done
  exit 0
fi

if [ "$format" = glue ]; then
  read_rows=(read_glue "$glue_dir" "$task")
else
  read_rows=(read_examples "$glue_dir/$task" "${own[@]}")
fi
work=$out/work/$task
tables=$("$PYTHON" -m "tupe_plugin.data.read.${read_rows[0]}" "${read_rows[@]:1}" --files) || exit 1
mapfile -t tables <<<"$tables"
inputs=("${tables[@]}")
for file in "$bpe_codes" "$vocab" "$dict" "$authors_dict"; do
  [ -z "$file" ] || inputs+=("$file")
done
need_file "${inputs[@]}"
start_steps "$work" "${inputs[@]}"

if [ -n "$authors_dict" ]; then
  step "$work/dict" complete_authors_dict "$authors_dict" {}/dict.txt
  dict=$work/dict/dict.txt
elif [ -z "$dict" ]; then
  step "$work/dict" filter units.write_wordpiece_dictionary --vocab "$vocab" --dict {}/dict.txt
  dict=$work/dict/dict.txt
fi
step "$work/rows" filter "read.${read_rows[@]}" --output {} "${skip_malformed[@]}"

unit_options=(--steps "$CLEANING$units")
[ -z "$bpe_codes" ] || unit_options+=(--bpe-codes "$bpe_codes")
[ -z "$vocab" ] || unit_options+=(--vocab "$vocab")
[ -z "$cased" ] || unit_options+=("$cased")
encode_texts() {
  map_lines "${unit_options[@]}" "$work"/rows/*.input? --output-dir "$1"
}
step "$work/bpe" encode_texts {} "${unit_options[@]}"

# prefixes FOLDER COLUMN: fairseq-preprocess's options for the splits that are there.
prefixes() {
  local folder=$1 column=$2 kind
  printf '%s\n' --trainpref "$folder/train.$column"
  for kind in valid test; do
    [ -e "$folder/$kind.$column" ] || continue
    local files=$folder/$kind.$column number
    for number in 1 2; do # fairseq-preprocess numbers them by their place in the list
      [ ! -e "$folder/$kind$number.$column" ] || files+=,$folder/$kind$number.$column
    done
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
  mkdir "$folder/index"
  cp "$work"/rows/*.index "$folder/index" 2>/dev/null || rmdir "$folder/index"
  # What another sentence must go through to look the same, as pretrain.sh records it.
  printf '%s\n' "$CLEANING" >"$folder/cleaning.txt"
  if [ "$tokenizer" = gpt2 ]; then
    cp "$vocab" "$bpe_codes" "$folder"
    [ ! -e "$data_bin/vocab.json" ] || cp "$data_bin/vocab.json" "$folder" # the order of an export
  else
    [ -z "$bpe_codes" ] || cp "$bpe_codes" "$folder/bpe.codes"
    [ -z "$vocab" ] || cp "$vocab" "$folder/vocab.txt"
  fi
  [ -z "$cased" ] || printf '{"options": {"cased": "yes"}}\n' >"$folder/manifest.json"
}
step "$out/$task-bin" make_task_bin {}
echo "data: $out/$task-bin" >&2
