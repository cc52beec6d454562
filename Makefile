# Everything runs from .venv, which is created when first needed. PYTHON picks the interpreter (3.11 to 3.13).

PYTHON ?= python3
VENV ?= .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
ARTIFACTS ?= artifacts
BASE ?= HEAD
RUN := $(BIN)/flowernoise run

.DEFAULT_GOAL := help
.PHONY: help demo docs seed quick test test-all test-lowest vulnerabilities bench check format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## The first experiment and a 5-class sweep on drawn photos; no download
	$(RUN) synthetic:photos=700 --preset seed --backbone efficientnet_lite0 --artifacts $(ARTIFACTS)/demo-seed
	$(RUN) synthetic --backbone efficientnet_lite0 --noise symmetric --rates 0.2,0.4,0.6 --seeds 5 \
	  --loss ce --loss mae --epochs 15 --artifacts $(ARTIFACTS)/demo

docs: demo ## Generate the pages made from the code, and the README's pictures from the demo
	$(BIN)/python docs/generate.py
	$(BIN)/flowernoise report --quiet --artifacts $(ARTIFACTS)/demo
	cp $(ARTIFACTS)/demo/report/accuracy.svg $(ARTIFACTS)/demo/report/draw-symmetric-0.6-seed0.jpg docs/

seed: $(VENV)/.installed ## The first experiment as its author ran it: tf_flowers, ImageNet ResNet50 (downloads)
	$(RUN) tf_flowers --preset seed --artifacts $(ARTIFACTS)/seed

quick: $(VENV)/.developing ## Lint, types and the tests for your changes, in a minute; choose with FILES="a.py b.py" or BASE=main
	$(BIN)/python -m tests.quick --base $(BASE) $(FILES)

test: $(VENV)/.developing ## The tests, as CI runs them
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.developing ## All tests, including the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-lowest: $(LOWEST)/.developing ## The tests with the oldest versions of libraries that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

vulnerabilities: $(VENV)/.auditing ## Check installed packages for known vulnerabilities; see docs/security.md (needs the network)
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/installed.txt
	$(BIN)/python -m pip_audit --strict --no-deps --disable-pip --requirement $(VENV)/installed.txt

bench: $(VENV)/.benchmarking ## Measure speed against Keras and PyTorch: prints a table, writes bench.json
	$(BIN)/python tests/benchmarks/bench.py --json bench.json

check: $(VENV)/.developing ## Lint, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

format: $(VENV)/.developing ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment, caches and everything in artifacts/ except its README
	rm -rf $(VENV) $(LOWEST) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find flowernoise tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find artifacts -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.benchmarking: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

$(VENV)/.developing: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.auditing: | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'
	touch $@

# Every lower bound becomes the exact version; indirect dependencies stay at the newest that fits.
$(LOWEST)/.developing: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  bounds = project['dependencies'] + project['optional-dependencies']['dev']; \
	  print(*(bound.replace('>=', '==') for bound in bounds), sep='\n')" > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' \
	  --constraint $(LOWEST)/constraints.txt
	touch $@
