"""``--arch tupe_*``: the TUPE encoder as a fairseq model, for masked LM and sentence prediction.

The equations are in ``tupe_plugin/core/encoder.py`` and the files which it names, the options in
``tupe_options.py``.
"""

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from fairseq.models import (
    FairseqEncoderModel,
    register_model,
    register_model_architecture,
)
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.bounds import Whole
from ..core.heads import ClassificationHead
from ..core.initialization import init_bert_params
from ..core.position_scheme import scheme_of
from .bitfit_terms import freeze_all_but_biases
from .checkpoint_fit import (
    check_sizes,
    fit_heads,
    fit_lm_head,
    head_sizes,
    rename_in_place,
    takes_over_a_head,
    why_not_fit,
)
from .tupe_encoder import (
    TupeFairseqEncoder,
    activation_function,
    check_attention,
    check_memory,
)
from .tupe_options import TupeConfig, check_tupe_options, named

logger = logging.getLogger(__name__)

_CLASSES = Whole(1, 1_000_000)


@register_model("tupe", dataclass=TupeConfig)
class TupeModel(FairseqEncoderModel):
    """Encoder, masked-LM head and any number of named classification heads."""

    def __init__(self, cfg: DictConfig, encoder: TupeFairseqEncoder) -> None:
        super().__init__(encoder)
        self.cfg = cfg
        # fairseq's sentence_prediction criterion reads pruning options of RoBERTa from here.
        self.args = cfg
        self.classification_heads = nn.ModuleDict()
        self.apply(init_bert_params)
        freeze_all_but_biases(self, cfg)

    @classmethod
    def build_model(cls, cfg: DictConfig, task: Any) -> "TupeModel":
        """Build a model for a task.

        Raises:
            ValueError: an option is out of bounds or does not fit another, the task's sequences
                are too long, or the model does not fit into memory.
        """
        tupe_base(cfg)
        cls.check_options(cfg)
        tokens_per_sample = getattr(task.cfg, "tokens_per_sample", None)
        if tokens_per_sample is not None and tokens_per_sample > cfg.max_positions:
            raise ValueError(
                f"--tokens-per-sample {tokens_per_sample} is longer than --max-positions "
                f"{cfg.max_positions}: raise --max-positions or lower --tokens-per-sample"
            )
        check_attention(cfg)
        check_memory(cfg, task.source_dictionary)
        # Not at level info: `tupe predict` builds models too.
        logger.debug("position scheme %s", scheme_of(named(cfg)).name)
        return cls(cfg, TupeFairseqEncoder(cfg, task.source_dictionary))

    check_options = staticmethod(check_tupe_options)

    def why_not_fit(self, theirs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str | None:
        """What makes a checkpoint that of another kind of model, from its settings and weights."""
        settings = Namespace(**theirs)
        if "position_scheme" in settings:
            tupe_base(settings)  # by which it was built: hydra leaves sizes open
        with_head = takes_over_a_head(
            weights, own=self.classification_heads, new_ones=self.cfg.load_checkpoint_heads
        )
        return why_not_fit(vars(settings), named(self.cfg), with_head=with_head)

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str,
        checkpoint_file: str | None = None,
        data_name_or_path: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """`tupe_plugin.TupeModel.from_pretrained`, under the arguments of fairseq's own models.

        fairseq's `GeneratorHubInterface` is for models that generate text, and knows nothing of
        what ours goes through.

        Args:
            model_name_or_path: the folder of a run, or whatever `TupeModel` takes.
            checkpoint_file: in that folder.
            data_name_or_path: the data; beginning with `.` it is beside the checkpoint, as fairseq
                has it.
            **kwargs: `device` and `half`.
        """
        from ..api import TupeModel as WithText

        if data_name_or_path is not None and data_name_or_path.startswith("."):
            data_name_or_path = os.path.join(model_name_or_path, data_name_or_path)
        if unknown := kwargs.keys() - {"device", "half"}:
            raise TypeError(
                f"{min(unknown)}= is not for a tupe model: its text goes through what its data "
                "records, and its other settings are those of the checkpoint"
            )
        path = os.path.join(model_name_or_path, checkpoint_file or "")
        return WithText.from_pretrained(path, data=data_name_or_path, **kwargs)

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        classification_head_name: str | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Encode and, unless ``features_only``, predict.

        Args:
            src_tokens: ``(batch, seq)``.
            features_only: give features, not vocabulary logits.
            return_all_hiddens: put each layer's output into the second value.
            classification_head_name: apply this head to the features.
            **kwargs: ``masked_tokens`` ``(batch, seq)``, True = to be predicted.

        Returns:
            features ``(batch, seq, embed)``, or vocabulary logits ``(masked, vocab)`` /
            ``(batch, seq, vocab)``, or class logits ``(batch, classes)``; and a dict whose
            ``inner_states`` is None or a list of ``(seq, batch, embed)``, fairseq's order.
        """
        features_only = features_only or classification_head_name is not None
        x, extra = self.encoder(src_tokens, features_only, return_all_hiddens, **kwargs)
        if classification_head_name is not None:
            x = self.classification_heads[classification_head_name](x)
        return x, extra

    def get_normalized_probs(
        self, net_output: tuple[Tensor, Any], log_probs: bool, sample: Any = None
    ) -> Tensor:
        """(Log-)probabilities over the last axis, in float32."""
        normalize = F.log_softmax if log_probs else F.softmax
        return normalize(net_output[0].float(), dim=-1)

    @property
    def supported_targets(self) -> set[str]:
        return {"self"}

    def register_classification_head(
        self,
        name: str,
        num_classes: int | None = None,
        inner_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a head, or put a new one in the place of that name.

        Raises:
            ValueError: ``num_classes`` is no number of classes.
        """
        if num_classes is None or _CLASSES.problem(num_classes):
            raise ValueError(
                f"--num-classes {num_classes}: give the number of classes of the task, {_CLASSES} "
                "(1 with --regression-target)"
            )
        if name in self.classification_heads:
            logger.warning("replacing classification head %r by a new one", name)
        head = ClassificationHead(
            self.cfg.encoder_embed_dim,
            num_classes,
            inner_dim=inner_dim,
            activation=activation_function(self.cfg.pooler_activation_fn),
            dropout=self.cfg.pooler_dropout,
            input_dropout=self.cfg.pooler_input_dropout,
        )
        head.train(self.training)
        self.classification_heads[name] = head

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Make a checkpoint fit: the authors' names, other vocabularies' errors, the heads.

        Raises:
            ValueError: an embedding of the checkpoint has another size than the model's.
        """
        rename_in_place(state_dict)
        super().upgrade_state_dict_named(state_dict, name)
        own = self.state_dict()
        check_sizes(state_dict, own=own)
        if self.cfg.load_checkpoint_heads:
            for head, sizes in head_sizes(state_dict).items():
                if head not in self.classification_heads and sizes is not None:
                    self.register_classification_head(head, *sizes)
        fit_lm_head(state_dict, own=own)
        fit_heads(state_dict, own=self.classification_heads)


def _architecture(layers: int, embed_dim: int, heads: int) -> Callable[[Any], None]:
    sizes = {
        "encoder_layers": layers,
        "encoder_embed_dim": embed_dim,
        "encoder_ffn_embed_dim": 4 * embed_dim,
        "encoder_attention_heads": heads,
    }

    def set_sizes(cfg: Any) -> None:
        for declared in fields(TupeConfig):
            if declared.name not in named(cfg):  # a checkpoint from before there was the option
                setattr(cfg, declared.name, declared.default)
        for name, value in sizes.items():
            if getattr(cfg, name, None) is None:
                setattr(cfg, name, value)

    return set_sizes


tupe_tiny = register_model_architecture("tupe", "tupe_tiny")(_architecture(2, 128, 2))
tupe_mini = register_model_architecture("tupe", "tupe_mini")(_architecture(4, 256, 4))
tupe_small = register_model_architecture("tupe", "tupe_small")(_architecture(4, 512, 8))
tupe_base = register_model_architecture("tupe", "tupe_base")(_architecture(12, 768, 12))
tupe_large = register_model_architecture("tupe", "tupe_large")(_architecture(24, 1024, 16))
