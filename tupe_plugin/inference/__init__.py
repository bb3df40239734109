"""Trained models, run on binarised data and on raw text: what the API and the commands stand on."""
