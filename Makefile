# messagepipe: everything a developer runs. `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.complete
DATA   ?= .messagepipe

# What is checked and formatted; protos/gen is generated.
CODE   := services gateway cli scripts tests $(wildcard bench)

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is written last, so an interrupted set-up is taken up again and a finished one costs nothing.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "messagepipe needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

.PHONY: setup
setup: $(STAMP) ## make .venv from the lock file (does nothing when nothing changed)

.PHONY: run
run: setup ## set up if needed, start everything with the demo, keep serving (Ctrl-C stops it all)
	@exec $(BIN)/messagepipe up --demo --data-dir $(DATA)

.PHONY: up
up: setup ## the same without the demo
	@exec $(BIN)/messagepipe up --data-dir $(DATA)

.PHONY: migrate
migrate: setup ## bring the database of MESSAGEPIPE_DATABASE_URL to the newest schema
	@$(BIN)/messagepipe migrate

# Each worker has a PostgreSQL of its own; a file's tests stay together. Most of them wait more than they count.
WORKERS ?= 2

.PHONY: test
test: setup ## run every test that needs no network (WORKERS=1: one after the other)
	$(BIN)/pytest tests -m "not chaos and not fuzz" -n $(WORKERS) --dist loadfile

.PHONY: chaos
chaos: setup ## kill, pause and starve a whole messagepipe for about an hour (CHAOS_SCALE=0.1: minutes) and count what is lost
	$(BIN)/pytest tests/chaos -m chaos -s

.PHONY: fuzz
fuzz: setup ## ask every operation of /openapi.json many questions, and send to 10,000 at once (some minutes)
	$(BIN)/pytest tests -m fuzz

.PHONY: bench
bench: setup ## measure everything beside the limit of this machine (25 minutes; docs/performance.md), write bench.json
	$(BIN)/python -m bench --json bench.json

.PHONY: bench-quick
bench-quick: setup ## the ratios in a minute; fails where one by CPU time is below half of what bench/recorded.json holds
	$(BIN)/python -m bench --quick

.PHONY: test-unit
test-unit: setup ## run the tests without sockets and database (seconds)
	$(BIN)/pytest tests/unit

.PHONY: check
check: check-format check-lint check-types check-imports check-habits check-matrix check-protos ## everything that can be wrong without running it

.PHONY: check-format check-lint check-types check-imports check-habits check-matrix check-protos
check-format: setup
	$(BIN)/ruff format --check $(CODE)

check-lint: setup
	$(BIN)/ruff check $(CODE)

check-types: setup
	$(BIN)/mypy

check-imports: setup
	$(BIN)/lint-imports --no-logo

check-habits: setup
	$(BIN)/python scripts/check_habits.py

check-matrix: setup
	$(BIN)/python -m scripts.generate_matrix --check

check-protos: setup
	$(BIN)/buf lint
	$(BIN)/buf format -d --exit-code --path protos/messagepipe
	@if git cat-file -e main:buf.yaml 2>/dev/null; then \
	  echo "$(BIN)/buf breaking --against .git#branch=main"; $(BIN)/buf breaking --against '.git#branch=main'; \
	else echo "buf breaking: skipped, this clone has no branch main with protos to compare with"; fi
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python scripts/generate_comments.py --check

.PHONY: format
format: setup ## put code and protos into shape
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/buf format -w --path protos/messagepipe

.PHONY: protos
protos: setup ## generate the stubs in protos/gen, and the gateway's comments, from the .proto files
	$(BIN)/python scripts/generate_stubs.py
	$(BIN)/python scripts/generate_comments.py

.PHONY: matrix
matrix: setup ## fill the pages of docs/providers with what the adapters say of themselves
	$(BIN)/python -m scripts.generate_matrix

.PHONY: lock
lock: setup ## write the three lock files anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock --extra otel -o requirements-otel.lock
	$(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock --extra dev -o requirements-dev.lock

.PHONY: clean
clean: ## remove .venv and every cache (never the data in .messagepipe)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find services gateway cli scripts tests protos -name __pycache__ -type d -prune -exec rm -rf {} +
