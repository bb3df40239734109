# Sourced by pretrain.sh and glue.sh: restartable steps and clear errors.
#
# A step makes one folder. It works in FOLDER.part, which is renamed when the step is complete, so
# that a folder which exists is whole. FOLDER/stamp.txt lists what the folder was made from: the
# step's command, and before it every earlier command, the hashes of the input files and the
# versions of the programs. A rerun skips the steps whose stamp is still right.

set -euo pipefail

PYTHON=${PYTHON:-python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# One text treatment for pre-training and fine-tuning: a word looks the same in both. These steps keep
# a line a line; pretrain.sh adds those of documents around them, between text and words.
#
# cleaning_steps TOKENIZER: sets CLEANING, and its two parts CLEANING_TEXT and CLEANING_WORDS.
cleaning_steps() {
  CLEANING_TEXT=replace_addresses,clean_punctuation,normalize_punctuation,remove_nonprinting
  CLEANING_WORDS=tokenize_words,lowercase_text
  case $1 in
    moses) ;;
    perl)
      CLEANING_TEXT=${CLEANING_TEXT/normalize_punctuation/perl_normalize_punctuation}
      CLEANING_TEXT=${CLEANING_TEXT/remove_nonprinting/perl_remove_nonprinting}
      CLEANING_WORDS=perl_$CLEANING_WORDS
      ;;
    wordpiece) # BERT's own treatment of the text is a part of it
      CLEANING_TEXT=""
      CLEANING_WORDS=apply_wordpiece
      ;;
    *) usage_error "--tokenizer must be moses, perl or wordpiece, not '$1'" ;;
  esac
  CLEANING=${CLEANING_TEXT:+$CLEANING_TEXT,}$CLEANING_WORDS
}
cleaning_steps moses

fail() {
  echo "$(basename "$0"): $1" >&2
  exit "${2:-1}"
}

usage_error() {
  fail "$1 (see $(basename "$0") --help)" 2
}

# need_value OPTION REMAINING_ARGUMENTS
need_value() {
  [ "$2" -ge 2 ] || usage_error "$1 needs a value"
}

# need_number OPTION VALUE SMALLEST
need_number() {
  local largest=999999999
  [ "$1" != --workers ] || largest=4096
  [[ $2 =~ ^[0-9]{1,9}$ ]] && [ "$((10#$2))" -ge "$3" ] && [ "$((10#$2))" -le "$largest" ] ||
    usage_error "$1 must be a whole number from $3 to $largest, not '$2'"
}

# need_file FILE...
need_file() {
  local file
  for file in "$@"; do
    [ -e "$file" ] || fail "no such file: $file"
    [ -f "$file" ] || fail "not a file: $file"
    [ -r "$file" ] || fail "not readable: $file"
    [ -s "$file" ] || fail "the file is empty: $file"
  done
}

# need_source FILE_OR_FOLDER...
need_source() {
  local source
  for source in "$@"; do
    if [ -d "$source" ]; then
      [ -r "$source" ] && [ -x "$source" ] || fail "not readable: $source"
      [ -n "$(find "$source" -type f -print -quit)" ] || fail "no file in the folder: $source"
    else
      need_file "$source"
    fi
  done
}

# sha256 FILE_OR_FOLDER...: a line for each file, those of a folder sorted by their paths.
sha256() {
  local path
  for path in "$@"; do
    if [ -d "$path" ]; then find "$path" -type f -print0 | LC_ALL=C sort -z; else printf '%s\0' "$path"; fi
  done | sha256_of_names
}

sha256_of_names() {
  if command -v sha256sum >/dev/null; then xargs -0 sha256sum; else xargs -0 shasum -a 256; fi
}

# absolute PATH: the same spelling from every folder, so that a rerun finds its steps.
absolute() {
  case $1 in
    "" | /*) printf %s "$1" ;;
    *) printf %s "${PWD%/}/${1#./}" ;;
  esac
}

# need_packages: what the steps import is installed for $PYTHON; sets $versions for the record.
need_packages() {
  local advice="activate the environment that \`make demo\` or \`make install\` made (. .venv/bin/activate),"
  advice+=" or set PYTHON to the Python of another that has fairseq"
  command -v "$PYTHON" >/dev/null || fail "no $PYTHON: $advice"
  versions=$("$PYTHON" -c '
from importlib import metadata
import sys
versions, missing = ["python %d %d" % sys.version_info[:2]], []
for name in (
    *("sacremoses", "regex", "tokenizers", "tqdm", "fairseq"),
    *("mwparserfromhell", "numpy", "sentencex", "zstandard"),
):
    try:
        versions.append(f"{name} {metadata.version(name)}")
    except metadata.PackageNotFoundError:
        missing.append(name)
print(*(missing or versions), sep=", " if missing else "\n")
sys.exit(bool(missing))
') || fail "$PYTHON has no $versions: $advice"
}

# start_steps FOLDER INPUT...: takes the lock ($lock, if set: shards run side by side) and begins the record with the programs' versions and the inputs' hashes.
start_steps() {
  local folder=$1
  shift
  mkdir -p "$folder" || fail "cannot make the folder $folder"
  if command -v flock >/dev/null; then
    exec 9>>"$folder/${lock:-.lock}" || fail "cannot write in $folder"
    flock -n 9 || fail "another run is at work in $folder"
  fi
  record=$versions$'\n'$(
    cd "$root/preprocess"
    sha256 ./*.sh ../tupe_plugin/data/{*.py,*.toml,*/*.py,*/*.txt}
  )
  input_hashes=""
  [ $# -eq 0 ] || input_hashes=$(sha256 "$@")
  record+=$'\n'$input_hashes
}

# need_step FOLDER MESSAGE COMMAND...: fails unless the step was made elsewhere from the same.
need_step() {
  local folder=$1 message=$2 shard_record
  shift 2
  shard_record=$record$'\n'"$*"
  [ -f "$folder/stamp.txt" ] || fail "no $folder: $message"
  [ "$(cat "$folder/stamp.txt")" = "$shard_record" ] ||
    fail "$folder was made from other inputs, options or versions: $message"
}

# step FOLDER COMMAND...: the command writes into the folder that it is given as {}.
step() {
  local folder=$1
  shift
  record+=$'\n'"$*"
  if [ -f "$folder/stamp.txt" ] && [ "$(cat "$folder/stamp.txt")" = "$record" ]; then
    echo "== $(basename "$folder"): done before" >&2
    return
  fi
  if [ -e "$folder" ] && [ ! -f "$folder/stamp.txt" ]; then
    fail "$folder exists and was not made here; remove it or choose another folder"
  fi
  echo "== $(basename "$folder")" >&2
  rm -rf "$folder.part"
  mkdir -p "$folder.part"
  local status
  set +e # and -e again inside: it would be off in a function called before || or in if
  (
    set -e
    "${@//\{\}/$folder.part}"
  )
  status=$?
  set -e
  [ "$status" -lt 128 ] || fail "interrupted; run the same command again to go on" "$status"
  [ "$status" -eq 0 ] || fail "the step '$(basename "$folder")' failed (see above)" "$status"
  printf '%s\n' "$record" >"$folder.part/stamp.txt" || fail "cannot write in $folder.part"
  rm -rf "$folder"
  mv "$folder.part" "$folder"
}

# filter NAME ARGUMENT...: a filter that is a program of its own.
filter() {
  local name=$1
  shift
  "$PYTHON" -m "tupe_plugin.data.$name" "$@" 9>&-
}

# map_lines ARGUMENT...: the number of workers changes no byte, so it is not in the record.
map_lines() {
  filter text.map_lines --workers "$workers" "$@"
}

# clean_documents ARGUMENT...: the same.
clean_documents() {
  filter text.clean_documents --workers "$workers" "$@"
}

# binarize FOLDER ARGUMENT...: fairseq-preprocess of the same Python; its long log goes to a file.
binarize() {
  local log=$1/fairseq-preprocess.log cores=$workers
  mkdir -p "$1"
  [ "$cores" -gt 0 ] || cores=$(
    "$PYTHON" -c 'from tupe_plugin.data.worker_pool import all_cores; print(all_cores())'
  )
  "$PYTHON" -m tupe_plugin fairseq-preprocess --only-source --workers "$cores" --destdir "$@" \
    >"$log" 2>&1 9>&- || {
    local status=$?
    echo "fairseq-preprocess: $(tail -n 1 "$log") (all it said: $log)" >&2
    return "$status"
  }
  rm -f "$1/preprocess.log"
  # "... [None] FOLDER/train: 9 sents, ..." -> "train: 9 sents, ..."
  sed -nE 's|.*\[None\] .*/([^/:]+: [0-9]+ sents.*)|\1|p' "$log" >&2
}

# complete_authors_dict FROM TO: the original TUPE code keeps <file>, <email>, <url> out of its
# dict.txt and puts them first itself; stock fairseq needs them in the file, else every id is off.
complete_authors_dict() {
  if [ "$(head -n 1 "$1" | cut -d " " -f 1)" = "<file>" ]; then
    cp "$1" "$2"
  else
    { printf '%s 1\n' "<file>" "<email>" "<url>" && cat "$1"; } >"$2"
  fi
}

trap 'fail "interrupted; run the same command again to go on" 130' INT
trap 'fail "stopped; run the same command again to go on" 143' TERM
