"""The mathematics of every method: torch and the standard library only, no fairseq."""
