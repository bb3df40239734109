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

# One text treatment for pre-training and fine-tuning: a word looks the same in both.
CLEANING=normalize_punctuation,remove_nonprinting,tokenize_words,lowercase_text

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
  [[ $2 =~ ^[0-9]{1,9}$ ]] && [ "$2" -ge "$3" ] ||
    usage_error "$1 must be a whole number from $3 on, not '$2'"
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

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# absolute PATH: the same spelling from every folder, so that a rerun finds its steps.
absolute() {
  case $1 in
    "" | /*) printf %s "$1" ;;
    *) printf %s "${PWD%/}/${1#./}" ;;
  esac
}

# start_steps FOLDER INPUT...: begins the record with the programs' versions and the inputs' hashes.
start_steps() {
  local folder=$1
  shift
  command -v "$PYTHON" >/dev/null || fail "no $PYTHON: set PYTHON to the one that has fairseq"
  local versions
  versions=$("$PYTHON" -c '
from importlib import metadata
for name in ("sacremoses", "regex", "tokenizers", "tqdm", "fairseq"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        raise SystemExit(f"the package {name} is not installed for '"$PYTHON"'; set PYTHON")
' 2>&1) || fail "${versions##*$'\n'}"
  mkdir -p "$folder" || fail "cannot make the folder $folder"
  if command -v flock >/dev/null; then
    exec 9>>"$folder/.lock"
    flock -n 9 || fail "another run is at work in $folder"
  fi
  record=$versions$'\n'$(
    cd "$root/preprocess"
    sha256 ./*.sh filters/*.py ../tupe_plugin/commands/glue_tasks.*
  )
  [ $# -eq 0 ] || record+=$'\n'$(sha256 "$@")
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
  printf '%s\n' "$record" >"$folder.part/stamp.txt"
  rm -rf "$folder"
  mv "$folder.part" "$folder"
}

# filter NAME ARGUMENT...: a filter that is a program of its own.
filter() {
  local name=$1
  shift
  "$PYTHON" -m "preprocess.filters.$name" "$@" 9>&-
}

# map_lines ARGUMENT...: the number of workers changes no byte, so it is not in the record.
map_lines() {
  filter map_lines --workers "$workers" "$@"
}

# binarize FOLDER ARGUMENT...: fairseq-preprocess of the same Python; its long log goes to a file.
binarize() {
  local log=$1/fairseq-preprocess.log cores=$workers
  mkdir -p "$1"
  [ "$cores" -gt 0 ] || cores=$(
    "$PYTHON" -c 'from preprocess.filters.map_lines import all_cores; print(all_cores())'
  )
  "$PYTHON" -m fairseq_cli.preprocess --only-source --workers "$cores" --destdir "$@" \
    >"$log" 2>&1 9>&- || {
    local status=$?
    tail -n 5 "$log" >&2
    return "$status"
  }
  rm -f "$1/preprocess.log"
  grep -o '\[None\].*' "$log" | grep -v Dictionary >&2 || true
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
