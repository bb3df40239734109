"""The only reader and writer of checkpoint files, and their one family of errors.

    errors.py           CheckpointError and what derives from it: one line for the user each
    file_kind.py        what a file is that torch did not write
    read.py             from a file to tensors and plain containers, without running code from it
    contents.py         what fairseq needs to find in a checkpoint, and of which types
    buildable.py        what may be built because a file says so
    bounded_model.py    and how large that may become
    write.py            a new file, whole or not at all, readable by the same rules
    whole_file.py       the first half of that, for any file
    settings.py         of one part of a job, whatever the form in which they were written
    upgraded.py         a checkpoint as fairseq itself sees it
    formats/            names of parameters that are not ours
    model_folder.py, tokenizer_files.py, imported.py, imported_files.py, exported.py
                        folders of transformers, in and out
    encoder_checkpoint.py  the parameters and settings of a model with an encoder of a known family

`compat/` hands these rules to fairseq's own reader. The start-up hook loads it without the rest of
the package, so the files that it uses import only torch, the standard library and each other.
"""
