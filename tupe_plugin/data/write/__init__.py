"""From rows and units to the files that fairseq reads, and the record of what they were made of."""
