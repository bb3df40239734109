# Sourced by scripts that call fairseq-train and tupe: says in one line how to get them on PATH.
for command in fairseq-train tupe; do
  command -v "$command" >/dev/null || {
    echo "$0: no $command on PATH: activate the environment that \`make demo\` or \`make install\`" \
      "made (. .venv/bin/activate), or another that has it" >&2
    exit 127
  }
done
