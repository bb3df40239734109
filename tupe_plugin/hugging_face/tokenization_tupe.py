"""Moses and BPE as a tokenizer of Hugging Face's transformers: the ids of tupe_plugin's data.

dict.txt        fairseq's dictionary
bpe.codes       merges, as subword-nmt writes them
cleaning.txt    names of the steps that come before, separated by commas
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizer

try:
    from ..core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
    from ..data.dictionary_file import symbols_in
    from ..data.text_steps import TEXT_STEPS
    from ..data.text_treatment import LineStep, TextTreatment
    from ..data.units.apply_bpe import CONTINUED, BytePairEncoder, read_codes
except ModuleNotFoundError as error:
    raise ImportError(f"this tokenizer needs {error.name}: pip install {error.name}") from None

_FILES = {"vocab_file": "dict.txt", "codes_file": "bpe.codes", "steps_file": "cleaning.txt"}


class TupeTokenizer(PreTrainedTokenizer):
    """`<s> A </s>`, or `<s> A </s> B </s>` of a pair, with two `</s>` between if it was so trained.

    A string is treated as a whole, as in training: only `<mask>` is told apart, and what was added
    with `add_tokens`.

    Args:
        vocab_file, codes_file, steps_file: see above.
        pair_separators: `</s>` between the texts of a pair, 1 or 2.
    """

    vocab_files_names = _FILES
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 (transformers' own form)

    def __init__(
        self,
        vocab_file: str,
        codes_file: str,
        steps_file: str,
        *,
        pair_separators: int = 2,
        bos_token: str = "<s>",
        cls_token: str = "<s>",
        pad_token: str = "<pad>",
        eos_token: str = "</s>",
        sep_token: str = "</s>",
        unk_token: str = "<unk>",
        mask_token: str = MASK,
        **others: Any,
    ) -> None:
        symbols = [*FAIRSEQ_SYMBOLS, *symbols_in(Path(vocab_file)), MASK]
        self._symbols = symbols
        self._ids = {symbol: number for number, symbol in enumerate(symbols)}
        self._treatment = TextTreatment(_steps(Path(steps_file), Path(codes_file)))
        files = (vocab_file, codes_file, steps_file)
        contents = (Path(file).read_bytes() for file in files)
        self._files = dict(zip(_FILES.values(), contents, strict=True))
        self.pair_separators = pair_separators
        super().__init__(
            pair_separators=pair_separators,
            special_tokens_pattern="cls_sep" if pair_separators == 1 else "cls_double_sep",
            bos_token=bos_token,
            cls_token=cls_token,
            pad_token=pad_token,
            eos_token=eos_token,
            sep_token=sep_token,
            unk_token=unk_token,
            mask_token=mask_token,
            **others,
        )

    @property
    def vocab_size(self) -> int:
        """Without what was added."""
        return len(self._symbols)

    def get_vocab(self) -> dict[str, int]:
        return {**self._ids, **self._added_tokens_encoder}

    def tokenize(self, text: str, *unused: Any, **others: Any) -> list[str]:
        added = self._added_tokens_encoder.keys() - self._ids.keys()
        if any(token in text for token in added):
            return list(super().tokenize(text, **others))
        return self._tokenize(text)

    def _tokenize(self, text: str, **others: Any) -> list[str]:
        if MASK in text:
            return self._treatment.around_masks(text).split()
        return self._treatment([text])[0].split()

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, self._ids[str(self.unk_token)])

    def _convert_id_to_token(self, index: int) -> str:
        return self._symbols[index] if 0 <= index < len(self._symbols) else str(self.unk_token)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace(f"{CONTINUED} ", "")

    def save_vocabulary(
        self, save_directory: str, filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        paths = {Path(save_directory, prefix + name): text for name, text in self._files.items()}
        for path, text in paths.items():
            path.write_bytes(text)
        return tuple(map(str, paths))


def _steps(names: Path, codes: Path) -> dict[str, LineStep]:
    steps: dict[str, LineStep] = {}
    for name in filter(None, names.read_text(encoding="utf-8").strip().split(",")):
        if name not in TEXT_STEPS:
            raise ValueError(f"{names}: no step {name!r}; the steps are {', '.join(TEXT_STEPS)}")
        steps[name] = _each_line(TEXT_STEPS[name])
    steps["apply_bpe"] = _each_line(BytePairEncoder(read_codes(codes)))
    return steps


def _each_line(function: Any) -> LineStep:
    return lambda lines: [function(line) for line in lines]
