# make setup   an environment in .venv with everything that a developer needs
# make test    the tests                     make lint   style and types
# make demo    a registration to look at     make docs   the pages, in site/
# make clean   remove all that the others made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup test lint demo docs clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DOCS_READY := $(VENV)/ready-docs

# The CPU build of torch is asked for by its version where there is no NVIDIA GPU.
TORCH := $(shell command -v nvidia-smi >/dev/null 2>&1 && echo torch || echo torch==2.13.0)

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

setup: $(READY)

# The environment counts as ready only when the last step has succeeded; otherwise it is made anew.
$(READY): pyproject.toml
	@python=; \
	for name in python3.13 python3.12 python3.11 python3 python; do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "coincide needs Python 3.11 or newer with venv, and found none;" \
	    "install one, for example with: apt-get install python3.12-venv" >&2; exit 1; \
	fi; \
	if [ -e $(VENV) ] && [ ! -e $(READY) ]; then rm -rf $(VENV); fi; \
	if [ ! -e $(VENV) ]; then "$$python" -m venv $(VENV); fi; \
	rm -f $(READY) $(DOCS_READY); \
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"; \
	$(BIN)/python -m pip install --quiet "$(TORCH)"; \
	$(BIN)/python -m pip install --quiet --editable ".[demo]" --group dev
	@touch $@

$(DOCS_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --group docs
	@touch $@

# One process for each core, with one thread each; the images are too small for more.
# A file goes to one process: two would compile the same loops at the same time.
# TESTS= runs those that take long as well, TESTS=triton the kernels for CUDA.
TESTS := not slow
test: export OMP_NUM_THREADS := 1
test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "$(TESTS)"

lint: $(READY)
	$(BIN)/ruff check src tests docs benchmarks conftest.py
	$(BIN)/ruff format --check src tests docs benchmarks conftest.py
	$(BIN)/pyright --pythonpath $(BIN)/python

demo: $(READY)
	$(BIN)/coincide demo

docs: $(DOCS_READY)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist demo .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
