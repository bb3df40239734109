#!/usr/bin/env bash
# Plain text in, fairseq data for masked-LM pre-training out.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() {
  cat <<'END'
usage: preprocess/pretrain.sh [options] SOURCE... OUT_DIR

Takes text out of its sources, cleans, tokenises, lower-cases and BPE-encodes it and makes
OUT_DIR/data-bin, which fairseq-train reads. SOURCE: text in UTF-8 (a line is a paragraph or a
sentence, an empty line ends a document; lines wrapped at a fixed width are joined), a MediaWiki
dump (.xml), or a folder with such files; each also .gz, .bz2, .xz, .zst. Interrupted, run the same
command again: it goes on. OUT_DIR/work holds what lies between; it can be removed when data-bin is
made. OUT_DIR/data-bin/manifest.json says what it was made from.

text:
  --wrapped auto|yes|no   are the lines of text files wrapped at a fixed width? (default auto: each
                          file is judged by itself, and what was found is said)
  --skip STEP,...         leave out steps, of: filter_paragraphs, replace_addresses,
                          clean_punctuation, normalize_punctuation, remove_nonprinting,
                          segment_sentences, lowercase_text, merge_short_sentences
  --min-letters N         drop paragraphs of fewer letters (default 50)
  --min-letter-share R    drop paragraphs with a smaller share of letters (default 0.7)
  --any-alphabet          letters of any script count as letters (default: A-Z and a-z)
  --language L            of the sentences, ISO 639-1 (default en)
  --min-sentence-words N  join shorter sentences to their neighbours (default 5)
  --split-hyphens         light-hearted -> light - hearted, as the original TUPE data has it
  --dedup documents|lines|none
                          what is kept only once (default documents)
validation text:
  --valid FILE            take it from this file (default: taken out of the sources)
  --valid-ratio R         share of the documents taken for validation (default 0.005)
  --valid-block-lines N   treat every N lines of a longer document as one (default 200)
  --seed N                another choice of documents (default 1)
vocabulary:
  --tokenizer moses|perl|wordpiece
                          sacremoses (default); the Perl scripts of third_party/mosesdecoder; or the
                          WordPiece units of a BERT checkpoint, with its --vocab and without BPE
  --vocab FILE            a BERT vocab.txt
  --cased                 WordPiece keeps case and accents
  --bpe-merges N          how many BPE merges to learn (default 32000)
  --bpe-codes FILE        use these merges (subword-nmt or fastBPE format) and learn none
  --dict FILE             use this fairseq dictionary and make none
  --authors-dict FILE     the same for a dictionary of the original TUPE code, which leaves out
                          its special symbols <file>, <email>, <url>: they are put first
  --vocab-size N          keep the N most frequent units, fairseq's --nwordssrc (default: all)
  --threshold N           drop units seen less than N times, fairseq's --thresholdsrc (default 0)
several machines:
  --shard I/N             only clean the I-th of N parts (I from 1), for N jobs side by side
  --merge N               when all N are done: the same command with this goes on with them; the
                          result is the same, byte for byte, as without shards
other:
  --max-line-tokens N     cut lines of more than N units at a sentence end (default 510: fits
                          --tokens-per-sample 512 with --sample-break-mode complete)
  --workers N             processes (default: all cores)
  -h, --help              this text

PYTHON names the Python that has fairseq (default python3).
END
}

wrapped=auto skip="" min_letters=50 min_letter_share=0.7 any_alphabet="" language=en
min_sentence_words=5 split_hyphens="" dedup=documents
valid="" valid_ratio=0.005 valid_block_lines=200 seed=1
tokenizer=moses vocab="" cased=""
bpe_merges=32000 bpe_codes="" dict="" authors_dict="" vocab_size=-1 threshold=0
shard="" merge="" max_line_tokens=510 workers=0
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --any-alphabet | --split-hyphens | --cased)
      name=${1#--}
      printf -v "${name//-/_}" %s "$1"
      shift
      ;;
    --wrapped | --skip | --min-letter-share | --language | --dedup | --valid | --valid-ratio | \
      --tokenizer | --vocab | --bpe-codes | --dict | --authors-dict | --shard)
      need_value "$1" $#
      name=${1#--}
      printf -v "${name//-/_}" %s "$2"
      shift 2
      ;;
    --min-letters | --min-sentence-words | --valid-block-lines | --bpe-merges | --vocab-size | \
      --max-line-tokens | --merge | --seed | --threshold | --workers)
      need_value "$1" $#
      case $1 in
        --min-letters | --min-sentence-words | --seed | --threshold | --workers) smallest=0 ;;
        *) smallest=1 ;;
      esac
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

[ ${#arguments[@]} -ge 2 ] || usage_error "give at least one SOURCE and OUT_DIR"
out=$(absolute "${arguments[-1]}")
sources=()
for source in "${arguments[@]:0:${#arguments[@]}-1}"; do sources+=("$(absolute "$source")"); done
valid=$(absolute "$valid") bpe_codes=$(absolute "$bpe_codes") vocab=$(absolute "$vocab")
dict=$(absolute "$dict") authors_dict=$(absolute "$authors_dict")
[ ! -e "$out" ] || [ -d "$out" ] || usage_error "OUT_DIR must be a folder, but $out is a file"
[[ $valid_ratio =~ ^0?\.[0-9]+$ ]] || usage_error "--valid-ratio must be between 0 and 1, not '$valid_ratio'"
[[ $min_letter_share =~ ^(0|1|0?\.[0-9]+)$ ]] || usage_error "--min-letter-share must be from 0 to 1, not '$min_letter_share'"
[[ $wrapped =~ ^(auto|yes|no)$ ]] || usage_error "--wrapped must be auto, yes or no, not '$wrapped'"
[[ $dedup =~ ^(documents|lines|none)$ ]] || usage_error "--dedup must be documents, lines or none, not '$dedup'"
[ -z "$dict" ] || [ -z "$authors_dict" ] || usage_error "give --dict or --authors-dict, not both"
if [ -n "$shard" ]; then
  [[ $shard =~ ^([1-9][0-9]{0,4})/([1-9][0-9]{0,4})$ ]] && [ "${BASH_REMATCH[1]}" -le "${BASH_REMATCH[2]}" ] ||
    usage_error "--shard must be I/N with I from 1 to N, not '$shard'"
  [ -z "$merge" ] || usage_error "give --shard or --merge, not both"
fi
if [ "$tokenizer" = wordpiece ]; then
  [ -n "$vocab" ] || usage_error "--tokenizer wordpiece needs --vocab FILE, a BERT vocab.txt"
  [ -z "$bpe_codes$dict$authors_dict$split_hyphens" ] ||
    usage_error "--tokenizer wordpiece takes its units from --vocab: no --bpe-codes, --dict, --split-hyphens"
else
  [ -z "$vocab$cased" ] || usage_error "--vocab and --cased are for --tokenizer wordpiece"
fi

# The steps of a document's text, in order.
cleaning_steps "$tokenizer"
[ -z "$split_hyphens" ] || CLEANING_TEXT+=,split_hyphens
steps=filter_paragraphs,${CLEANING_TEXT:+$CLEANING_TEXT,}segment_sentences,$CLEANING_WORDS,merge_short_sentences
kept=,$steps,
for skipped in ${skip//,/ }; do
  [[ $skipped != *tokenize_words && $skipped != apply_wordpiece && $kept == *,$skipped,* ]] ||
    usage_error "--skip: '$skipped' cannot be left out; those that can: see --help"
  kept=${kept/,$skipped,/,}
done
steps=${kept#,} steps=${steps%,}
# What GLUE's lines must go through to look the same.
line_steps=${kept/,filter_paragraphs,/,} line_steps=${line_steps/,segment_sentences,/,}
line_steps=${line_steps/,merge_short_sentences,/,} line_steps=${line_steps#,} line_steps=${line_steps%,}

need_packages
need_source "${sources[@]}"
inputs=("${sources[@]}")
for file in "$valid" "$vocab" "$bpe_codes" "$dict" "$authors_dict"; do
  [ -z "$file" ] || { need_file "$file" && inputs+=("$file"); }
done

work=$out/work
[ -z "$shard" ] || lock=.lock-${shard/\//-of-}
start_steps "$out" "${inputs[@]}"

clean_options=(--steps "$steps" --wrapped "$wrapped" --language "$language" --min-letters "$min_letters"
  --min-letter-share "$min_letter_share" --min-sentence-words "$min_sentence_words")
[ -z "$any_alphabet" ] || clean_options+=("$any_alphabet")
[ -z "$vocab" ] || clean_options+=(--vocab "$vocab")
[ -z "$cased" ] || clean_options+=("$cased")
# clean_shard I/N: the command, so that the jobs that make the shards and the merge agree on it.
clean_shard() {
  command=(clean_documents "${clean_options[@]}" --shard "$1" --output {}/text --counts {}/counts.json
    "${sources[@]}")
}
if [ -n "$shard" ]; then
  clean_shard "$shard"
  step "$work/clean-${shard/\//-of-}" "${command[@]}"
  echo "shard: $work/clean-${shard/\//-of-}; when all are there: the same command with --merge ${shard#*/}" >&2
  exit 0
fi
cleaned=()
if [ -n "$merge" ]; then
  for ((number = 1; number <= merge; number++)); do
    clean_shard "$number/$merge"
    cleaned+=("$work/clean-$number-of-$merge")
    need_step "${cleaned[-1]}" "run the same command with --shard $number/$merge instead of --merge" \
      "${command[@]}"
  done
fi
clean_shard 1/1
if [ -n "$merge" ]; then
  record+=$'\n'"${command[*]}" # what follows does not depend on the number of shards
else
  step "$work/clean" "${command[@]}"
  cleaned=("$work/clean")
fi

# join_shards UNIT TO FOLDER...: not in the record: the shards' folders, which change no byte.
join_shards() {
  local unit=$1 to=$2
  shift 2
  filter text.drop_duplicates --unit "$unit" --output "$to/text" --counts "$to/counts.json" "${@/%//text}"
}
join_cleaned() {
  join_shards "$1" "$2" "${cleaned[@]}"
}
step "$work/text" join_cleaned "$dedup" {}
if [ -n "$valid" ]; then
  train_text=$work/text/text valid_text=$work/text-valid/text
  step "$work/clean-valid" clean_documents "${clean_options[@]}" --output {}/text \
    --counts {}/counts.json "$valid"
  step "$work/text-valid" join_shards none {} "$work/clean-valid"
else
  train_text=$work/split/train valid_text=$work/split/valid
  step "$work/split" filter text.split_documents "$work/text/text" --train {}/train --valid {}/valid \
    --valid-ratio "$valid_ratio" --block-lines "$valid_block_lines" --seed "$seed" \
    --counts {}/counts.json
fi

unit_options=(--steps split_long_lines --max-line-tokens "$max_line_tokens")
if [ "$tokenizer" != wordpiece ]; then
  if [ -z "$bpe_codes" ]; then
    bpe_codes=$work/codes/bpe.codes
    step "$work/codes" filter units.learn_bpe --merges "$bpe_merges" --output {}/bpe.codes "$train_text"
  fi
  unit_options=(--steps "apply_bpe,split_long_lines" --max-line-tokens "$max_line_tokens"
    --bpe-codes "$bpe_codes")
fi
for split in train valid; do
  text=${split}_text
  step "$work/bpe-$split" map_lines "${unit_options[@]}" "${!text}" --output {}/$split \
    --counts {}/counts.json
done

if [ -n "$authors_dict" ]; then
  step "$work/dict" complete_authors_dict "$authors_dict" {}/dict.txt
  dict=$work/dict/dict.txt
elif [ -n "$vocab" ]; then
  step "$work/dict" filter units.write_wordpiece_dictionary --vocab "$vocab" --dict {}/dict.txt
  dict=$work/dict/dict.txt
fi
make_data_bin() {
  local folder=$1 split counts=()
  shift
  if [ -n "$vocab" ]; then cp "$vocab" "$folder/vocab.txt"; else cp "$bpe_codes" "$folder/bpe.codes"; fi
  printf '%s\n' "$line_steps" >"$folder/cleaning.txt"
  binarize "$folder" --trainpref "$work/bpe-train/train" --validpref "$work/bpe-valid/valid" "$@"
  printf '%s\n' "$input_hashes" >"$work/inputs.sha256"
  counts=("${cleaned[@]/#/clean=}")
  counts=("${counts[@]/%//counts.json}")
  for split in text $([ -z "$valid" ] && echo split || echo clean-valid) bpe-train bpe-valid; do
    counts+=("$split=$work/$split/counts.json")
  done
  filter write.make_manifest --data-bin "$folder" --inputs "$work/inputs.sha256" \
    --text "train=$work/bpe-train/train" --text "valid=$work/bpe-valid/valid" \
    "${counts[@]/#/--counts=}" "${manifest_options[@]/#/--option=}"
}
manifest_options=("steps=$steps" "tokenizer=$tokenizer" "wrapped=$wrapped" "language=$language"
  "min-letters=$min_letters" "min-letter-share=$min_letter_share" "any-alphabet=${any_alphabet:+yes}"
  "min-sentence-words=$min_sentence_words" "cased=${cased:+yes}" "dedup=$dedup"
  "valid-ratio=$valid_ratio" "valid-block-lines=$valid_block_lines" "seed=$seed"
  "bpe-merges=$bpe_merges" "vocab-size=$vocab_size" "threshold=$threshold"
  "max-line-tokens=$max_line_tokens")
source_dict=()
[ -z "$dict" ] || source_dict=(--srcdict "$dict")
step "$out/data-bin" make_data_bin {} --nwordssrc "$vocab_size" --thresholdsrc "$threshold" \
  "${source_dict[@]}"
units=$(wc -l <"$out/data-bin/dict.txt")
echo "data: $out/data-bin (${units// /} units; with dict.txt, manifest.json and the means to encode other text)"
