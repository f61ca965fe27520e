# Start with `make demo` and `make test`. `make help` lists all targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first of these Pythons that runs and is 3.11 or newer.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Install it, or run: make PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@touch $@

# `dev` contains everything in `local`, so a complete `dev` serves both.
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
PROFILE ?= ice-detainers
demo: .venv/local  ## the first report's week in out/; or FILE=path PROFILE=ice-detainers
	@$(BIN)/python -m deploy.demo $(if $(FILE),--file "$(FILE)" --profile "$(PROFILE)")

.PHONY: up down clean
up: .venv/local  ## start the services; then run: source .local/env
	@$(BIN)/python -m deploy.local up

down: .venv/local  ## stop the services; keeps the data
	@$(BIN)/python -m deploy.local down

clean: .venv/local  ## stop the services and delete the data
	@$(BIN)/python -m deploy.local down --delete
	@rm -rf out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: unit test check lint types contracts lock
unit: .venv/dev  ## tests without Kafka and PostgreSQL (30 seconds)
	@$(BIN)/python -m pytest -n logical tests/unit tests/contract tests/wiring

test: .venv/dev  ## all tests, on the best Kafka and PostgreSQL available (17 minutes)
	@$(BIN)/python -m pytest -n auto

check: lint types contracts  ## what CI runs: also lint, types, alerts, compose (27 minutes)
	@if command -v promtool >/dev/null || docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory alerts; \
	else echo "skipped: make alerts, because neither promtool nor a Docker daemon is available"; fi
	@DDOR_REAL_ONLY=1 $(BIN)/python -m pytest -n auto --long --durations=20
	@if docker info >/dev/null 2>&1; then deploy/compose/try; \
	else echo "skipped: deploy/compose/try (test of docker-compose.yml), because no Docker daemon responds"; fi

.PHONY: bench bench-ingest bench-restart bench-closing chaos ten-weeks
KILLS ?= 20
EVENTS ?= 20000
SEED ?= 1
bench: .venv/dev  ## speed of the aggregator and of a close (20 minutes)
	@$(BIN)/python -m tests.bench.aggregator
	@$(BIN)/python -m tests.bench.closing

bench-ingest: .venv/dev  ## speed of ingest, compared with a plain service
	@$(BIN)/python -m tests.bench.ingest

bench-restart: .venv/dev  ## time from kill -9 of the aggregator to its next event
	@$(BIN)/python -m tests.bench.restart

bench-closing: .venv/dev  ## time of a close and of ddor verify, ten million facts
	@$(BIN)/python -m tests.bench.closing

chaos: .venv/dev  ## kill processes at random: KILLS=20 EVENTS=20000 SEED=1
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --events $(EVENTS) --seed $(SEED)

ten-weeks: .venv/dev  ## ten weeks of operation in a few minutes
	@$(BIN)/python -m tests.system.ten_weeks

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/python -m tests.support.prose

types: .venv/dev
	@$(BIN)/mypy

contracts: .venv/dev
	@$(BIN)/python -m schemas.export --check
	@$(BIN)/python -m services.asyncapi --check
	@$(BIN)/python -m deploy.monitoring.metrics_page --check
	@$(BIN)/python -m deploy.monitoring.dashboards --check
	@$(BIN)/python -m deploy.documentation.settings_page --check
	@$(BIN)/python -m deploy.documentation.commands_page --check
	@$(BIN)/python -m deploy.documentation.decisions_page --check

.PHONY: docs
docs: .venv/dev  ## the documentation as a site; then open out/docs/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# promtool from PATH, or else from the image in docker-compose.yml.
PROMTOOL ?= $(shell command -v promtool || echo docker run --rm --volume $(CURDIR)/deploy/prometheus:/rules:ro \
	--workdir /rules --entrypoint promtool prom/prometheus:v3.5.0)

.PHONY: alerts compose-try
alerts:  ## test the alerts (needs promtool or Docker)
	@cd deploy/prometheus && $(PROMTOOL) check config prometheus.yml && $(PROMTOOL) test rules alerts_test.yml slo_test.yml

compose-try:  ## test docker-compose.yml (needs Docker)
	@deploy/compose/try

.PHONY: sbom
SBOM ?= out/sbom.json
REQUIREMENTS ?= runtime
sbom: .venv/dev  ## list the pinned packages of the image as CycloneDX: SBOM=out/sbom.json REQUIREMENTS=runtime
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements --output-reproducible --pyproject pyproject.toml \
		--output-format JSON --output-file $(SBOM) requirements/$(REQUIREMENTS).txt

lock:  ## update requirements/*.txt from pyproject.toml (needs uv)
	@for set in runtime: tracing:--extra=tracing local:--extra=local dev:--extra=dev; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$${set#*:} pyproject.toml --output-file requirements/$${set%%:*}.txt || exit 1; done
