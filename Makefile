# make demo [ARGS=--tour]   the gateway in front of a real PostgreSQL, with sample data
# make test [ARGS=...]      lint, then the whole suite
# make generated [COUNT=100000]  so many generated honest statements and attacks through the gateway, for a night
# make majors [MAJORS="13 18"] [ARGS=...]  the read-only guarantee on each PostgreSQL from 13 to 18; fetches what is not installed
# make bench [ARGS=--quick] what the gateway costs beside PgBouncer, pgpool-II, haproxy and ssh -L (see docs/performance.md)
# make lint                 ruff, mypy, import contracts
# make lock                 bring the locks (requirements*.txt: to run, with all extras, for the demo, for the tests) up to date
# make clean                remove .venv, .demo and caches

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
COUNT ?= 100000
MAJORS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --all-build-deps \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# What a gateway may have besides: whom it tells and asks, where its upstream passwords are kept.
SERVERS_EXTRAS := --extra aws --extra gcp --extra mail --extra pagerduty --extra slack --extra vault

# Bytecode is kept, whatever the caller's environment says: tests start a thousand processes, and each would compile us anew.
export PYTHONDONTWRITEBYTECODE :=

# Three at a time on two cores: beside two, a quarter of the time nobody computed, as many a test waits for a clock.
WORKERS := 3

# What the compiled twins take over where they were built, is tested without them, too.
PURE := tests/core tests/proxy/test_audit_journal.py tests/proxy/test_audit_trail.py tests/proxy/test_tls_transport.py \
	tests/e2e/test_pipelines.py \
	tests/e2e/test_random_scripts.py tests/e2e/test_audit_holds.py tests/faults/test_killed.py

.PHONY: demo test generated majors bench lint format lock clean

demo: $(VENV)/.demo-ready
	@$(BIN)/python -m gateway.demo $(ARGS)

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist load $(ARGS) || { [ $$? = 1 ] && [ -z "$(ARGS)" ] || exit 1; \
	  echo "What failed beside other tests, once more and alone: bounds of time hold on a busy machine, too, but not on any ..."; \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 5; }
	@if [ -z "$(ARGS)" ] && ls gateway/proxy/steady_c*.so >/dev/null 2>&1; then echo "Once more without the compiled twins: what they are twins of ..."; \
	  PGBASTION_PURE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist load -q $(PURE) || \
	  PGBASTION_PURE=1 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 5 $(PURE); fi

generated: $(VENV)/.dev-ready
	PGBASTION_GENERATED=$(COUNT) $(BIN)/python -m pytest tests/generated -s $(ARGS)

majors: $(VENV)/.dev-ready
	$(BIN)/python -m tests.majors $(MAJORS) -- $(ARGS)

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev-ready
	$(BIN)/python -m tests.bench $(ARGS)

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev-ready
	$(COMPILE) --upgrade --output-file requirements.txt pyproject.toml
	$(COMPILE) --upgrade --constraint requirements.txt --extra demo --output-file requirements-demo.txt pyproject.toml
	$(COMPILE) --upgrade --constraint requirements-demo.txt --extra demo --extra dev --output-file requirements-dev.txt pyproject.toml
	$(COMPILE) --upgrade --constraint requirements-dev.txt $(SERVERS_EXTRAS) --output-file requirements-extras.txt pyproject.toml

clean:
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build
	find gateway -name '*_c.c' -delete -o -name '*_c.*.so' -delete

# The virtual environment. A stamp says what is installed; nothing is installed twice. The project itself is installed
# editable, without looking for dependencies, so that the lock is the only source of what is there.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pgbastion needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No venv module: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo-ready: $(BIN)/python requirements-demo.txt pyproject.toml setup.py $(wildcard gateway/*/*.pyx gateway/*/*.pxd)
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) install --require-hashes --requirement requirements-demo.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.demo-ready requirements-dev.txt
	@echo "Installing what the tests want into $(VENV) (once) ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@
