# Each target starts from nothing: environments are made when they are needed.
# `make VENV=/path/to/venv test` uses (or creates) another environment than .venv.
PYTHON ?= python3
VENV ?= .venv
BENCH_OUT ?= benchmarks/out
# About half of the profile's steps: eight minutes on two cores, the installation included.
BENCH_ARGS ?= --datasets contours --profile quick --set max_steps=160 validate_every=16
GPU_KIT ?= gpu-kit
# For one module, two mutants at a time: MUTATION_ARGS="--max-children 2 probseg.metrics.ncc*"
MUTATION_ARGS ?=
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=8 --dist=worksteal

# What the oldest versions have to pass: all parts, the metrics, training and its files.
OLDEST ?= $(VENV)-oldest
OLDEST_TESTS ?= tests/testing/test_builtins.py tests/models tests/divergences \
	tests/set_losses tests/projectors tests/decoders tests/backbones tests/utils tests/registry tests/test_options.py \
	tests/metrics tests/sharing \
	tests/training/test_augmentation.py tests/training/test_fit.py tests/training/test_gradients.py

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# uv installs in half of pip's time; where it cannot, as it reads no pip.conf, pip does.
# An empty file for each extra, newer than pyproject.toml once that extra is installed.
stamp = $(VENV)/.probseg-$(1)

.DEFAULT_GOAL := help
.PHONY: help setup bench test test-all oldest plugins extras mutation lint stats format docs gpu-kit clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(call stamp,dev) $(call stamp,docs) ## create the environment with everything in it

bench: $(call stamp,bench) ## train, evaluate and picture the three models on the embedded data
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS) --out $(BENCH_OUT)

test: $(call stamp,dev) ## run the quick tests, within some minutes
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not install"

test-all: $(call stamp,dev) ## run all tests that install nothing, with coverage
	$(BIN)/python -m pip list --disable-pip-version-check
	$(BIN)/python -m pytest --cov=probseg --cov-report=term --cov-fail-under=95 \
		$(PYTEST_ARGS) -m "not install"

oldest: $(OLDEST)/.probseg-oldest ## run a part of the tests with the oldest versions that pyproject.toml admits
	$(BIN)/uv pip list --python $(OLDEST)/bin/python
	$(OLDEST)/bin/python -m pytest $(PYTEST_ARGS) -m "not slow and not install" $(OLDEST_TESTS)

plugins: $(call stamp,dev) ## run each plugin's own tests, where that plugin alone is installed
	$(BIN)/python -m pytest -m install tests/project/test_plugins.py

extras: $(call stamp,dev) ## install the wheel with each extra alone, and use what the extra is for
	$(BIN)/python -m pytest -m install tests/project/test_extras.py

mutation: $(call stamp,dev) $(call stamp,mutation) ## plant faults in metrics, parts and loss, and count those that tests notice (an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run $(MUTATION_ARGS)
	$(BIN)/python tests/project/mutation.py

lint: $(call stamp,dev) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

stats: ## print measures of the code: files, lines, imports between rooms, functions
	$(PYTHON) tests/project/stats.py

format: $(call stamp,dev) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(call stamp,docs) ## build the documentation into site/
	$(BIN)/mkdocs build --strict

gpu-kit: $(call stamp,bench) ## what to carry to a GPU machine without network: wheels, LIDC of PROBSEG_DATA
	$(BIN)/python -m benchmarks.gpu.kit --out $(GPU_KIT)

clean: ## remove what the other targets wrote, save the environment
	rm -rf site mutants .coverage .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(call stamp,%): pyproject.toml | $(BIN)/python
	$(PIP) uv && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[$*]' \
		|| $(PIP) --editable '.[$*]'
	@touch $@

# The bound of torchvision, which others need, keeps torch at its own.
$(OLDEST)/.probseg-oldest: pyproject.toml $(call stamp,dev)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OLDEST)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(OLDEST)/bin/python --resolution lowest-direct \
		--editable '.[dev]' 'torchvision>=0.21'
	@touch $@
