# Every target makes what it needs: the first run creates .venv and installs into it, later runs find it there.
PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q --durations=10 --numprocesses=$(WORKERS) --dist=worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo textbook test test-slow lint docs bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "PYTHON=python3.12 names the interpreter that .venv is made from; WORKERS=4 the test processes."

demo: $(VENV)/.plain ## Q-learning and DQN over many seeds, with a table and pictures in results/demo
	$(BIN)/python -m experiments.demo

textbook: $(VENV)/.plain ## figures of Sutton & Barto's textbook against exact answers, in results/textbook
	$(BIN)/python -m experiments.textbook

test: $(VENV)/.test ## all tests but the slow ones, and the examples in docstrings
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.test ## the slow tests
	$(PYTEST) -m slow

lint: $(VENV)/.test ## style, formatting and types, those of the examples in READMEs and docstrings too
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tests/snippets.py build/snippets
	$(BIN)/basedpyright --level error purerl experiments build/snippets

docs: $(VENV)/.docs ## the API reference, with formulas, in build/docs
	$(BIN)/python .github/docs/reference.py build/docs

bench: $(VENV)/.test ## speed, compared with other libraries
	$(BIN)/python -m experiments.benchmarks

clean: ## remove .venv, caches and build files; results/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find purerl experiments tests -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp says that an extra is installed as pyproject.toml and constraints.txt now ask.
$(VENV)/.plain: pyproject.toml constraints.txt
	$(call install,)

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,test)
	@touch $(VENV)/.plain # which is part of it

$(VENV)/.docs: pyproject.toml constraints.txt
	$(call install,docs)

define install
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "purerl needs Python 3.11 or newer, and '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }; \
	  echo "Creating $(VENV)"; \
	  $(PYTHON) -m venv --clear $(VENV) || \
	    { echo "'$(PYTHON)' could not create $(VENV) (on Debian or Ubuntu: apt install python3-venv)"; exit 1; }; }
	@echo "Installing purerl$(if $(1),[$(1)]) into $(VENV): about a minute, this once"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.$(if $(1),[$(1)])' --constraint constraints.txt
	@touch $@
endef
