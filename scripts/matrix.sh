#!/usr/bin/env bash
# Install and run the smoke job on every Python 3.10 to 3.13 found; print a table.
#
# Each Python gets an environment .venvs/3.X, which is used again next time. Output of the commands
# is in matrix-out/3.X.log. `make matrix VERSIONS="3.10 3.13"` takes some of them.
set -euo pipefail
cd "$(dirname "$0")/.."

versions=${VERSIONS:-3.10 3.11 3.12 3.13}
out=matrix-out
mkdir -p "$out"

# shellcheck source=scripts/find_python.sh
source scripts/find_python.sh

describe() { # environment: versions of what matters
    "$1/bin/python" - <<'PYTHON'
import importlib.metadata as metadata
import platform

names = ("torch", "numpy", "omegaconf", "hydra-core", "fairseq")
print(platform.python_version(), *(metadata.version(name) for name in names))
PYTHON
}

failed=0
rows=("python torch numpy omegaconf hydra-core fairseq smoke seconds")
for version in $versions; do
    python=$(find_python "$version")
    if [[ -z $python ]]; then
        echo "== $version: not found"
        rows+=("$version - - - - - absent -")
        continue
    fi
    echo "== $version: $python"
    venv=.venvs/$version log=$out/$version.log result=passed
    rm -rf "${out:?}/$version"
    SECONDS=0
    if ! make install VENV="$venv" PYTHON="$python" >"$log" 2>&1; then
        result=install-failed
    elif ! PATH="$PWD/$venv/bin:$PATH" bash scripts/smoke.sh "$out/$version" 2>&1 | tee -a "$log"; then
        result=FAILED
    fi
    [[ $result == passed ]] || { failed=1 && tail -n 20 "$log"; }
    described=$(describe "$venv" 2>/dev/null || echo "$version - - - - -")
    rows+=("$described $result $SECONDS")
done

for row in "${rows[@]}"; do
    # shellcheck disable=SC2086  (a row is its words)
    printf '%-8s %-14s %-7s %-10s %-11s %-8s %-15s %s\n' $row
done
exit $failed
