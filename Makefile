# What a developer does here.  `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
# More than there are processors: tests of processes mostly wait.
JOBS ?= 3
COVERAGE_AT_LEAST ?= 90
MINUTES ?= 1

BIN := $(VENV)/bin
CODE := taskqueue tests tools twisted setup.py $(wildcard examples benchmarks docs)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.runtime ## set up, start a broker with workers, and watch it work
	$(BIN)/python examples/census/demo.py

test: lint types cover ## set up and run every check: style, types, tests, coverage

unit: $(VENV)/.dev $(VENV)/.browser $(VENV)/.kombu-suite ## the tests alone; TESTS=tests.test_x for some of them
	$(BIN)/python tools/run_tests.py --jobs $(JOBS) $(TESTS)

cover: $(VENV)/.dev $(VENV)/.browser $(VENV)/.kombu-suite
	$(BIN)/python tools/run_tests.py --jobs $(JOBS) --coverage --fail-under $(COVERAGE_AT_LEAST)

lint: $(VENV)/.dev ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## types
	$(BIN)/mypy taskqueue tools

docs: $(VENV)/.dev ## the documents as a site, in build/site
	$(BIN)/python -m tools.build_docs

screenshots: $(VENV)/.dev $(VENV)/.browser ## the pictures of the dashboard, anew; PAGES="overview tasks" for some
	$(BIN)/python -m tools.screenshots $(PAGES)

format: $(VENV)/.dev ## put the code into the project's format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## race it beside its peers, which it installs; RACES="durable memory" for some
	$(BIN)/python -m benchmarks.race $(RACES) $(BENCH)

bench-budget: $(VENV)/.dev ## the broker alone, beside its performance budget
	$(BIN)/python -m benchmarks.run

bench-quick: $(VENV)/.dev ## a short look, and whether a task costs more calls, writes or bytes than it did
	$(BIN)/python -m benchmarks.quick $(QUICK)

fuzz: $(VENV)/.fuzz ## throw mutated bytes at all that reads strangers' bytes; TARGET=rest MINUTES=5
	$(BIN)/python -m fuzz --minutes $(MINUTES) $(TARGET)

vendor: ## renew the JavaScript libraries that the dashboard ships, by npm
	$(PYTHON) -m tools.vendor

lock: ## renew the pinned requirements
	$(PYTHON) tools/lock.py

audit: $(VENV)/.audit ## look for known weaknesses in what is deployed, where the advisories can be reached
	$(PYTHON) tools/audit.py $(VENV)/.audit/bin/pip-audit

news: $(VENV)/.dev ## show the changelog entry that the news fragments make
	$(BIN)/towncrier build --draft --version next

clean: ## remove what was made here, the environment included
	rm -rf $(VENV) build dist *.egg-info htmlcov .coverage .coverage.* .mypy_cache .ruff_cache \
		.hypothesis _trial_temp* .demo twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: each step leaves a stamp and runs again when its inputs change ---

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'taskqueue needs Python 3.11 or newer; $(PYTHON) is not.' >&2; \
		echo 'Name another one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot make virtual environments: its venv module is missing.' >&2; \
		echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt setup.cfg setup.py pyproject.toml \
		| $(BIN)/python
	$(BIN)/python -m pip install --quiet -r requirements/build.txt -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	$(BIN)/python -m compileall -q taskqueue
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -r requirements/dev.txt
	@touch $@

# Without a browser, and without the right to install one, the tests that need it skip: no failure.
$(VENV)/.browser: tools/chromium.py tools/system_packages.py | $(BIN)/python
	@if $(BIN)/python -m tools.chromium; then touch $@; fi

# Likewise without a package registry.
$(VENV)/.kombu-suite: tools/kombu_suite.py requirements/kombu-suite.txt $(VENV)/.dev
	@if $(BIN)/python -m tools.kombu_suite; then touch $@; fi

# Likewise without node, or a registry that npm reaches.
unit cover: $(VENV)/.foreign

$(VENV)/.foreign: tests/foreign/package-lock.json tools/foreign.py | $(BIN)/python
	@if $(BIN)/python -m tools.foreign; then touch $@; fi

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -r requirements/fuzz.txt
	@touch $@

$(VENV)/.audit: requirements/audit.txt | $(BIN)/python
	$(BIN)/python -m venv $@
	$@/bin/python -m pip install --quiet -r requirements/audit.txt
	@touch $@

.PHONY: audit fuzz help demo test unit cover lint types docs screenshots format bench bench-budget bench-quick vendor lock news clean
