"""What fairseq does with its command line before a job begins."""

from __future__ import annotations

import functools
import sys
from typing import Any


def keep_bf16_off_tpu(options: Any) -> None:
    """`ModuleNotFoundError: No module named 'torch_xla'` from `--bf16`.

    Where: fairseq/options.py:200: `--bf16` switches `--tpu` on.
    When: always, with `--bf16` or `--memory-efficient-bf16` on a CPU or a GPU.
    Cure: `tpu` is switched off again unless the command line asks for it.
    Upstream: https://github.com/facebookresearch/fairseq/issues/4696
    """
    original = options.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **named: Any) -> Any:
        parsed = original(parser, input_args, *rest, **named)
        args = parsed[0] if isinstance(parsed, tuple) else parsed
        asked_for = sys.argv[1:] if input_args is None else input_args
        if getattr(args, "bf16", False) and "--tpu" not in asked_for:
            args.tpu = False
        return parsed

    options.parse_args_and_arch = parse_args_and_arch
