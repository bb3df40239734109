"""Many runs of fairseq-train as one thing: what a sweep does, and what it leaves to be read."""
