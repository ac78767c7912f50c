# Everything starts here: `make demo` runs the city, `make test` proves it. Both set up what they need.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCK   := deploy/requirements.lock
DRESS  := services/passerelle/web/assets
IDENTITY := deploy/identity/node_modules
PAGES  := services/passerelle/web/static/names.json

# A city, and a test of one, is many processes: without kept bytecode each would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: exhaustive help setup demo test check static format bench faults lock clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/ready $(PAGES)  ## the virtual environment, from the locked versions, and what the pages are dressed with

$(VENV)/ready: $(LOCK) pyproject.toml deploy/preflight.sh
	@PYTHON=$(PYTHON) sh deploy/preflight.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked versions into $(VENV) …"
	@# The lock is complete, so there is nothing to resolve; modules are compiled when they are first imported.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PAGES): $(wildcard $(DRESS)/*.* $(DRESS)/css/*.css $(DRESS)/js/*.js)
	@echo "Bundling the pages' style sheets, scripts and fonts …"
	@cd $(DRESS) && npm ci --silent --ignore-scripts --no-audit --no-fund && node build.mjs

$(IDENTITY): deploy/identity/package-lock.json
	@cd deploy/identity && npm ci --silent --no-audit --no-fund && touch node_modules

demo: setup $(IDENTITY)  ## the demonstration city; ONCE=1 stops by itself, INPUT=<csv[.gz]> publishes a street-report file
	@$(BIN)/python -m lutece.demo $(if $(ONCE),--once) $(if $(INPUT),--input "$(INPUT)")

static: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check: static  ## format, lint, types, imports, unit tests: under a minute
	@$(BIN)/pytest -q -n auto -m "not slow and not postgresql" tests/unit tests/contract

ON_POSTGRESQL := tests/unit/ledger $(addprefix tests/unit/records/test_,store.py postgresql.py relay.py fence.py erasure.py)

test: static  ## the tests, on a real broker; the stores and the ledger on PostgreSQL too
	@# One more than there are cores: who waits for a database or a process leaves its core to another.
	@$(BIN)/pytest -q -n 3 -m "not postgresql" tests/unit tests/contract
	@$(BIN)/pytest -q -n 3 -m postgresql $(ON_POSTGRESQL)
	@# Three files at once, each on its broker: most of their time is time-outs and take-overs that they wait for.
	@$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder tests/integration tests/faults tests/browser

exhaustive: test  ## those, every test of the consent service on PostgreSQL, and every page in all ways that it is seen
	@PASSERELLE_EXHAUSTIVE=1 $(BIN)/pytest -q -n 3 -m postgresql tests/unit tests/contract
	@PASSERELLE_EXHAUSTIVE=1 $(BIN)/pytest -q tests/unit/records/test_openapi.py -m "not postgresql"
	@PASSERELLE_AXE=all $(BIN)/pytest -q tests/browser

format: setup  ## put the code in its form
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup  ## figures with their peers: ONLY=gate|route|fence|…
	@$(BIN)/python tests/bench/run.py $(ONLY)

faults: setup  ## a fault scenario with its history: ONLY=<name> SEED=<n>
	@$(BIN)/python tests/faults/run.py $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED))

lock:  ## choose the versions anew (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --all-extras --group dev --output-file $(LOCK) pyproject.toml

clean:  ## remove what was built; keys and stores in .passerelle stay
	@rm -rf $(VENV) deploy/kafka/target .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
