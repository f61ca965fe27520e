# Two commands to start with: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python of these that is 3.11 or newer and runs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@touch $@

# `dev` holds everything that `local` does, so a finished `dev` serves both.
.venv/local: .venv/python requirements/local.txt pyproject.toml
	@test -e .venv/dev || { echo "installing (about half a minute)"; $(INSTALL) --require-hashes -r requirements/local.txt; }
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/python requirements/dev.txt pyproject.toml
	@echo "installing with development tools (about a minute)"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@ .venv/local

.PHONY: demo
demo: .venv/local  ## the first report's week through the whole system: out/2017-01-28.html
	@$(BIN)/python -m deploy.demo

.PHONY: up down clean
up: .venv/local  ## the three services in the background; then: source .local/env
	@$(BIN)/python -m deploy.local up

down: .venv/local  ## end them; data are kept (make clean deletes them)
	@$(BIN)/python -m deploy.local down

clean: .venv/local  ## end everything and delete its data
	@$(BIN)/python -m deploy.local down --delete
	@rm -rf out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: test check lint types contracts lock
test: .venv/dev  ## all tests, on the best parts this machine has; says which
	@$(BIN)/python -m pytest

check: lint types contracts  ## what CI runs: lint, types, contracts, tests on real Kafka
	@DDOR_REAL_ONLY=1 $(BIN)/python -m pytest

.PHONY: bench bench-ingest bench-restart bench-closing chaos ten-weeks
KILLS ?= 20
EVENTS ?= 20000
SEED ?= 1
bench: .venv/dev  ## how fast the aggregator counts, beside COPY and a plain service; how long a close takes (20 minutes)
	@$(BIN)/python -m tests.bench.aggregator
	@$(BIN)/python -m tests.bench.closing

bench-ingest: .venv/dev  ## how fast ingest takes events, beside validation, producing and a plain service
	@$(BIN)/python -m tests.bench.ingest

bench-restart: .venv/dev  ## from kill -9 of the aggregator to the first event that its successor counts, 20 times
	@$(BIN)/python -m tests.bench.restart

bench-closing: .venv/dev  ## only how long a close takes with ten years and ten million facts, and verify
	@$(BIN)/python -m tests.bench.closing

chaos: .venv/dev  ## the kill loop: make chaos KILLS=100 EVENTS=300000 SEED=1
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --events $(EVENTS) --seed $(SEED)

ten-weeks: .venv/dev  ## ten weeks of life in minutes, on real Kafka and PostgreSQL
	@$(BIN)/python -m tests.system.ten_weeks

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: .venv/dev
	@$(BIN)/mypy

contracts: .venv/dev
	@$(BIN)/python -m schemas.export --check
	@$(BIN)/python -m services.asyncapi --check

# promtool where it is on PATH, else the one in the image that docker-compose.yml runs.
PROMTOOL ?= $(shell command -v promtool || echo docker run --rm --volume $(CURDIR)/deploy/prometheus:/rules:ro \
	--workdir /rules --entrypoint promtool prom/prometheus:v3.5.0)

.PHONY: alerts compose-try
alerts:  ## promtool on the alerts and their tests; needs promtool or Docker
	@cd deploy/prometheus && $(PROMTOOL) check config prometheus.yml && $(PROMTOOL) test rules alerts_test.yml

compose-try:  ## docker-compose.yml for real: build, stream, close, down, up, compare; needs Docker
	@deploy/compose/try

lock:  ## resolve requirements/*.txt anew from pyproject.toml (needs uv)
	@for set in runtime: local:--extra=local dev:--extra=dev; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$${set#*:} pyproject.toml --output-file requirements/$${set%%:*}.txt || exit 1; done
