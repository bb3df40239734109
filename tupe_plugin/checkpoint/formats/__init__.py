"""One file for each form of checkpoint with names of its own: how to tell it, and ours for them."""
