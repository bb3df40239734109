"""What the labels of a regression were divided by, when its data was made: STS-B's 5.

FOLDER/manifest.json   options, "label_scale"; data of before it was recorded is told by its name
"""

from __future__ import annotations

import math
from pathlib import Path

from .glue_tasks import load_tasks
from .treatment import MANIFEST, TreatmentError, manifest_options

LABEL_SCALE = "label_scale"


def label_scale(task: str, *folders: Path) -> float:
    """Official value / value of the model.

    Args:
        task: its name.
        folders: of its data; the first that records the scale is believed.

    Raises:
        TreatmentError: a record is damaged.
    """
    for folder in folders:
        scale = manifest_options(folder).get(LABEL_SCALE)
        if scale is None:
            continue
        if not isinstance(scale, int | float) or not 0 < scale < math.inf:
            raise TreatmentError(f"{folder / MANIFEST}: {LABEL_SCALE} is {scale!r}, no number")
        return float(scale)
    glue = load_tasks().get(task)
    return 1.0 if glue is None else glue.label_scale
