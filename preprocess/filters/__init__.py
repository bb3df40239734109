"""Small filters, one step each; `preprocess/*.sh` put them in order."""
