#!/usr/bin/env bash
# Fill a folder with the wheels that a GPU machine without a network lacks: fairseq, and what the
# tests need (the extra `tests` of pyproject.toml), but for gpu_machine.txt.
#
#   gpu_bundle.sh OUT PYTHON FAIRSEQ     its wheels are made anew; PYTHON is the machine's, such as 3.12
#
# The machine is Linux on x86_64 with glibc 2.28 or newer. Uses the uv and the pip on PATH.
set -euo pipefail
out=$1 python=$2 fairseq=$3
most=60 # MB
cd "$(dirname "$0")/.."

mkdir -p "$out"
rm -f "$out"/*.whl
left_out() { sed -n 's/^[a-z].*/&; sys_platform == "never"/p' scripts/gpu_machine.txt; }
uv pip compile --quiet pyproject.toml --extra tests --override <(left_out) \
    --python-version "$python" --python-platform x86_64-manylinux_2_28 \
    --no-header -o "$out/requirements.txt"

platforms=()
for glibc in {28..5}; do # pip takes a wheel for an older one only where that is named
    platforms+=(--platform "manylinux_2_${glibc}_x86_64")
done
for older in 2014 2010 1; do
    platforms+=(--platform "manylinux${older}_x86_64")
done
# READTHEDOCS=1: fairseq without its compiled extensions, one wheel for every Python.
export READTHEDOCS=1
python -m pip download --quiet --no-deps --prefer-binary --dest "$out" \
    --python-version "$python" --implementation cp "${platforms[@]}" \
    -r "$out/requirements.txt" "$fairseq"
shopt -s nullglob
for source in "$out"/*.tar.gz; do
    # Not from pip's cache, which may hold a build with extensions.
    python -m pip wheel --quiet --no-deps --no-cache-dir --wheel-dir "$out" "$source"
    rm "$source"
done

compiled_here=("$out"/*-linux_*.whl) # pip names no glibc for what it has compiled
if ((${#compiled_here[@]})); then
    echo "gpu_bundle.sh: no use on another machine, because it was compiled here: ${compiled_here[*]}" >&2
    exit 1
fi
wheels=("$out"/*.whl)
size=$(($(cat "${wheels[@]}" | wc -c) / 1000000))
if ((size >= most)); then
    largest=$(cd "$out" && ls -S -- *.whl | head -n 3 | xargs)
    echo "gpu_bundle.sh: $out is $size MB and should be under $most: name what the machine has in" \
        "scripts/gpu_machine.txt; the largest are $largest" >&2
    exit 1
fi
echo "$out: ${#wheels[@]} wheels for Python $python, $size MB"
