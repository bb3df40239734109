"""Words that no step cuts: they stand for something which was removed, or fairseq gives them a
meaning. `protected_words.txt` has them as the Perl tokenizer reads them."""

PROTECTED_WORDS = ("<url>", "<email>", "<file>", "<unk>", "</s>")
