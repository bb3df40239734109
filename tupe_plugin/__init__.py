"""fairseq plug-in for TUPE and fine-tuning methods: importing it registers everything with fairseq.

Two entrances:

* by flag: `criterions/`, `models/`, `optim/` carry fairseq's own folder names;
* by equation: `core/` holds the mathematics, in files of the same stem, and needs torch only.

Registration waits until fairseq is imported, so `import tupe_plugin.core` needs no fairseq.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 -- a checkout can meet a Python that pip never saw
    raise RuntimeError(
        "tupe_plugin needs Python 3.10 or newer; "
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}"
    )

from .compat import activate
from .registration import register

activate().after("fairseq", register)
