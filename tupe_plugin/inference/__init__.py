"""Trained models, run on binarised data and on raw text: what the API and the commands stand on."""

ROWS_A_BATCH = 32
"""The default, in Python and on the command line."""
