# One vocabulary for people and CI. `make help` prints it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export PYTHONHASHSEED := 0

PYTHON ?= python3
CLUSTER ?= process
UV := .uv/bin/uv
BIN := .venv/bin
GROUPS := retrain promote serving client_api dags mlflow
READY := .venv/.ready
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --custom-compile-command "make locks"

.PHONY: help setup locks format lint types imports test bench demo check clean doctor cluster-build cluster-up cluster-down cluster-status e2e e2e-kubernetes images

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

doctor:  ## what this machine lacks, in plain words
	@bash infra/local/doctor.sh $(PYTHON)

setup: $(READY)  ## the environment in .venv, exactly as locked

$(UV): infra/locks/uv.txt
	@bash infra/local/doctor.sh $(PYTHON) --quiet
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement infra/locks/uv.txt
	@touch $@

# Bytecode is made once, here: where PYTHONDONTWRITEBYTECODE is set, every one of a thousand processes would compile its libraries again.
$(READY): infra/locks/dev.txt pyproject.toml $(UV)
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode infra/locks/dev.txt
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

locks: $(UV)  ## rewrite infra/locks from pyproject.toml: dev first, the others within it
	$(COMPILE) --group dev pyproject.toml --output-file infra/locks/dev.txt
	@for group in $(GROUPS); do echo "$$group"; $(COMPILE) --group $$group --constraint infra/locks/dev.txt pyproject.toml --output-file infra/locks/$$group.txt || exit 1; done

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

imports: $(READY)  ## who may import whom (DESIGN section 3)
	$(BIN)/lint-imports --no-logo

test: $(READY)  ## the tests that people and CI run first, with branch coverage; 7 minutes on 2 cores
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term $(ARGS)

bench: $(READY)  ## measure every performance claim, both sides in one run; writes tests/bench/RESULTS.md
	$(BIN)/python -m tests.bench $(ARGS)

demo: $(READY)  ## one whole turn of the loop and several weeks after it; ARGS=--exit ends by itself, CLUSTER=kubernetes runs pods
	$(BIN)/python -m infra.local.demo --cluster $(CLUSTER) $(ARGS)

images: $(READY)  ## the services' images, by buildah: ARGS="serving client_api --push 127.0.0.1:5000/ratchet"
	$(BIN)/python -m infra.images build $(ARGS)

cluster-build: $(READY)  ## build Kubernetes and Flux from Go's modules, once: minutes the first time
	$(BIN)/python -m infra.local.kubernetes build

cluster-up: $(READY)  ## a real Kubernetes with Flux and a registry on this machine; KUBECONFIG=… looks at another
	$(BIN)/python -m infra.local.kubernetes up

cluster-down: $(READY)  ## end it and all it left
	$(BIN)/python -m infra.local.kubernetes down

cluster-status: $(READY)  ## what of it runs
	$(BIN)/python -m infra.local.kubernetes status

e2e: $(READY)  ## the long tests: more stories, every attack, many rollouts, the gateway's description
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'e2e and not kubernetes' $(ARGS)

# One process: two whole clusters beside each other are too much for two cores.
e2e-kubernetes: cluster-build  ## the tests that need a whole Kubernetes, one after the other
	$(BIN)/python -m infra.images build
	@$(BIN)/python -c 'import sys; from tests.grounds import kubernetes_ground as k, postgres as p; sys.exit(k.why_not() or p.why_no_postgres() or None)'  # skipped is not green
	$(BIN)/python -m pytest -m kubernetes $(ARGS)

check: lint types imports test  ## what CI runs first, before e2e and e2e-kubernetes

clean:  ## remove what the demo and the tools left, keep .venv
	rm -rf .demo .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -not -path './.venv/*' -not -path './.uv/*' -prune -exec rm -rf {} +
