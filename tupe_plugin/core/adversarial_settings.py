"""What an adversarial method can be told: each setting, its names and its bounds.

| setting            | what it is                                                            |
|--------------------|-----------------------------------------------------------------------|
| ``epsilon``        | radius: the length of the noise; 0 is plain training                  |
| ``step_size``      | length of a step towards more loss                                    |
| ``steps``          | K; each costs a forward and a backward                                |
| ``norm``           | how noise is measured, one of `BALLS`                                 |
| ``weight``         | of what the noise adds to the loss                                    |
| ``divergence``     | one of `DIVERGENCES`                                                  |
| ``init``           | noise before the first step, one of `INITS`                           |
| ``init_size``      | its largest length (uniform) or standard deviation (normal)           |
| ``unit``           | of all sizes, one of `UNITS`: see there                               |
| ``site, layers``   | attention: one of `SITES`; ``all``, or numbers of layers from 0 on    |
"""

from __future__ import annotations

from typing import Any

from .attention_access import SITES
from .bounds import LOSS_WEIGHT, Bound, Number, OneOf, Whole
from .divergence import (
    Divergence,
    detached_symmetric_kl_divergence,
    symmetric_kl_divergence,
)
from .noise_sites import rms_entry, rms_vector
from .perturbation import BALLS

Settings = dict[str, Any]
"""Every setting that a method uses, and a value for each."""
DIVERGENCES: dict[str, Divergence] = {
    "symmetric": symmetric_kl_divergence,
    "detached": detached_symmetric_kl_divergence,
}
INITS = ("zero", "uniform", "normal")
UNITS = ("relative", "absolute")
"""Of what noise is a share.  Relative: of a word vector's root mean square length in the sentence
(with ``norm`` linf, of its entries' root mean square), so that a size means the same on every
encoder; of a query's attention, divided over all heads and layers that get noise.  Absolute: as the
papers have it, the sizes of the noise itself."""

WORD_UNITS = {"l2": rms_vector, "linf": rms_entry}

_NOISE = Number(0, 10_000)  # what half precision holds
BOUNDS: dict[str, Bound] = {
    "epsilon": _NOISE,
    "step_size": _NOISE,
    "steps": Whole(1, 1_000),
    "norm": OneOf(tuple(BALLS)),
    "weight": LOSS_WEIGHT,
    "divergence": OneOf(tuple(DIVERGENCES)),
    "init": OneOf(INITS),
    "init_size": _NOISE,
    "site": OneOf(SITES),
    "unit": OneOf(UNITS),
}
