"""From text and GLUE tables to fairseq data: see README.md in this folder."""
