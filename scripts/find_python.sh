# To be sourced.

find_python() { # version: prints the path of an interpreter, on PATH or of pyenv or uv
    local candidate
    for candidate in "$(type -P "python$1" || true)" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}/cpython-$1".*/bin/python3; do
        # A pyenv shim is there for every version, and fails for those not chosen.
        if [[ -x $candidate ]] && "$candidate" -c "import sys; sys.exit(f'$1' != f'{sys.version_info[0]}.{sys.version_info[1]}')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}
