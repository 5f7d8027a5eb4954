# make run    the proxy before an embedded legacy server, on 127.0.0.1:8080
# make demo   good and bad clients at an old server, without the proxy and with it; under a minute
# make test   lint and all tests
# make bench  speed and size beside nginx, haproxy, caddy and apache (BENCH=short for a quick one)
# make clients   run real clients and servers, and write what they do into docs/clients.md
# make fuzz   a coverage-guided search in what reads and writes messages (FUZZ_SECONDS=60)
# make container   build the image and run it; needs a Docker engine (deploy/with-docker make container)
# make lost   count the responses that each way of closing loses, beside nginx and haproxy (root)
# make docs   write the generated parts of docs/ anew
# make lock   refresh requirements-dev.lock
# Nothing else here needs root, and nothing is written outside this directory but pip's cache.

# The system's Python where it can make environments (Debian's is built with profile-guided optimisation: a
# tenth less CPU a request than a plain build), else the first in the path.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            && echo /usr/bin/python3 || echo python3)
VENV   ?= .venv
LISTEN ?= 127.0.0.1:8080
BENCH  ?= full
PYTEST ?=
JOBS   ?= 5
FUZZ_SECONDS ?= 60

PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check --quiet --retries 10 --timeout 30
SOURCES := shieldproxy tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help run demo test lint format pytest bench lost clients fuzz container docs lock clean

help:
	@sed -n 's/^# //p' Makefile | sed '/^Nothing/,$$d'

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "shieldproxy needs Python 3.11 or later; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m virtualenv --quiet $(VENV) 2>/dev/null || \
	  { rm -rf $(VENV); echo "no virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.run: $(PY) pyproject.toml requirements-dev.lock
	@echo "installing shieldproxy into $(VENV)"
	@$(PIP) install --constraint requirements-dev.lock --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) install --constraint requirements-dev.lock --editable '.[dev,clients]'
	@touch $@

run: $(VENV)/.run
	@exec $(PY) -m shieldproxy.run.try_it --listen $(LISTEN)

demo: $(VENV)/.run
	@exec $(PY) -m shieldproxy demo

test: lint pytest

lint: $(VENV)/.dev
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m mypy
	$(PY) -m tests.kit.house

format: $(VENV)/.dev
	$(PY) -m ruff check --fix $(SOURCES)
	$(PY) -m ruff format $(SOURCES)

pytest: $(VENV)/.dev
	$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST)

bench: $(VENV)/.dev
	$(PY) -m benchmarks $(if $(filter short,$(BENCH)),--short) $(if $(SHIELDPROXY_NO_SKIPS),--require-peers)

lost: $(VENV)/.dev
	$(PY) -m benchmarks.lost

clients: $(VENV)/.dev
	$(PY) -m tests.clients docs/clients.md

$(VENV)/.fuzz: $(VENV)/.dev
	@echo "installing what the search needs into $(VENV)"
	@$(PIP) install --constraint requirements-dev.lock --editable '.[fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz
	$(PY) -m tests.fuzz $(FUZZ_SECONDS)

container: $(VENV)/.dev
	SHIELDPROXY_CONTAINER=1 $(PY) -m pytest tests/deploy

docs: $(VENV)/.run
	$(PY) -m shieldproxy.configdoc > docs/configuration.md
	$(PY) -m shieldproxy.closingdoc docs/closing.md
	$(PY) -m tests.conformance > docs/conformance.md

lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[dev,clients]'
	{ echo "# Made by make lock: the versions that the tests are run with."; \
	  build/lock/bin/python -m pip --disable-pip-version-check freeze --exclude-editable; } > requirements-dev.lock
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
