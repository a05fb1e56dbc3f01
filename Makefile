# Every target sets the project up first; that is done once, and again only when its lock or its settings change.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
GPU_READY := $(VENV)/.ready-gpu
ARGS ?=

# Prefect's own telemetry stays off: the embedded server's runs into its database lock at start-up.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Runs, their logs and artifacts go from the server's database after 90 days; published runs stay where they are.
export PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED ?= events,flow_runs
# Who holds a GPU outlives a restart of the server.
export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE := prefect.server.concurrency.lease_storage.filesystem
# A worker looks for runs every 10 s or so: nobody is to be told that one has not started when it is only next.
export PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS ?= 60
# A page of another site that is open in a browser here may neither read answers of the server nor change anything there.
API_HOST := $(or $(PREFECT_SERVER_API_HOST),127.0.0.1)
API_PORT := $(or $(PREFECT_SERVER_API_PORT),4200)
export PREFECT_SERVER_CSRF_PROTECTION_ENABLED ?= true
export PREFECT_SERVER_CORS_ALLOWED_ORIGINS ?= http://$(API_HOST):$(API_PORT),http://127.0.0.1:$(API_PORT),http://localhost:$(API_PORT)

.DEFAULT_GOAL := help
.PHONY: help setup train test drills check bench bench-judging bench-peers setup-ray sweep quality asked-classes champion prune server setup-server worker gpu-worker lock

# The server that these talk to; another machine's as in make gpu-worker PREFECT_API_URL=http://10.0.0.5:4200/api
setup-server worker gpu-worker: export PREFECT_API_URL ?= http://127.0.0.1:$(API_PORT)/api

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment in .venv (the other targets do it by themselves)

$(READY): requirements.lock pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Error: $(PYTHON) is not Python 3.11, 3.12 or 3.13. Give one with make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up .venv with the locked dependencies (once; about 2 minutes and 2.5 GB)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Error: $(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
	@echo "Ready: .venv"

train: $(READY) ## Run the main job; options as in make train ARGS="--smoke"
	@$(VENV)/bin/python flows/train_flow.py $(ARGS)

test: $(READY) ## Run all tests, two files at a time; a part of them as in make test ARGS="-k store"
	@$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

drills: $(READY) ## Cause the faults of docs/reliability.md (about an hour one by one); a part as in make drills ARGS="-k disk"
	@$(VENV)/bin/python -m pytest -m drill --durations 0 $(ARGS)

check: $(READY) ## Run the linters and the type checker
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

bench: $(READY) ## Measure training against its peers and the machine's limit; nothing else may run
	@$(VENV)/bin/python -m bench $(ARGS)

bench-judging: $(READY) ## Measure how long judging 10,000 images takes, and its memory; nothing else may run
	@$(VENV)/bin/python -m bench.judging $(ARGS)

bench-peers: $(READY) ## Add PyTorch and JAX to .venv, for make bench (5 GB)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock

setup-ray: $(READY) ## Add Ray to .venv, for sweeps on a cluster
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-ray.lock

sweep: $(READY) ## Train many GANs and rank them, as in make sweep ARGS="--recipes article,mlp --seeds 0-2"
	@$(VENV)/bin/python flows/sweep_flow.py $(ARGS)

quality: $(READY) ## Draw what recipes reach in how many seconds, after training what is missing (1½ to 4 hours; SEEDS=0: a third)
	$(if $(ARGS),$(error make quality takes SEEDS=0-2 and OUTPUT_DIR=artifacts, and no ARGS))
	@$(VENV)/bin/python flows/sweep_flow.py --recipes article,mlp,conv,conditional --seeds $(or $(SEEDS),0-2) --no-promote \
		--output-dir $(or $(OUTPUT_DIR),artifacts) && \
		$(VENV)/bin/python -m bench.quality --output-dir $(or $(OUTPUT_DIR),artifacts)

asked-classes: $(READY) ## Ask a generator for classes and check, as in make asked-classes ARGS=artifacts/latest (15 minutes)
	@$(VENV)/bin/python -m bench.asked_classes $(ARGS)

champion: $(READY) ## Show the champion, or change it, as in make champion ARGS="rollback"
	@$(VENV)/bin/python -m gan.champion $(or $(ARGS),show)

prune: $(READY) ## Remove what nobody needs from the store; first look with make prune ARGS="--dry-run"
	@$(VENV)/bin/python flows/prune_flow.py $(ARGS)

server: $(READY) ## Start a Prefect server with its UI, which shows all runs made on this machine
	@exec $(VENV)/bin/python -m flows.server.prefect_cli server start

setup-server: $(READY) ## Give the server its pools, limits and deployments, and check them; more GPUs with ARGS="--gpus 2"
	@$(VENV)/bin/python flows/setup_server.py $(ARGS)

worker: $(READY) ## Start a worker that carries out scheduled runs
	@exec $(VENV)/bin/python -m flows.server.prefect_cli worker start --pool default --type process

gpu-worker: $(READY) ## Start a worker that trains, one training at a time; on a machine with a GPU set up for it
	@if nvidia-smi -L > /dev/null 2>&1; then $(MAKE) --no-print-directory $(GPU_READY); else \
		echo "This machine has no NVIDIA GPU (nvidia-smi lists none): trainings with --device auto run on its CPU."; fi
	@exec $(VENV)/bin/python -m flows.server.prefect_cli worker start --pool gpu --type process --limit 1

$(GPU_READY): requirements-gpu.lock $(READY)
	@echo "Adding TensorFlow's CUDA libraries to .venv (once; some 3 GB)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-gpu.lock
	@touch $(GPU_READY)

lock: ## Write requirements.lock anew from pyproject.toml (needs uv)
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --output-file requirements.lock
	@for extra in bench gpu ray; do \
		$(PYTHON) -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' $$extra | \
		uv pip compile - --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements-$$extra.lock || exit 1; done
