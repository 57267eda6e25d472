# `make help` lists what there is. Every target makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BENCH := .venv-bench
PORT ?= 8000

ROOMS := manage.py encoder storage indexer search web benchmarks

unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-long test-browser lint format audit bench clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready  ## Index sample photos and serve the page at http://127.0.0.1:8000 (PORT=8000).
	$(PY) manage.py demo --port $(PORT)

serve: $(VENV)/ready  ## Serve the page of the collection that is there.
	$(PY) manage.py serve --port $(PORT)

test: $(VENV)/ready-dev  ## Run the tests that protect every change.
	$(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not long" tests

test-long: $(VENV)/ready-dev  ## Run the tests of endurance: every step of writing is killed, crowds, large collections.
	$(PY) -m pytest -q -m long tests

test-browser: $(VENV)/ready-dev  ## Run the tests of the page in a browser.
	$(PY) -m pytest -q tests/browser

lint: $(VENV)/ready-dev  ## Check the code's form and types.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m basedpyright

format: $(VENV)/ready-dev  ## Bring the code into its form.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

audit: $(VENV)/ready-dev  ## Look for dangerous calls and for known faults of the pinned packages.
	$(PY) -m bandit -q -ll -r $(ROOMS)
	$(PY) -m pip_audit --strict --disable-pip --no-deps -r requirements.txt

bench: $(VENV)/ready $(BENCH)/ready  ## Measure the encoder beside PyTorch and ONNX Runtime.
	$(PY) -m benchmarks.encoder --torch-python $(BENCH)/bin/python

$(VENV)/bin/python:
	@echo "Making the environment in $(VENV)"
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/ready: $(VENV)/bin/python requirements.txt
	@echo "Installing requirements.txt (mindspore alone is 800 MB; some minutes)"
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	@echo "Installing requirements-dev.txt"
	$(PY) -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCH)/ready: requirements-bench.txt
	@echo "Making the environment of PyTorch and ONNX Runtime in $(BENCH)"
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --disable-pip-version-check -r requirements-bench.txt
	@touch $@

clean:  ## Remove the environments; collections in var/ stay.
	rm -rf $(VENV) $(BENCH)
