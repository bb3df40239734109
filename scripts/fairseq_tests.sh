#!/usr/bin/env bash
# Run fairseq's own tests against fairseq 0.12.2 with the start-up hook; write the table of docs/matrix.md.
#
#   scripts/fairseq_tests.sh DIR    DIR is the folder `tests` of a checkout of fairseq at v0.12.2
#
# On every Python 3.10 to 3.13 found (VERSIONS="3.10 3.13" takes some), in the environments of
# scripts/matrix.sh, with fairseq built without its extensions and, where there is a compiler, with
# them. BUILDS=pure takes one of the two. Results are in matrix-out/fairseq-tests/; the table has all
# that is there.
set -euo pipefail
[[ $# == 1 && -f $1/test_binaries.py ]] || {
    echo "$0: name the folder tests of a checkout of fairseq: make fairseq-tests TESTS=fairseq/tests" >&2
    exit 2
}
tests=$(realpath "$1")
cd "$(dirname "$0")/.."
source scripts/find_python.sh

out=$PWD/matrix-out/fairseq-tests
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"

install() { # build, environment: prints the folder that PYTHONPATH needs
    [[ $1 == compiled ]] || return 0
    local folder=.venvs/compiled-$(basename "$2")
    if [[ ! -d $folder/fairseq ]]; then
        # pip's cache may hold a wheel of the other build.
        env -u READTHEDOCS "$2/bin/python" -m pip install --quiet --no-deps --no-cache-dir \
            --no-binary fairseq --target "$folder" fairseq==0.12.2 >&2 || return 1
    fi
    compgen -G "$folder/fairseq/libbleu*" >/dev/null || { echo "no extension was built" >&2 && return 1; }
    echo "$PWD/$folder"
}

for version in ${VERSIONS:-3.10 3.11 3.12 3.13}; do
    python=$(find_python "$version")
    [[ -n $python ]] || { echo "== $version: not found" && continue; }
    venv=.venvs/$version
    [[ -e $venv/.installed ]] || make install VENV="$venv" PYTHON="$python"
    for build in ${BUILDS:-pure compiled}; do
        echo "== $version, $build"
        path=$(install "$build" "$venv") || { echo "== $version, $build: cannot be built" && continue; }
        # A copy: beside the folder lies the fairseq of the checkout, which is not to be imported.
        rm -rf "${stage:?}"/*
        cp -r "$tests" "$stage/tests"
        [[ ! -d $tests/../scripts ]] || cp -r "$tests/../scripts" "$stage/scripts"
        ln -s "$(PYTHONPATH=$path "$venv/bin/python" -c \
            'import importlib.util as u; print(u.find_spec("fairseq").submodule_search_locations[0])')/examples" \
            "$stage/examples"
        (
            cd "$stage"
            PYTHONPATH=$path CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 "$OLDPWD/$venv/bin/python" - -q \
                -p no:cacheprovider -n "${JOBS:-auto}" --continue-on-collection-errors \
                -o junit_family=xunit1 --junitxml "$out/$version-$build.xml" tests <<'PYTHON' || true
import signal
import sys

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.exit(pytest.main(sys.argv[1:]))
PYTHON
        ) >"$out/$version-$build.log" 2>&1
        tail -n 1 "$out/$version-$build.log"
        "$venv/bin/python" -c 'import importlib.metadata as m, platform; print(platform.python_version(), m.version("torch"))' \
            >"$out/$version-$build.versions"
    done
done
"${PYTHON:-python3}" scripts/fairseq_tests_table.py "$out" docs/matrix.md
