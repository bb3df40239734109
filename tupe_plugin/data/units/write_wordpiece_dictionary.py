"""Make the fairseq dictionary of a BERT vocabulary.

python -m tupe_plugin.data.units.write_wordpiece_dictionary --vocab vocab.txt --dict dict.txt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .apply_wordpiece import (
    BadVocabularyError,
    dictionary_text,
    read_vocabulary,
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make fairseq's dict.txt of a BERT vocab.txt.")
    parser.add_argument("--vocab", required=True, type=Path)
    parser.add_argument("--dict", required=True, type=Path)
    args = parser.parse_args(arguments)
    try:
        args.dict.write_text(dictionary_text(read_vocabulary(args.vocab)), encoding="utf-8")
    except (BadVocabularyError, UnicodeDecodeError, OSError) as error:
        parser.exit(1, f"apply_wordpiece: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
