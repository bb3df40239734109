"""Symbols that fairseq adds to a dictionary: four in front, a mask at the end, and padding."""

FAIRSEQ_SYMBOLS = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
PADDING = "madeupword"
"""How the symbols begin that fill a dictionary up to a multiple of 8."""
