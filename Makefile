# `make sweep` and `make test` set up what they need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=
JOBS ?= 3  # on two cores: many tests wait
# `make sweep budget=60 search=sobol`: what is set on make's command line goes to the sweep
OVERRIDES = $(patsubst %,'%',$(filter-out ARGS=% PYTHON=% JOBS=%,$(MAKEOVERRIDES)))

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "sweeper needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[report]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@

.PHONY: install
install: $(VENV)/installed  ## make .venv and install the project into it

.PHONY: sweep
sweep: install  ## search an MLP on scikit-learn's digits; again: goes on, or says that it is complete (make sweep budget=60)
	@$(BIN)/python experiments/digits.py --multirun $(OVERRIDES) $(ARGS)

.PHONY: lint
lint: $(VENV)/installed-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: test
test: lint  ## lint, then every test, with a short version of the fault suite (make faults); measures branch coverage
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report= $(ARGS)
	@printf 'branch coverage, in the tests'"'"' own processes: '; $(BIN)/python -m coverage report --format=total

.PHONY: clean
clean:  ## remove .venv and caches; studies in runs/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info .coverage*

.PHONY: faults
faults: $(VENV)/installed-dev  ## the long fault runs: every crash point, hundreds of trials under kills (some twenty minutes)
	SWEEPER_FAULTS=long $(BIN)/python -m pytest tests/faults --deselect tests/faults/test_mutants.py $(ARGS)

.PHONY: mutants
mutants: $(VENV)/installed-dev  ## break a rule of the design at a time: the fault tests must notice
	SWEEPER_FAULTS=long $(BIN)/python -m pytest tests/faults/test_mutants.py $(ARGS)

BENCH := runs/bench
QUALITY = $(BIN)/python -m experiments.benchmarks.search_quality --data '$(DATA)' --out $(BENCH)/search_quality.csv $(ARGS)

.PHONY: bench
bench: $(VENV)/installed-bench  ## how good the searches are, a night of it: make bench DATA=DIR (LCBench); again: goes on
	@test -f '$(DATA)/model.onnx' || \
	  { echo "make bench DATA=DIR: DIR holds LCBench's surrogate, as experiments/benchmarks/lcbench.py says"; exit 1; }
	$(QUALITY) --search coarse_to_fine cs231n tpe+halving tpe+hyperband tpe+median
	$(QUALITY) --noise 1
	$(QUALITY) --bad-range
	$(QUALITY) --workers 4 --search coarse_to_fine gp tpe random
	@for bench in hpobench hpolib nasbench201; do for noise in 0 1; do \
	  $(QUALITY) --bench $$bench --noise $$noise --search coarse_to_fine gp tpe random || exit 1; \
	done; done
	@$(MAKE) --no-print-directory $(addprefix $(BENCH)/,borders.md real_training.md queries.md ensembles.md)

$(BENCH)/borders.md:
	@mkdir -p $(BENCH)
	$(BIN)/python -m experiments.benchmarks.borders --data '$(DATA)' > $@.part && mv $@.part $@

$(BENCH)/queries.md $(BENCH)/ensembles.md: $(BENCH)/%.md:
	@mkdir -p $(BENCH)
	$(BIN)/python -m experiments.benchmarks.$* > $@.part && mv $@.part $@

$(BENCH)/real_training.md:
	@mkdir -p $(BENCH)
	$(BIN)/python -m experiments.benchmarks.real_training --keep $(BENCH)/real_training > $@.part && mv $@.part $@
