# Two commands: `make demo` shows Panoptes at work, `make test` runs its tests. Both make the environment they need.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BENCH := .venv-bench
PORT ?= 8000

ROOMS := builds.py console.py editor.py evaluation_commands.py lifecycle.py manage.py model_commands.py search_command.py encoder storage indexer search web benchmarks

.PHONY: demo test test-browser lint audit bench clean

demo: $(VENV)/ready
	$(PY) manage.py demo --port $(PORT)

test: $(VENV)/ready-dev
	$(PY) -m pytest -q -n 2 --dist loadfile tests

test-browser: $(VENV)/ready-dev
	$(PY) -m pytest -q tests/test_page_browser.py

lint: $(VENV)/ready-dev
	$(PY) -m ruff check .

audit: $(VENV)/ready-dev
	$(PY) -m bandit -q -ll -r $(ROOMS)
	$(PY) -m pip_audit --strict --disable-pip --no-deps -r requirements.txt

bench: $(VENV)/ready $(BENCH)/ready
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

clean:
	rm -rf $(VENV) $(BENCH)
