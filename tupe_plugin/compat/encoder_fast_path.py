"""fairseq's transformer encoder has a fast path for inference, written for torch 1.12.

It hands a whole layer to one function of torch, with batch-first tensors, which
`TransformerEncoderBase` makes and nobody else.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from .module_view import ModuleView


def say_what_kind_of_mask_it_is(transformer_layer: Any) -> None:
    """`RuntimeError: Mask Type should be defined`.

    Where: fairseq/modules/transformer_layer.py:319 hands over a mask of padding.
    When: torch >= 1.13; every translation model in `fairseq-generate`, because sources are padded
    on the left.
    Fix: torch is told.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4899
    """
    from .fast_path_functions import layer_with_mask

    transformer_layer.torch = ModuleView(
        transformer_layer.torch, _transformer_encoder_layer_fwd=layer_with_mask
    )


def keep_the_fast_path_to_batch_first_encoders(transformer_layer: Any) -> None:
    """No message: wrong encodings, in which sentences of a batch attend to each other.

    Where: fairseq/modules/transformer_layer.py:309 takes its input for batch-first.
    When: a model calls the layers itself, length first: text-to-speech, encoders of other plug-ins.
    It has loaded a checkpoint, normalises after each block, and nothing is padded.
    Fix: such layers compute as in training.
    Upstream: their use was removed later: https://github.com/facebookresearch/fairseq/pull/4670
    """
    layer_class = transformer_layer.TransformerEncoderLayerBase
    original = layer_class.__init__

    @functools.wraps(original)
    def __init__(self: Any, *rest: Any, **named: Any) -> None:
        original(self, *rest, **named)
        self.fast_path_of_batch_first_input = self.can_use_fastpath
        self.can_use_fastpath = False

    layer_class.__init__ = __init__


def open_the_fast_path_of_batch_first_encoders(transformer_encoder: Any) -> None:
    """The other half: the encoder that makes its tensors batch-first says so to its layers."""
    encoder_class = transformer_encoder.TransformerEncoderBase
    layer_class = transformer_encoder.transformer_layer.TransformerEncoderLayerBase
    original, forward = encoder_class.__init__, encoder_class.forward_scriptable

    @functools.wraps(original)
    def __init__(self: Any, *rest: Any, **named: Any) -> None:
        original(self, *rest, **named)
        if type(self).forward_scriptable is forward:
            for layer in self.modules():
                if isinstance(layer, layer_class):
                    layer.can_use_fastpath = layer.fast_path_of_batch_first_input

    encoder_class.__init__ = __init__


def keep_columns_of_padding_alone(transformer_encoder: Any) -> None:
    """`IndexError: The shape of the mask ... does not match`, or another size that does not fit.

    Where: fairseq/models/transformer/transformer_encoder.py:308 pads to the longest sentence again.
    When: the batch was wider than that, by `--required-seq-len-multiple` for instance.
    Fix: such a batch takes the fast path with a mask, and stays as wide as it was.
    """
    from .fast_path_functions import is_padded_on_the_right

    transformer_encoder.torch = ModuleView(
        transformer_encoder.torch, _nested_tensor_from_mask_left_aligned=is_padded_on_the_right
    )


def read_the_version_of_every_torch(module: Any) -> None:
    """`ValueError: invalid literal for int() with base 10: '0a0'`.

    Where: fairseq/modules/transformer_layer.py:128, models/transformer/transformer_encoder.py:243.
    When: torch calls itself `2.6.0a0+ecf3bae40a`, as in NVIDIA's containers.
    Fix: these modules see the release that it will be, `2.6.0`.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4532
    """
    version = re.match(r"\d+\.\d+\.\d+(?=(a|b|rc)\d)", module.torch.__version__)
    if version:
        module.torch = ModuleView(module.torch, __version__=version.group())
