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

# An editable installation, so that an edit is seen at once, and the repository on the path of its Python, so that twistd
# sees twisted/plugins (which the editable installation hides) and trial sees tests.  Both go into the environment only.
INSTALL := $(PIP) install --quiet --editable
define SHOW_REPOSITORY
echo '$(CURDIR)' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/twistginx-repository.pth"
endef
METADATA := setup.cfg pyproject.toml

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

$(VENV)/installed: $(METADATA) | $(VENV)/bin/python
	$(INSTALL) .
	$(SHOW_REPOSITORY)
	touch $@

$(VENV)/installed-test: $(METADATA) | $(VENV)/bin/python
	$(INSTALL) '.[test]'
	$(SHOW_REPOSITORY)
	touch $@ $(VENV)/installed

clean:
	rm -rf .venv .venv-* build dist src/*.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis

# The comparison with nginx and others (issue 3), half an hour or more: make bench BENCH="--jobs static-1k --peers caddy"
.PHONY: bench
bench: $(VENV)/installed
	$(BIN)/python bench/run.py $(BENCH)
