# Every target sets up what it needs on a machine that has Python 3.11+, and Go 1.26 where no
# Kubernetes binaries are found. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Each has a control plane of its own, of some 1.5 GB; tests on it wait more than they compute.
CLUSTER_WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: manifests help setup demo test tools browser unit storage-test cluster-test e2e lint format crds cluster bench clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "headrace needs Python 3.11 or later: install python3 and python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the Python packages into $(VENV)"
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/pip install -qq --constraint constraints.txt --editable '.[operator,cli,dashboard,storage,processes,dask,ray,sql,arrow,zstd,otel]' --group dev
	@touch $@

setup: $(STAMP) ## virtual environment, packages, the binaries of the local cluster, servers of storages
	@$(BIN)/headrace dev build
	@$(BIN)/python -m tests.storages.installed

demo: $(STAMP) ## a real flow on a real Kubernetes API, start to end (KEEP=1 leaves it running)
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

test: lint unit storage-test cluster-test ## everything: checks, unit and contract tests, tests on a real API server

tools: $(STAMP)
	@$(BIN)/python -m tests.tools

browser: $(STAMP)
	@$(BIN)/python -m tests.tools.chromium

unit: tools ## tests without any API
	@$(BIN)/pytest --numprocesses=auto --dist=loadgroup tests/unit tests/contract tests/simulated

storage-test: setup ## tests of result storages on real servers
	@$(BIN)/pytest tests/storages

cluster-test: setup tools browser ## tests on a real kube-apiserver and etcd
	@rm -rf .pytest_cache/operator-rights
	@HEADRACE_RIGHTS_USED=$(CURDIR)/.pytest_cache/operator-rights \
		$(BIN)/pytest --numprocesses=$(CLUSTER_WORKERS) --dist=loadfile tests/cluster
	@$(BIN)/python -m tests.cluster.support.rights .pytest_cache/operator-rights

e2e: setup ## tests on real nodes: the chart's operator in a pod, flows in pods (root, or Docker and kind)
	@$(BIN)/pytest tests/e2e --e2e -rs

lint: $(STAMP) ## ruff, mypy, import contracts, generated files are current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m headrace.api.generate --check

format: $(STAMP) ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

manifests: $(STAMP) ## config/, the table in docs/install.md and the settings in the schema of the values, from the chart
	@$(BIN)/python -m charts.generate

crds: $(STAMP) ## crds/ and the chart's copies, from the models in sdk/headrace/api
	@$(BIN)/python -m headrace.api.generate

cluster: setup ## a local cluster that stays up (headrace dev down ends it)
	@$(BIN)/headrace dev up

bench: setup ## all benchmarks, beside plain Python, Prefect, Dagster and Argo Workflows; takes hours (docs/benchmarks.md)
	@$(BIN)/python -m bench --all

clean: ## what the targets made in this folder
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
