"""`tupe delta save|apply|info`: the result of BitFit as a small file; see `bitfit_delta.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..checkpoint.encoder_checkpoint import read_encoder_checkpoint
from ..checkpoint.formats.our_names import HEADS
from ..checkpoint.write import at_the_beginning, write_checkpoint
from ..core.whole_file import whole_file
from .bitfit_delta import Delta, DeltaError, apply_delta, make_delta
from .delta_file import delta_bytes, read_delta


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    save = actions.add_parser("save", help="save the differences from the base checkpoint")
    save.add_argument("base", type=Path, help="the checkpoint that fine-tuning started from")
    save.add_argument("tuned", type=Path, help="the checkpoint that --bitfit-terms produced")
    _add_output(save, "the delta, *.safetensors")
    save.set_defaults(act=_save)

    apply = actions.add_parser("apply", help="restore the fine-tuned checkpoint")
    apply.add_argument("base", type=Path, help="the checkpoint that fine-tuning started from")
    apply.add_argument("delta", type=Path)
    _add_output(apply, "the checkpoint, *.pt")
    apply.set_defaults(act=_apply)

    info = actions.add_parser("info", help="show what a delta contains and which base it needs")
    info.add_argument("delta", type=Path)
    info.set_defaults(act=_info)


def _add_output(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=text)


def run(args: argparse.Namespace) -> int:
    args.act(args)
    return 0


def _save(args: argparse.Namespace) -> None:
    delta = make_delta(read_encoder_checkpoint(args.base), read_encoder_checkpoint(args.tuned))
    _check_new(args.output)
    with whole_file(args.output) as unfinished:
        unfinished.write_bytes(delta_bytes(delta))
    print(f"wrote {args.output}: {_amount(delta)}")


def _apply(args: argparse.Namespace) -> None:
    base, delta = read_encoder_checkpoint(args.base), read_delta(args.delta)
    weights = apply_delta(base, delta, name=args.delta.name)
    _check_new(args.output)
    write_checkpoint(args.output, at_the_beginning(weights, cfg=delta.config))
    print(f"wrote {args.output}: {args.base} with {args.delta}")


def _info(args: argparse.Namespace) -> None:
    delta = read_delta(args.delta)
    heads = {name.split(".")[1]: t for name, t in delta.tensors.items() if _is_output_bias(name)}
    sizes = ", ".join(f"{name} {value}" for name, value in delta.sizes.items())
    print(f"bias terms   {', '.join(delta.roles)}")
    print(f"contents     {_amount(delta)}")
    for name, bias in heads.items():
        print(f"head         {name}, {bias.numel()} output(s)")
    print(f"base model   {sizes}")
    print(f"trained in   {delta.precision}")
    print(f"frozen part  sha256 {delta.fingerprint}")


def _is_output_bias(name: str) -> bool:
    return name.startswith(HEADS) and name.endswith(".out_proj.bias")


def _amount(delta: Delta) -> str:
    in_heads = sum(tensor.numel() for tensor in delta.tensors.values()) - delta.num_biases
    share = 100 * delta.num_biases / delta.parameters
    return (
        f"{delta.num_biases:,} biases ({share:.3f} % of the model's {delta.parameters:,} "
        f"parameters) and {in_heads:,} parameters of classification heads"
    )


def _check_new(path: Path) -> None:
    if path.exists():
        raise DeltaError(f"{path} exists already; give the name of a new file")
