#!/usr/bin/env bash
# GLUE's official TSV files, or a task of your own, in; data for --task sentence_prediction out:
# `tupe data task`, from a checkout. PYTHON names the Python that has the libraries (default python3).
source "$(dirname "${BASH_SOURCE[0]}")/run_python.sh"
run_python data task "$@"
