# Sourced by pretrain.sh and glue.sh: the package of this checkout, by the Python that PYTHON names.

run_python() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  export PYTHON=${PYTHON:-python3} PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
  command -v "$PYTHON" >/dev/null || {
    echo "$(basename "$0"): no $PYTHON: activate the environment that \`make install\` made" \
      "(. .venv/bin/activate), or set PYTHON to the Python of another" >&2
    exit 1
  }
  exec "$PYTHON" -m tupe_plugin "$@"
}
