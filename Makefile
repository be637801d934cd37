# make run     the demo site, on http://127.0.0.1:8080/
# make test    the whole test suite
# make lint    ruff and mypy
#
# Each makes what it needs, and works alone in a fresh clone.  Another Python: make test PYTHON=python3.12 (it gets an
# environment of its own, so that nothing is tested under a version that was not asked for).

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
CONFIG ?= etc/site.toml
TESTS ?= tests

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A strict editable installation: links to the sources, so that an edit is seen at once, and twistd sees twisted/plugins
# (the usual editable finder hides it).  The links are made for the files that there are, so a directory that changed
# means to install again.
INSTALL := $(PIP) install --quiet --config-settings editable_mode=strict --editable
SOURCES := setup.cfg pyproject.toml $(shell find src twisted -type d -not -name __pycache__ -not -name '*.egg-info')

.PHONY: run test lint clean
.DEFAULT_GOAL := run

run: $(VENV)/installed
	$(BIN)/twistd -n twistginx --config $(CONFIG)

test: $(VENV)/installed-test
	$(BIN)/trial $(TESTS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SOURCES) | $(VENV)/bin/python
	$(INSTALL) .
	touch $@

$(VENV)/installed-test: $(SOURCES) | $(VENV)/bin/python
	$(INSTALL) '.[test]'
	touch $@ $(VENV)/installed

clean:
	rm -rf .venv .venv-* build dist src/*.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
