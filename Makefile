# What a person types here. Each target says what it did and what comes next; `make` alone lists them.
# Needs Python 3.11 or newer and make; everything else comes with hashes from the two lock files.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
COMPILE := $(BIN)/uv pip compile --quiet --no-config --no-header --no-annotate --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --upgrade --extra build

.DEFAULT_GOAL := help
.PHONY: help run test lint types golden bench soak docs web lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## /\t/' | expand -t 9

run: $(VENV)/.installed  ## set up, migrate, load the demo data and serve (PORT=8000)
	@$(BIN)/atrium migrate
	@if [ -z "$$ATRIUM_CENTRAL_URL$$ATRIUM_POOLS$$ATRIUM_BASE_DOMAIN" ]; then $(BIN)/atrium demo; \
	else echo "Not the embedded set-up: no demo data is loaded (atrium demo --password … does that)."; fi
	@echo "Serving on http://localhost:$(PORT)/graphql; ctrl-C stops. Next: open it in a browser."
	@exec $(BIN)/atrium serve --port $(PORT)

test: $(VENV)/.tools  ## set up with the test tools, then the whole test suite
	@echo "Running the suite; a service that is not there is skipped and named (ATRIUM_REQUIRE_SERVICES=1 fails instead)."
	@$(PYTEST)

lint: $(VENV)/.tools  ## style, formatting and the layers between rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@echo "Style, format and layers hold. Next: make types"

types: $(VENV)/.tools  ## the strict type checker
	@$(BIN)/mypy
	@echo "Types hold. Next: make test"

golden: $(VENV)/.tools  ## rewrite the golden SQL, plans and answers, to be read as a diff
	@ATRIUM_GOLDEN=rewrite $(PYTEST) tests/golden
	@echo "Golden files are rewritten. Next: read them like code: git diff tests/golden"

bench: $(VENV)/.tools  ## measure the read paths and the way of money over MariaDB
	@$(BIN)/python -m bench
	@echo "Measured. Next: compare with the figures in bench/README.md"

soak: $(VENV)/.tools  ## a long mixed load on loopback, watching memory and invariants
	@$(BIN)/python -m bench.soak
	@echo "Soaked. Next: atrium doctor"

docs: $(VENV)/.installed  ## write the pages and tables that are drawn from the code
	@$(BIN)/atrium docs
	@$(BIN)/atrium schema > schema/schema.graphql.new
	@mv schema/schema.graphql.new schema/schema.graphql
	@echo "Pages and SDL are drawn anew. Next: git diff docs README.md schema/schema.graphql"

web:  ## rebuild the explorer's committed files (the one target that needs Node)
	@command -v npm >/dev/null || { echo "make web needs Node with npm; the built files in web/dist are committed, so only changing the explorer asks for it."; exit 1; }
	@cd web && npm ci --no-audit --no-fund && npm run build
	@echo "web/dist is rebuilt. Next: git diff --stat web/dist, then make test"

lock: $(VENV)/.tools  ## resolve the dependencies anew into both lock files
	@$(COMPILE) --extra test -o requirements-test.lock pyproject.toml
	@$(COMPILE) -c requirements-test.lock -o requirements.lock pyproject.toml
	@echo "Both locks are written anew, with the hashes of all published files. Next: make test, then commit them together."

clean:  ## remove the virtual environment and caches; data under var/ stays
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
	@echo "Environment and caches are gone; your data is untouched. Next: make run"

# A virtual environment of our own; half a one is removed, so that the next try starts clean.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here. Install Python 3.11 or newer, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$$($(PYTHON) --version) is too old: Atrium needs 3.11 or newer. Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "Python could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.made requirements.lock pyproject.toml
	@echo "Installing the locked dependencies into $(VENV) (a minute or two, the first time only) …"
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Installed. From now on: $(BIN)/atrium --help"

$(VENV)/.tools: $(VENV)/.installed requirements-test.lock
	@echo "Installing the test tools …"
	@$(PIP) install --quiet --require-hashes -r requirements-test.lock
	@touch $@
	@echo "The test tools are in $(VENV)."
