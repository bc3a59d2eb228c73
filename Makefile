# plangym_lite. On a fresh machine with Python 3.10 or newer: `make demo`, `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= out
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow soak check lint format types notebooks docs wheel release pythons newest bench clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/core

setup: $(VENV)/dev  ## virtual environment with everything that development needs

demo: $(VENV)/core  ## play Boxing by planning, and film it beside random play
	@mkdir -p $(OUT)
	$(BIN)/plangym-lite plan ALE/Boxing-v5 --planner rollout_iw --budget 57 --frameskip 15 \
	  --risk-aversion 50000 --steps 480 --seed 0 --gif $(OUT)/boxing.gif --json $(OUT)/boxing.json
	@echo "The film, planner and random play side by side: $(abspath $(OUT)/boxing.gif)"

test: $(VENV)/dev  ## all tests but the slow ones
	$(BIN)/python -m tests

slow: $(VENV)/dev  ## the slow tests too
	$(BIN)/python -m tests -m 'slow or not slow'

soak: $(VENV)/dev  ## MINUTES=10 of faults at full speed: rows wrong, rows lost, leaks
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

check: lint types test wheel  ## what CI runs

lint: $(VENV)/dev  ## style
	$(BIN)/ruff check plangym_lite tests .ci
	$(BIN)/ruff format --check plangym_lite tests .ci

format: $(VENV)/dev  ## bring the code into style
	$(BIN)/ruff check --fix plangym_lite tests .ci
	$(BIN)/ruff format plangym_lite tests .ci

types: $(VENV)/dev  ## types
	$(BIN)/mypy

notebooks: $(VENV)/dev  ## run the notebooks and store their outputs
	$(BIN)/python -m tests.tools.notebooks

docs: $(VENV)/dev  ## build the documentation as a site, strictly: site/index.html
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --strict
	@echo "The site: $(abspath site/index.html)"

wheel: $(VENV)/dev  ## build the wheel, install it elsewhere, use it there
	rm -rf dist build
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null
	bash .ci/try-wheel $(PYTHON) dist/*.whl

release: wheel  ## build and check source distribution and wheel; uploads nothing
	$(BIN)/python -m build --sdist --outdir dist . >/dev/null
	$(BIN)/twine check --strict dist/*
	bash .ci/try-wheel $(PYTHON) dist/*.tar.gz

pythons: $(VENV)/dev  ## core tests, lowest and newest versions, on the Pythons that are here; TESTS=...
	$(BIN)/nox -f .ci/noxfile.py -- $(TESTS)

newest: $(VENV)/dev  ## the part of it that tests the newest mujoco, without dm_control
	$(BIN)/nox -f .ci/noxfile.py -s newest

bench: $(VENV)/core  ## how fast it is on this machine, beside the raw emulator
	$(BIN)/plangym-lite bench

clean:  ## remove what was built here
	rm -rf $(VENV) $(OUT) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .nox
	find . -name __pycache__ -prune -exec rm -rf {} + ; rm -rf *.egg-info
