"""fairseq criterions. Importing this package registers every module in it."""

from ..registration import import_siblings

import_siblings(__name__, __path__)
