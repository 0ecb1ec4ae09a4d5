# make run    install qtsim into .venv and backtest ema_cross on the generated sample market
# make test   install the development tools too, then lint, type check, import contracts and the whole test suite
#
# Overrides: make test PYTHON=python3.12 VENV=/tmp/venv JOBS=4 PYTEST_ARGS="-k ratchet"; make bench BENCH_ARGS="--only speed"

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV ?= .venv
JOBS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INPUTS := pyproject.toml setup.py constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run install dev test check lint format test-nojit bench bench-peers docs clean

help:  ## list the targets
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ { printf "make %-12s %s\n", $$1, $$2 }' Makefile

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qtsim needs Python 3.11 or newer; found $$("$(PYTHON)" --version 2>&1). Name one: make PYTHON=python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.core: $(INPUTS) | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(INPUTS) | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.core

install: $(VENV)/.core  ## create .venv with the core

dev: $(VENV)/.dev  ## create .venv with the core and the development tools

run: $(VENV)/.core  ## backtest ema_cross on the sample market
	$(BIN)/qtsim backtest

lint: $(VENV)/.dev  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint docs  ## lint, then architecture and documentation tests: the quick round
	$(BIN)/python -m pytest tests/architecture -q $(PYTEST_ARGS)

test: $(VENV)/.dev  ## lint, then the whole suite; the suite runs even where lint found something, and both must pass
	@lint=0; $(MAKE) --no-print-directory lint || lint=$$?; \
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS) && exit $$lint

test-nojit: $(VENV)/.dev  ## the kernels' own tests, interpreted instead of compiled
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest tests/unit tests/scenarios -n $(JOBS) $(PYTEST_ARGS)

bench: $(VENV)/.dev  ## every benchmark beside its peers (make bench-peers first), results in build/benchmarks
	$(BIN)/python benchmarks/all.py $(BENCH_ARGS)

bench-peers: $(VENV)/.dev  ## create the environments of the peers
	$(BIN)/python benchmarks/environments.py

docs: $(VENV)/.dev  ## run the code of README and docs, and check links and settings named there
	$(BIN)/python -m pytest tests/docs -q $(PYTEST_ARGS)

clean:  ## remove .venv and everything that was built
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
