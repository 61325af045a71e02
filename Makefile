# Everything a clone needs: `make run` to chat, `make test` to see that it works, `make help` for the rest.
# Needs Python 3.11 or newer with venv, and make; all else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test check lint coverage fuzz properties mutants attacks vectors faults soak bench bench-servers bench-scaling bench-profile bench-peer build clean

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Whatever sets things up talks on stderr: the stdout of `make run` is the invite alone.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Backchannel needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) >&2

$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Setting up $(VENV) ...' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . >&2
	@touch $@

$(VENV)/installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Setting up $(VENV) with the tools of development ...' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >&2
	@touch $@ $(VENV)/installed

run: $(VENV)/installed  ## start a relay of your own, open a room, print an invite (ARGS="--nick alice")
	@exec $(BIN)/backchannel host lobby $(ARGS)

# The tests always run under coverage, so that `make check` after `make test` need not run them again.
TESTED := $(VENV)/tested
SOURCES = $(shell find protocol relay peer tests -name '*.py' 2>/dev/null)

define run-tests
@rm -f $(TESTED)
@$(BIN)/coverage erase
@$(BIN)/coverage run -m pytest -n auto
@$(BIN)/coverage combine --quiet
@touch $(TESTED)
endef

test: $(VENV)/installed-dev  ## run all tests
	$(run-tests)

$(TESTED): $(VENV)/installed-dev setup.cfg $(SOURCES)
	$(run-tests)

check: lint coverage  ## lint, types, import rules, and how much the tests cover

lint: $(VENV)/installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

coverage: $(TESTED)
	@$(BIN)/coverage report --include 'protocol/*,relay/core/*' --fail-under 100
	@$(BIN)/coverage report --omit 'protocol/*,relay/core/*' --fail-under 90

# Where atheris has no wheel, the fuzzers that nothing guides stand in; a run of the simulation takes about a second.
$(VENV)/installed-fuzz: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris --editable '.[fuzz]' >&2 \
		|| echo 'atheris does not install here' >&2
	@touch $@

SECONDS ?= 60
fuzz: $(VENV)/installed-fuzz  ## feed rubbish to everything that parses, guided by coverage (SECONDS=60, each)
	@if $(BIN)/python -c 'import atheris' 2>/dev/null; then $(BIN)/python -m tests.fuzz.run --seconds $(SECONDS); \
		else SIMULATION_LONG=$(SECONDS) $(MAKE) --no-print-directory properties; fi

properties: $(VENV)/installed-dev  ## draw many more examples for every property than the tests do
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -m fuzz --timeout 0 -n auto

mutants: $(VENV)/installed-dev  ## make small mistakes in seal, chain, card, membership and statement, and see a test notice each
	@$(BIN)/python -m tests.mutants.run $(ARGS)

vectors: $(VENV)/installed-dev  ## make tests/vectors again, after a change of the protocol
	@$(BIN)/python -m tests.vectors.generate

attacks: $(VENV)/installed-dev  ## take out one defence after the other and see the tests of each published attack fail
	@$(BIN)/pytest -m attacks -n auto tests/attacks

faults: $(VENV)/installed-dev  ## end, freeze, cut and flood everything, again and again (some minutes)
	@$(BIN)/pytest -m faults -n auto tests/faults tests/hostile tests/e2e

soak: $(VENV)/installed-dev  ## let people talk, come and go, and see that nothing grows (SECONDS=60)
	@SECONDS=$(SECONDS) $(BIN)/pytest -m soak -s tests/faults

# Plots are all that needs more than the development tools.
$(VENV)/installed-bench: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' >&2
	@touch $@

bench: $(VENV)/installed-bench  ## measure the relay beside other servers, 20 minutes (ARGS="--quick", or see --help)
	@$(BIN)/python -m bench $(ARGS)

bench-servers:  ## install the other servers with apt, as root; none of them is started
	@bench/install-servers

bench-scaling: $(VENV)/installed-bench  ## plot what a delivery costs by how much else there is
	@$(BIN)/python -m bench.scaling $(ARGS)

bench-profile: $(VENV)/installed-dev  ## tell where the relay's time goes, step by step
	@$(BIN)/python -m bench.profile $(ARGS)

bench-peer: $(VENV)/installed-dev  ## measure what peers do: seal, open, start, send, join a room of 1000
	@$(BIN)/python -m bench.peer $(ARGS)

build: $(VENV)/installed-dev  ## build the sdist and the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist

clean:  ## remove .venv and everything built
	@rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
