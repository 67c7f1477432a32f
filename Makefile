# What you can ask for; `make help` lists it. Every target that needs an installation makes it first.
ENVIRONMENT ?= examples/shop
RINGFORT := .venv/bin/ringfort
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
SUITE ?= tests
PAIRS ?= 100000
SOURCES := src tests benchmarks setup

.DEFAULT_GOAL := help
.PHONY: help setup up down test lint format types contracts pytest differential bench lock picture clean

help:  ## list what can be asked for
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install what is missing; leaves .venv/bin/ringfort
	@setup/setup.sh

up: setup  ## build the example environment on this machine, enforce it, prove it, attack it
	@$(RINGFORT) up $(ENVIRONMENT)

down: setup  ## remove everything that `make up` made
	@$(RINGFORT) down $(ENVIRONMENT)

test: lint types contracts pytest  ## everything that must hold before a change goes in

lint: setup  ## style, as configured in pyproject.toml
	@$(PYTHON) -m ruff check --quiet $(SOURCES)
	@$(PYTHON) -m ruff format --quiet --check $(SOURCES)
	@echo "lint: ok"

format: setup  ## put the style right where a tool can
	@$(PYTHON) -m ruff format $(SOURCES)
	@$(PYTHON) -m ruff check --fix $(SOURCES)

types: setup  ## mypy --strict over code, tests and benchmarks
	@$(PYTHON) -m mypy

contracts: setup  ## who may import whom
	@.venv/bin/lint-imports --no-cache

# The tests need root for namespaces of their own; without it those are skipped and said to be.
pytest:
	@setup/setup.sh test
	@$(PYTEST) $(SUITE)

differential: setup  ## the long comparison with the kernel: 100,000 pairs of ruleset and packet
	@$(PYTEST) -n 0 -m differential --override-ini addopts=-q -s tests/differential --pairs $(PAIRS)

bench:  ## measure the figures of docs/benchmarks.md on this machine
	@setup/setup.sh benchmark
	@$(PYTHON) -m benchmarks

lock: setup  ## choose the versions of all Python packages anew
	@setup/lock.sh

picture: setup  ## draw the README's picture of the example again
	@$(PYTHON) -c 'from ringfort.environment.load import load; from ringfort.report import picture_svg; \
	    print(picture_svg(load("examples/shop")))' >docs/shop.svg

clean:  ## remove the virtual environment and all caches
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
