# One vocabulary for people and CI. `make help` prints it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export PYTHONHASHSEED := 0

PYTHON ?= python3
# Not ?=: docs/production.md exports a CLUSTER of its own.
CLUSTER := process
UV := .uv/bin/uv
BIN := .venv/bin
EXTRAS := retrain promote serving client_api
GROUPS := dags mlflow
READY := .venv/.ready
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes \
	--custom-compile-command "make locks"
LOCK = $(COMPILE) --constraint infra/locks/dev.txt pyproject.toml

.PHONY: help doctor setup locks format lint types imports test bench demo up images check clean
.PHONY: cluster-build cluster-up cluster-down cluster-status e2e e2e-kubernetes

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

doctor:  ## what this machine lacks
	@bash infra/local/doctor.sh $(PYTHON)

setup: $(READY)  ## the environment in .venv, exactly as locked

$(UV): infra/locks/uv.txt
	@bash infra/local/doctor.sh $(PYTHON) --quiet
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement infra/locks/uv.txt
	@touch $@

# Bytecode is made once, here. Where PYTHONDONTWRITEBYTECODE is set, each of a thousand processes
# would otherwise compile its libraries again.
$(READY): infra/locks/dev.txt pyproject.toml setup.py $(UV)
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode infra/locks/dev.txt
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

locks: $(UV)  ## rewrite infra/locks from pyproject.toml: dev first, the others within it
	$(COMPILE) --all-extras --group dev pyproject.toml --output-file infra/locks/dev.txt
	@for name in $(EXTRAS); do echo "$$name"; \
		$(LOCK) --extra $$name --output-file infra/locks/$$name.txt || exit 1; done
	@for name in $(GROUPS); do echo "$$name"; \
		$(LOCK) --group $$name --output-file infra/locks/$$name.txt || exit 1; done

format: $(READY)  ## rewrite code in our style
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

lint: $(READY)  ## style, docstrings, dead names, the models' YAML, and GitHub's workflows
	$(BIN)/ruff format --quiet --diff .
	$(BIN)/ruff check --quiet .
	$(BIN)/retrain check
	$(BIN)/python -m infra.local.actionlint

types: $(READY)  ## mypy --strict
	$(BIN)/mypy

imports: $(READY)  ## which room may import which
	$(BIN)/lint-imports --no-logo

test: $(READY)  ## the first tier of tests, with branch coverage
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term $(ARGS)

bench: $(READY)  ## measure every performance claim, and write tests/bench/RESULTS.md
	$(BIN)/python -m tests.bench $(ARGS)

demo: $(READY)  ## the whole loop; ARGS=--exit ends by itself, CLUSTER=kubernetes runs pods
	$(BIN)/python -m infra.local.demo --cluster $(CLUSTER) $(ARGS)

up: $(READY)  ## the whole loop for a repository by `retrain init`: make up REPO=FOLDER
	$(BIN)/ratchet-laptop --repo "$(REPO)" $(ARGS)

images: $(READY)  ## the services' images, by buildah; ARGS=--help lists the options
	$(BIN)/python -m infra.images build $(ARGS)

cluster-build: $(READY)  ## build Kubernetes and Flux from Go modules, once
	$(BIN)/python -m infra.local.kubernetes build

cluster-up: $(READY)  ## a real Kubernetes with Flux and a registry; KUBECONFIG=… checks another
	$(BIN)/python -m infra.local.kubernetes up

cluster-down: $(READY)  ## stop that Kubernetes and remove what it left
	$(BIN)/python -m infra.local.kubernetes down

cluster-status: $(READY)  ## what runs of that Kubernetes
	$(BIN)/python -m infra.local.kubernetes status

e2e: $(READY)  ## the second tier of tests: what takes long
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'e2e and not kubernetes' $(ARGS)

# One process: two clusters side by side are too much for two cores, and phones get no answer.
e2e-kubernetes: cluster-build  ## the third tier of tests: what needs a whole Kubernetes
	$(BIN)/python -m infra.images build
	@$(BIN)/python -m tests.grounds.kubernetes_ground  # a skipped test is no success
	$(BIN)/python -m pytest -m kubernetes $(ARGS)

check: lint types imports test  ## what CI runs first, before e2e and e2e-kubernetes

clean:  ## remove what the demo and the tools left, but keep .venv
	rm -rf .demo .hypothesis .coverage .coverage.*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './.uv/*' -prune -exec rm -rf {} +
