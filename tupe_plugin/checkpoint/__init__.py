"""The only reader and writer of checkpoint files, and their one family of errors.

    errors.py           CheckpointError and what derives from it: one line for the user each
    file_kind.py        what a file is that torch did not write
    read.py             from a file to tensors and plain containers, without running code from it
    stored_objects.py   what is read in the place of the objects that a file of fairseq may hold
    contents.py         what fairseq needs to find in a checkpoint, and of which types
    buildable.py        what may be built because a file says so
    bounded_model.py    and how large that may become
    write.py            a new file, whole or not at all, readable by the same rules
    settings.py         of one part of a job, whatever the form in which they were written
    upgraded.py         a checkpoint as fairseq itself sees it
    encoder_checkpoint.py  the parameters and settings of a model with an encoder of a known family
    head_shapes.py      shapes of its heads
    run_folder.py       the checkpoint that the folder of a run stands for

Models of Hugging Face's transformers, in and out:

    formats/            a table for each family: names, configuration, vocabulary
    model_folder.py     a folder's configuration and weights
    tokenizer_files.py  its vocabulary, and that of a folder of data
    tokenizer_treatment.py  whether its text is treated as preprocess/ treats ours
    imported.py         such a model as a checkpoint; imported_files.py: the folder of `tupe import`
    exported.py         a checkpoint as such a model; exported_files.py: the folder of `tupe export`
    exported_data.py, exported_tokenizer.py, model_code.py
                        what goes into that folder beside the weights: labels, a tokenizer, code

`compat/` hands these rules to fairseq's own reader. The start-up hook loads it without the rest of
the package, so the files that it uses import only torch, the standard library and each other.
"""
