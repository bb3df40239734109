"""Steps that cut a line into the units of a vocabulary."""
