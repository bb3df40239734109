"""Compare this package with values that the authors of a method computed by their own code.

    python tests/check_reference.py FILE...

A file holds plain tensors (``torch.load(..., weights_only=True)``, or safetensors as in
``tests/data``): for a model weights, inputs and
what came out, for an optimizer the gradients of each step and the parameters after it.  Each kind
of file has one entry in ``KINDS``.  For each quantity the largest relative error

    max |ours - theirs| / max |theirs|        over the whole tensor

is printed.  Exit status: 0 if all are within the limit, 1 if one is not, 2 if a file could not be
read or does not describe a model that can be built.
"""

from __future__ import annotations

import argparse
import math
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, too

from tests.reference_files import read, sketch

DEFAULT_LIMIT = 1e-5


class UnusableFile(Exception):
    """The file cannot be compared; the message says why."""


class Comparison(NamedTuple):
    """One quantity and its largest relative error."""

    name: str
    error: float
    remark: str = ""


class Kind(NamedTuple):
    """One form of reference file."""

    name: str
    required_keys: frozenset[str]
    compare: Callable[[Mapping[str, Any]], Iterator[Comparison]]
    limit: float = DEFAULT_LIMIT


def relative_error(
    ours: Tensor | None, theirs: Tensor | None, *, scale: Tensor | None = None
) -> tuple[float, str]:
    """Largest relative error, in float64, and a remark where it is not a matter of rounding.

    It is relative to the largest number of ``theirs``, or of ``scale``.
    """
    if ours is None:
        return math.inf, "missing here"
    if theirs is None:
        return math.inf, "not in the file"
    if ours.shape != theirs.shape:
        return math.inf, f"shape {tuple(ours.shape)}, in the file {tuple(theirs.shape)}"
    if not theirs.numel():
        return 0.0, "empty"
    largest = (theirs if scale is None else scale).double().abs().max().item()
    difference = (ours.double() - theirs.double()).abs().max().item()
    if largest == 0:
        return difference, "absolute: the file has zeros only"
    return difference / largest, ""


# A softmax does not see what all keys have in common, so the gradient of the positions' key bias
# is a sum of terms that cancel, but for the [CLS] resets: its rounding is that of the terms, which
# are as large as the weight's gradient.
_POSITION_KEY = "decoder.sentence_encoder.pos_k_linear"
SUMS_THAT_CANCEL = {f"{_POSITION_KEY}.bias": f"{_POSITION_KEY}.weight"}


# ---- TUPE: an encoder with its heads


def compare_tupe(data: Mapping[str, Any]) -> Iterator[Comparison]:
    """Features, logits, loss and gradients of a TUPE model."""
    model = load_tupe(data)
    from tupe_plugin.checkpoint.formats import tupe_2021

    tokens, masked = data["src_tokens"], data["masked_tokens"]

    features, _ = model(tokens, features_only=True)
    yield Comparison("features", *relative_error(features, data["features"]))
    heads = list(model.classification_heads)
    if len(heads) != 1:
        raise UnusableFile(f"expected one classification head in state_dict, found {heads}")
    classes, _ = model(tokens, classification_head_name=heads[0])
    theirs = data["classification_logits"]
    yield Comparison("classification logits", *relative_error(classes, theirs))
    logits, _ = model(tokens, masked_tokens=masked)
    yield Comparison("masked-LM logits", *relative_error(logits, data["masked_lm_logits"]))

    loss = F.cross_entropy(logits, data["target_tokens"][masked], reduction="sum")
    theirs = torch.as_tensor(data["masked_lm_loss_sum"], dtype=torch.float64)
    yield Comparison("masked-LM loss", *relative_error(loss.detach(), theirs))

    model.zero_grad()
    loss.backward()
    ours = tupe_2021.to_authors(
        {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    )
    theirs = data["masked_lm_grads"]
    if data.get("sketched"):
        ours = {name: sketch(grad) for name, grad in ours.items()}
    for name in [*theirs, *(name for name in ours if name not in theirs)]:
        scale = theirs.get(SUMS_THAT_CANCEL.get(name, name))
        error = relative_error(ours.get(name), theirs.get(name), scale=scale)
        yield Comparison(f"grad {name}", *error)


def load_tupe(data: Mapping[str, Any]) -> Any:
    """Our model of the file's sizes with the file's weights, loaded as any checkpoint is."""
    from fairseq.data import Dictionary

    import tupe_plugin  # noqa: F401 -- lets fairseq run here
    from tupe_plugin.models.tupe import TupeConfig, TupeModel

    config, state_dict = data["config"], data["state_dict"]
    # What is recorded of the authors' features includes those at padding.
    cfg = TupeConfig(load_checkpoint_heads=True, unpad="never")
    for name in vars(cfg).keys() & config.keys():
        setattr(cfg, name, config[name])

    dictionary = Dictionary()
    for number in range(data["vocab_symbols"] - len(dictionary)):
        dictionary.add_symbol(f"symbol{number}")
    for name in ("bos", "pad", "eos"):
        if name in data:
            setattr(dictionary, f"{name}_index", data[name])
    task = SimpleNamespace(
        cfg=SimpleNamespace(tokens_per_sample=config.get("tokens_per_sample")),
        source_dictionary=dictionary,
    )
    try:
        model = TupeModel.build_model(cfg, task)
        model.load_state_dict(dict(state_dict))  # a copy: loading renames in place
        model.to(next(iter(state_dict.values())).dtype)
        model.load_state_dict(dict(state_dict))  # once more, in full precision
    except (ValueError, RuntimeError, KeyError) as error:
        raise UnusableFile(f"no model with these weights can be built: {error}") from error
    return model.eval()


# ---- M-FAC: an optimizer


def compare_mfac(data: Mapping[str, Any]) -> Iterator[Comparison]:
    """All parameters after each step, as one vector."""
    from tupe_plugin.core.mfac import MFAC

    params = [torch.nn.Parameter(p.clone()) for p in data["init"]]
    try:
        optimizer = MFAC(
            params,
            data["lr"],
            num_grads=data["num_grads"],
            damping=data["damp"],
            momentum=data.get("momentum", 0.0),
            weight_decay=data.get("weight_decay", 0.0),
        )
    except (ValueError, MemoryError) as error:
        raise UnusableFile(str(error)) from error
    if not len(data["grads"]) == len(data["params_after"]) > 0:
        raise UnusableFile("as many grads as params_after are needed, and at least one")
    for step, (grads, theirs) in enumerate(
        zip(data["grads"], data["params_after"], strict=True), start=1
    ):
        shapes = [p.shape for p in params]
        kept = theirs is not None
        if [g.shape for g in grads] != shapes or (kept and [p.shape for p in theirs] != shapes):
            raise UnusableFile(f"step {step}: shapes are not those of init")
        for p, g in zip(params, grads, strict=True):
            p.grad = g.to(p.dtype, copy=True)
        optimizer.step()
        if not kept:
            continue
        ours = torch.cat([p.detach().flatten() for p in params])
        expected = torch.cat([p.flatten() for p in theirs])
        yield Comparison(f"parameters after step {step}", *relative_error(ours, expected))


KINDS = (
    Kind(
        "TUPE encoder",
        frozenset(
            {
                *("config", "vocab_symbols", "state_dict"),
                *("src_tokens", "target_tokens", "masked_tokens"),
                *("features", "masked_lm_logits", "classification_logits"),
                *("masked_lm_loss_sum", "masked_lm_grads"),
            }
        ),
        compare_tupe,
    ),
    Kind(
        "M-FAC run",
        frozenset({"lr", "num_grads", "damp", "init", "grads", "params_after"}),
        compare_mfac,
        limit=1e-7,
    ),
)


# ---- command line


def load(path: Path) -> tuple[Kind, Mapping[str, Any]]:
    """Read a file, without executing code from it, and tell its kind."""
    try:
        if path.suffix == ".safetensors":
            data = read(path)
        else:
            data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnusableFile(error.strerror or str(error)) from error
    except pickle.UnpicklingError as error:
        raise UnusableFile("not a torch file of plain tensors and values") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UnusableFile(f"damaged, or not a torch file ({type(error).__name__})") from error
    keys = set(data) if isinstance(data, Mapping) else set()
    for kind in KINDS:
        if kind.required_keys <= keys:
            return kind, data
    nearest = max(KINDS, key=lambda kind: len(kind.required_keys & keys))
    missing = ", ".join(sorted(nearest.required_keys - keys))
    raise UnusableFile(f"not a reference file; as one of a {nearest.name} it lacks: {missing}")


def check(path: Path, *, limit: float | None, quiet: bool) -> bool:
    """Print the errors of one file; True if all are within the limit (None: that of its kind)."""
    kind, data = load(path)
    limit = kind.limit if limit is None else limit
    print(f"{path}: {kind.name}")
    worst = Comparison("nothing", 0.0)
    count = exceeded = 0
    for comparison in kind.compare(data):
        name, error, remark = comparison
        within = error <= limit  # not for NaN
        if not quiet or not within:
            verdict = "" if within else "  ABOVE THE LIMIT"
            print(f"  {error:8.2e}  {name}{f' ({remark})' if remark else ''}{verdict}")
        count += 1
        exceeded += not within
        if not error <= worst.error:
            worst = comparison
    print(
        f"  {'FAILED' if exceeded else 'ok'}: {count - exceeded} of {count} within {limit:g}; "
        f"largest relative error {worst.error:.2e} ({worst.name})"
    )
    return not exceeded


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="check_reference.py",
        description="Compare this package with outputs that the authors' own code computed.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="reference file (.pt, .safetensors)"
    )
    parser.add_argument(
        "--limit",
        type=float,
        help="largest relative error allowed (default: "
        + ", ".join(f"{kind.limit:g} for a {kind.name}" for kind in KINDS)
        + ")",
    )
    parser.add_argument("--quiet", action="store_true", help="one summary line for each file")
    args = parser.parse_args(argv)

    status = 0
    for path in args.files:
        try:
            if not check(path, limit=args.limit, quiet=args.quiet):
                status = max(status, 1)
        except UnusableFile as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
