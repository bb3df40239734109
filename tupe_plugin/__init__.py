"""TUPE and fine-tuning methods: a fairseq plug-in, and names for any PyTorch loop.

Three entrances:

* by flag: `criterions/`, `models/`, `optim/` carry fairseq's own folder names;
* by equation: `core/` holds the mathematics, in files of the same stem, and needs torch only;
* by name, in Python: what `__all__` lists (`docs/python.md`), loaded when it is first used.

The import by itself loads neither torch nor fairseq.  It registers everything with fairseq where
that is imported already, as by `--user-dir`; where it comes later, the start-up hook does it, or
`use_with_fairseq()` if the package is not installed.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 -- a checkout can meet a Python that pip never saw
    raise RuntimeError(
        "tupe_plugin needs Python 3.10 or newer; "
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}"
    )

import importlib
from typing import TYPE_CHECKING

from .registration import use_with_fairseq as use_with_fairseq

if TYPE_CHECKING:
    from .api import TupeModel as TupeModel
    from .core.adversarial import FGM as FGM
    from .core.adversarial import PGD as PGD
    from .core.adversarial import SMART as SMART
    from .core.adversarial import AttentionAdversary as AttentionAdversary
    from .core.adversarial import FreeLB as FreeLB
    from .core.adversarial_loss import adversarial_loss as adversarial_loss
    from .core.adversarial_methods import make_adversary as make_adversary
    from .core.adversarial_methods import make_noise_site as make_noise_site
    from .core.averaging import average as average
    from .core.averaging import greedy_average as greedy_average
    from .core.bitfit import TrainedShare as TrainedShare
    from .core.bitfit import train_only_biases as train_only_biases
    from .core.encoder_family import Family as Family
    from .core.encoder_family import UnknownEncoderError as UnknownEncoderError
    from .core.encoder_view import EncoderView as EncoderView
    from .core.encoder_view import view_of as view_of
    from .core.layer_decay import parameter_groups as parameter_groups
    from .core.mfac import MFAC as MFAC
    from .core.mfac_parameters import mfac_groups as mfac_groups
    from .core.noise_sites import AttentionNoise as AttentionNoise
    from .core.noise_sites import WordNoise as WordNoise
    from .core.rdrop import rdrop as rdrop

# The same for a program that runs: name -> module.  A test holds the two against each other.
_FILES = {
    "TupeModel": "api",
    "FGM": "core.adversarial",
    "PGD": "core.adversarial",
    "SMART": "core.adversarial",
    "AttentionAdversary": "core.adversarial",
    "FreeLB": "core.adversarial",
    "adversarial_loss": "core.adversarial_loss",
    "make_adversary": "core.adversarial_methods",
    "make_noise_site": "core.adversarial_methods",
    "average": "core.averaging",
    "greedy_average": "core.averaging",
    "TrainedShare": "core.bitfit",
    "train_only_biases": "core.bitfit",
    "Family": "core.encoder_family",
    "UnknownEncoderError": "core.encoder_family",
    "EncoderView": "core.encoder_view",
    "view_of": "core.encoder_view",
    "parameter_groups": "core.layer_decay",
    "MFAC": "core.mfac",
    "mfac_groups": "core.mfac_parameters",
    "AttentionNoise": "core.noise_sites",
    "WordNoise": "core.noise_sites",
    "rdrop": "core.rdrop",
}
__all__ = [*_FILES, "use_with_fairseq"]


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_FILES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if sys.modules.get("fairseq") is not None:
    use_with_fairseq()
