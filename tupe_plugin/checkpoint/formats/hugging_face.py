"""What the families of Hugging Face's transformers have in common; each file beside has a table.

| a family's table | both ways                                                        |
|------------------|------------------------------------------------------------------|
| ``model_type``   | how its folder is told: the entry of that name in `config.json`  |
| ``keys``         | names of parameters                                              |
| ``sizes``, ``more``, ``fixed`` | `config.json` and the options of `--arch tupe_*`   |
| ``specials``     | fairseq's special symbols, which have the first rows and the last |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...core.bounds import DROPOUT, LAYER_NORM_EPS, MAX_POSITIONS
from ...core.dictionary_symbols import FAIRSEQ_SYMBOLS, MASK
from ..errors import UnusableCheckpointError
from ..settings import BEFORE_THERE_WERE_OPTIONS
from .config_values import like, one_of, real, whole
from .key_table import KeyTable
from .older_names import give_todays_names
from .our_names import CARRIED, ENCODER, HEAD, LM_HEAD, POOLER
from .vocabulary_rows import take_rows

OWN_SPECIALS = {symbol: symbol for symbol in (*FAIRSEQ_SYMBOLS, MASK)}
"""Of a vocabulary that was made for fairseq."""
SEPARATORS = "pair_separators"
"""A setting of ours in `config.json`, where a model has another number of them than its family."""
POST_LN = {
    "embedding_normalize": True,
    "encoder_normalize_before": False,
    "pooler_activation_fn": "tanh",
}
"""Options of ours that every family has."""
ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "gelu_accurate": "gelu_new"}
"""fairseq's name -> theirs."""
_OTHER_NAMES = {"gelu_pytorch_tanh": "gelu_accurate", "gelu_fast": "gelu_accurate"}
_PLAIN = {
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "position_embedding_type": "absolute",
    "quantization_config": None,
    "pruned_heads": {},
}
"""Settings of theirs that may have no other value."""
_SIZES = {
    "num_hidden_layers": "encoder_layers",
    "hidden_size": "encoder_embed_dim",
    "intermediate_size": "encoder_ffn_embed_dim",
    "num_attention_heads": "encoder_attention_heads",
}
_REALS = {
    "layer_norm_eps": ("layer_norm_eps", 1e-12, LAYER_NORM_EPS),
    "hidden_dropout_prob": ("dropout", 0.1, DROPOUT),
    "attention_probs_dropout_prob": ("attention_dropout", 0.1, DROPOUT),
}


@dataclass(frozen=True)
class HuggingFaceFamily:
    """The table of one family."""

    model_type: str
    class_name: str
    """Of their bare model, without "Model" at its end."""
    keys: KeyTable
    specials: Mapping[str, str]
    """fairseq's symbol -> theirs; what is in a sequence before, between and behind the texts."""
    fixed: Mapping[str, Any]
    """Options of ours that are the same in every model of the family."""
    sizes: Mapping[str, str] = field(default_factory=dict)
    """More sizes than those of every encoder: their name -> ours."""
    more: Mapping[str, str] = field(default_factory=dict)
    """More settings, numbers and yes or no, in the same way."""
    names: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    """More settings with names for values: their name -> ours, and our value -> theirs."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Settings of theirs with one value."""
    special_ids: Mapping[str, str] = field(default_factory=dict)
    """Settings of theirs which the model reads that are ids of special symbols -> fairseq's."""
    wordpiece_specials: Mapping[str, str] | None = None
    """What `specials` is for a vocabulary of WordPiece, if that differs."""
    activations: Mapping[str, str] = field(default_factory=lambda: ACTIVATIONS)
    """fairseq's name -> theirs."""
    lm_head_activation: str | None = None
    """Of the masked-LM head, if it is not the encoder's."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Second names of parameters, which some files hold: name -> the first one."""
    classifier_dropout: tuple[str, ...] = ("pooler_dropout",)
    """Options of ours for their setting of this name."""
    head_is_pooler: bool = False
    """Whether the dense layer of a classifier is the pre-trained pooler."""
    auto_map: Mapping[str, str] = field(default_factory=dict)
    """Where transformers finds the code of a model that is not its own: in the model's folder."""
    separators: int = 1
    """Between the texts of a pair, unless a model's configuration says another number."""

    @property
    def word_embedding(self) -> str:
        """How the name of their embedding of tokens ends, with a head on the model or without."""
        name = self.keys.their_name(f"{ENCODER}embed_tokens.weight")
        return name.removeprefix(f"{self.model_type}.")

    @property
    def has_types(self) -> bool:
        """Whether its tokenizer has to tell the second text of a pair from the first."""
        return "type_vocab_size" in self.sizes

    def for_vocabulary(self, kind: str) -> HuggingFaceFamily:
        """The table of a model whose vocabulary is of this kind."""
        if kind == "moses":
            return replace(self, specials=OWN_SPECIALS)
        if kind == "wordpiece" and self.wordpiece_specials is not None:
            return replace(self, specials=self.wordpiece_specials)
        return self

    # ---- configuration

    def options(self, config: Mapping[str, Any], path: object) -> dict[str, Any]:
        """The options of `--arch tupe_*` for their configuration.

        Raises:
            UnusableCheckpointError: something is missing, or such a model is not read.
        """
        for name, only in {**_PLAIN, **self.constants}.items():
            value = config.get(name)
            if value is not None and value != only:
                raise UnusableCheckpointError(
                    f"{path}: {name} is {value!r}; only {only!r} is supported"
                )
        unread = self.fixed.get("position_offset", 0)
        lowest = {"max_positions": MAX_POSITIONS.low + unread}
        options: dict[str, Any] = {
            ours: whole(config, name, path, low=lowest.get(ours, 1))
            for name, ours in self._all_sizes.items()
        }
        options["max_positions"] -= unread
        for name, (ours, default, bound) in _REALS.items():
            options[ours] = real(config, name, path, default=default, bound=bound)
        known = {theirs: ours for ours, theirs in self.activations.items()}
        known |= {other: ours for other, ours in _OTHER_NAMES.items() if ours in self.activations}
        act = one_of(known, config.get("hidden_act", "gelu"), "hidden_act", path)
        dropout = real(config, "classifier_dropout", path, default=options["dropout"])
        options |= {"activation_fn": act, **dict.fromkeys(self.classifier_dropout, dropout)}
        for name, ours in self.more.items():
            options[ours] = like(BEFORE_THERE_WERE_OPTIONS[ours], config, name, path)
        for name, (ours, values) in self.names.items():
            back = {theirs: value for value, theirs in values.items()}
            options[ours] = one_of(back, config.get(name), name, path)
        return {**self.fixed, **options}

    def config(self, options: Mapping[str, Any], path: object) -> dict[str, Any]:
        """Their configuration for options of ours.

        Raises:
            UnusableCheckpointError: no model of the family is like that.
        """
        problem = self.misfit(options)
        if problem is not None:
            raise UnusableCheckpointError(f"{path}: {problem}")
        config = {name: int(options[ours]) for name, ours in self._all_sizes.items()}
        config["max_position_embeddings"] += self.fixed.get("position_offset", 0)
        return {
            "model_type": self.model_type,
            **config,
            **{
                name: real(options, ours, path, default=default, bound=bound)
                for name, (ours, default, bound) in _REALS.items()
            },
            "hidden_act": self.activations[_activation(options)],
            "classifier_dropout": real(options, "pooler_dropout", path, default=0.1),
            **{
                name: like(BEFORE_THERE_WERE_OPTIONS[ours], options, ours, path)
                for name, ours in self.more.items()
            },
            **{
                name: one_of(values, options.get(ours), ours, path)
                for name, (ours, values) in self.names.items()
            },
            **self.constants,
            **({"auto_map": dict(self.auto_map)} if self.auto_map else {}),
        }

    def separators_of(self, config: Mapping[str, Any], path: object) -> int:
        """Symbols between the texts of a pair.

        Raises:
            UnusableCheckpointError: there are neither one nor two.
        """
        return one_of({1: 1, 2: 2}, config.get(SEPARATORS, self.separators), SEPARATORS, path)

    def check_special_ids(self, config: Mapping[str, Any], rows: list[int], path: object) -> None:
        """Hold what the model says of special symbols against their rows in the vocabulary.

        Raises:
            UnusableCheckpointError: they differ.
        """
        for name, symbol in self.special_ids.items():
            row = rows[FAIRSEQ_SYMBOLS.index(symbol)]
            if config.get(name, row) != row:
                raise UnusableCheckpointError(
                    f"{path}: {name} is {config[name]!r}, and in the vocabulary "
                    f"{self.specials[symbol]} has the id {row}"
                )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why no model of the family has these options; None: one may have them."""
        for name, only in self.fixed.items():
            value = options.get(name, only)
            if value != only and name not in self._all_sizes.values():
                return f"{name} is {value!r}, and in {self.class_name}Model {only!r}"
        if _activation(options) not in self.activations:
            known = ", ".join(self.activations)
            return f"activation_fn is {_activation(options)}, and may be {known}"
        return None

    def misfit_of_lm_head(
        self, state: Mapping[str, Tensor], options: Mapping[str, Any]
    ) -> str | None:
        """What differs between the two masked-LM heads; ours has the encoder's activation."""
        act, only = _activation(options), self.lm_head_activation
        has_one = f"{LM_HEAD}bias" in state and f"{HEAD}out_proj.weight" not in state
        if has_one and only not in (None, act):
            return f"the activation is {act}, and that of {self.class_name}'s masked-LM head {only}"
        return None

    @property
    def _all_sizes(self) -> dict[str, str]:
        return {**_SIZES, "max_position_embeddings": "max_positions", **self.sizes}

    # ---- parameters

    def to_ours(
        self, state: dict[str, Tensor], *, rows: list[int], path: object
    ) -> dict[str, Tensor]:
        """Their parameters as a checkpoint of `--arch tupe_*` holds them; empties `state`.

        Args:
            state: theirs, with or without the prefix of the bare model.
            rows: of each of our symbols, its row in their vocabulary.
            path: for errors.

        Raises:
            UnusableCheckpointError: there are others than those of the family.
        """
        give_todays_names(state, f"{self.model_type}.")
        for second, first in self.tied.items():
            value = state.pop(second, None)
            if value is not None and not torch.equal(value, state.setdefault(first, value)):
                raise UnusableCheckpointError(
                    f"{path}: {second} is not {first}; the masked-LM head must share it"
                )
        ours = self.keys.to_ours(state, path)
        if self.head_is_pooler and f"{HEAD}out_proj.weight" in ours:
            _rename(ours, POOLER, HEAD)
        take_rows(ours, torch.tensor(rows), path)
        if f"{LM_HEAD}bias" in ours:
            ours[f"{LM_HEAD}weight"] = ours[f"{ENCODER}embed_tokens.weight"]
        return ours

    def to_theirs(
        self, state: Mapping[str, Tensor], *, rows: list[int], path: object
    ) -> tuple[dict[str, Tensor], str]:
        """Parameters of `--arch tupe_*` as theirs, and the class of the model that has them.

        Raises:
            UnusableCheckpointError: there are others than those of the family.
        """
        ours = {key: value for key, value in state.items() if key != f"{LM_HEAD}weight"}
        kind = "Model"
        if f"{HEAD}out_proj.weight" in ours:
            kind = "ForSequenceClassification"
            ours = {k: v for k, v in ours.items() if not k.startswith((LM_HEAD, POOLER, CARRIED))}
            if self.head_is_pooler:
                _rename(ours, f"{HEAD}dense.", f"{POOLER}dense.")
        elif f"{LM_HEAD}bias" in ours:
            kind = "ForPreTraining" if f"{CARRIED}next_sentence.weight" in ours else "ForMaskedLM"
        back = torch.empty(len(rows), dtype=torch.long)
        back[torch.tensor(rows)] = torch.arange(len(rows))
        take_rows(ours, back, path)
        theirs = self.keys.to_theirs(ours, path)
        if kind == "Model":
            _rename(theirs, f"{self.model_type}.", "")
        return theirs, self.class_name + kind


def _activation(options: Mapping[str, Any]) -> str:
    name = str(options.get("activation_fn", "gelu"))
    return "gelu_accurate" if name == "gelu_fast" else name  # fairseq's older name


def _rename(state: dict[str, Tensor], start: str, other: str) -> None:
    for key in [key for key in state if key.startswith(start)]:
        state[other + key[len(start) :]] = state.pop(key)
