#!/usr/bin/env bash
# Plain text in, fairseq data for masked-LM pre-training out: `tupe data corpus`, from a checkout.
# PYTHON names the Python that has the libraries (default python3).
source "$(dirname "${BASH_SOURCE[0]}")/run_python.sh"
run_python data corpus "$@"
