# Every target makes the virtual environment first if it is not there. PYTHON=python3.12 make … chooses another Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is installed in it: what the demo needs, what tests and linters need on top, what the site needs on top
DEMO := $(VENV)/.demo
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow bench lint docs package clean

demo: $(DEMO)
	$(BIN)/quantbench demo

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

bench: $(DEV)
	$(INSTALL) -e ".[examples]"
	$(BIN)/python -m bench

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

package: $(DEV)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

$(DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(DEV): $(DEMO)
	$(INSTALL) -e ".[dev]"
	touch $@

$(DOCS): $(DEMO)
	$(INSTALL) -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) runs site build dist
