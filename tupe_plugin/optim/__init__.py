"""fairseq optimizers, and in lr_scheduler/ the schedulers. Importing this registers them all."""

from ..registration import import_siblings

import_siblings(__name__, __path__)
