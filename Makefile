# Plumbline: `make train` on a machine that has only Python 3.11 (or newer) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
DECODER := tasks/core/data/block_decoder/_decoder
SUFFIX := 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'

.DEFAULT_GOAL := help
.PHONY: help train predict test test-fast stress check format decoder dashboard bench bench-training docs clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# pip compiles what it installs to bytecode; without it TensorFlow takes 20 s to import instead of 8.
INSTALL := $(BIN)/python -m pip install --quiet --compile --constraint constraints.txt --editable

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing what Plumbline needs into $(VENV): 2.9 GB, a few minutes the first time"
	$(INSTALL) .
	@touch $@

# What tests, checks and the documentation need besides.
$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing the development tools into $(VENV): 4.0 GB with what Plumbline needs"
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(VENV)/installed-dev
	$(INSTALL) '.[docs]'
	@touch $@

train: $(VENV)/installed ## Train, evaluate and publish; ARGS="--dataset cifar10 --recipe fast"
	$(BIN)/plumbline train $(ARGS)

predict: $(VENV)/installed ## Classify images; ARGS="new-photos/ --json"
	@$(BIN)/plumbline predict $(ARGS)

# Three processes share two cores: further threads of BLAS would only wait and spin (docs/experiments.md).
# A module is compiled once, also where that variable is set, and not in each command that a test starts.
test test-fast: export OPENBLAS_NUM_THREADS := 1
test test-fast: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/installed-dev ## Run all tests but the stress tests (below 10 minutes on 2 cores)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --durations 10 $(ARGS)

test-fast: $(VENV)/installed-dev ## Run the quick tests (below 1 minute on 2 cores)
	$(BIN)/python -m pytest -m 'not slow and not stress' --numprocesses 3 --dist loadfile --durations 10 $(ARGS)

stress: $(VENV)/installed-dev ## Run the long randomised stress tests (fuzzing, kills, races)
	$(BIN)/python -m pytest -m stress --timeout 7200 $(ARGS)

check: $(VENV)/installed-dev docs ## Lint, format, import and type checks, and the site, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 .  # text is UTF-8 in every locale
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(VENV)/installed-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

decoder: $(VENV)/installed ## Build the optional decoder of small JPEGs (needs cc and libjpeg-turbo's headers)
	$(CC) -O3 -fPIC -shared -o $(DECODER).new $(dir $(DECODER))*.c -ljpeg
	mv $(DECODER).new $(DECODER)$$($(BIN)/python -c $(SUFFIX))
	$(BIN)/python -c 'from tasks.core.data.block_decoder import library; exit(print("built") if library.load() else "not built")'

# Types of blocks are registered even where a temporary server of an earlier version noted that they are.
dashboard: $(VENV)/installed ## Start the Prefect server; runs of other terminals: see its first lines
	@echo "dashboard: http://127.0.0.1:4200"
	@echo "to have runs appear there: export PREFECT_API_URL=http://127.0.0.1:4200/api"
	PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION=0 \
		PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 $(BIN)/prefect server start

bench: $(VENV)/installed-dev ## The quick form of the benchmarks: a JSON and a page in benchmarks/out
	$(BIN)/python benchmarks/all.py $(ARGS)

bench-training: $(VENV)/installed-dev ## Accuracy and cost of each recipe against the textbook script; ARGS=--quick
	$(BIN)/python benchmarks/training.py $(ARGS)

docs: $(VENV)/installed-docs ## Build the documentation into site/; a dead link is an error
	$(BIN)/zensical build --clean --strict

clean: ## Remove the virtual environment and caches (never the workspace)
	rm -rf $(VENV) build site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
