"""TUPE as a model of Hugging Face's transformers.

`tupe export` copies these files and what they import beside the weights, as
`checkpoint/model_code.py` says. So they import transformers, torch, `core/` and steps of `data/`,
and nothing of fairseq.
"""
