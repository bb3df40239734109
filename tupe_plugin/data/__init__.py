"""From text to what a model reads: the steps that training data and a raw sentence share.

`glue_tasks.toml` is the one table of GLUE.
"""
