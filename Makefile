# Every target except help and lock sets the project up first: once, and again only when its lock file, pyproject.toml or
# this file changes.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
GPU_READY := $(VENV)/.ready-gpu
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps
PEERS := .venv-peers
USE_GPU = @if nvidia-smi -L > /dev/null 2>&1; then $(MAKE) --no-print-directory $(GPU_READY); fi
ARGS ?=

# Switch off Prefect's telemetry: in the embedded server it collides with a database lock at start-up.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Remove runs, their logs and artifacts from the server's database after 90 days. Published runs are files, and stay.
server: export PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED ?= events,flow_runs
# Keep the leases of the GPUs on disk, so that they survive a restart of the server.
server: export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE := prefect.server.concurrency.lease_storage.filesystem
# A worker polls for runs about every 10 s, so the server waits for longer than that before it marks a run as late.
server: export PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS ?= 60
# Pages of other sites in a browser on this machine may neither read the server's answers nor change anything on it.
API_HOST := $(or $(PREFECT_SERVER_API_HOST),127.0.0.1)
API_PORT := $(or $(PREFECT_SERVER_API_PORT),4200)
server: export PREFECT_SERVER_CSRF_PROTECTION_ENABLED ?= true
server: export PREFECT_SERVER_CORS_ALLOWED_ORIGINS ?= http://$(API_HOST):$(API_PORT),http://127.0.0.1:$(API_PORT),http://localhost:$(API_PORT)

.DEFAULT_GOAL := help
.PHONY: help setup setup-gpu train test drills check bench check-gpu bench-judging bench-peers setup-ray sweep quality asked-classes champion index keep prune pages server setup-server worker gpu-worker options lock

# The server that these targets use. Name another one as in make gpu-worker PREFECT_API_URL=http://10.0.0.5:4200/api
setup-server worker gpu-worker: export PREFECT_API_URL ?= http://127.0.0.1:$(API_PORT)/api

help: ## List all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create the environment in .venv (other targets do this when needed)

$(READY): requirements/main.lock pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Error: $(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one as in make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing the locked dependencies in .venv (once; about 2 minutes and 2.5 GB)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Error: $(PYTHON) cannot create virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@$(INSTALL) --require-hashes -r requirements/main.lock
	@$(INSTALL) --no-build-isolation -e .
	@touch $(READY)
	@echo "Ready: .venv"

train: $(READY) ## Train, judge and publish; with options as in make train ARGS="--smoke"
	@$(VENV)/bin/python flows/train_flow.py $(ARGS)

test: $(READY) ## Run all tests but the drills; some of them as in make test ARGS="-k store"
	@$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

drills: $(READY) ## Cause real faults and check the recovery (about an hour); some of them as in make drills ARGS="-k disk"
	@$(VENV)/bin/python -m pytest -m drill --durations 0 $(ARGS)

# The tests are checked less strictly: pytest passes fixtures by name, so the parameters of most tests have no types.
check: $(READY) ## Run the linter, the formatter's check and the type checker
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/mypy --cache-dir .mypy_cache/tests --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls \
		--allow-any-generics --no-warn-return-any --disable-error-code union-attr --disable-error-code func-returns-value \
		tests

bench: $(READY) ## Compare the training speed with other frameworks (7 minutes, on an idle machine)
	$(USE_GPU)
	@$(VENV)/bin/python -m bench $(ARGS)

check-gpu: $(READY) ## Try trainings on this machine's GPU: speed, equal bytes, SIGKILL
	$(USE_GPU)
	@$(VENV)/bin/python -m bench.check_gpu $(ARGS)

bench-judging: $(READY) ## Measure the time and memory of judging 10,000 images (half a minute, on an idle machine)
	@$(VENV)/bin/python -m bench.judging $(ARGS)

bench-peers: $(READY) ## Install PyTorch and JAX in .venv-peers, for make bench (7 GB)
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bench.lock

setup-ray: $(READY) ## Install Ray in .venv, for sweeps on a cluster
	@$(INSTALL) --require-hashes -r requirements/ray.lock

sweep: $(READY) ## Train many GANs and rank them, as in make sweep ARGS="--recipes article,mlp --seeds 0-2"
	@$(VENV)/bin/python flows/sweep_flow.py $(ARGS)

quality: $(READY) ## Train four recipes and plot quality against time (1½ to 4 hours; a third of that with SEEDS=0)
	$(if $(filter date,$(SEEDS)),$(error make quality takes numbers as SEEDS, such as 0-2))
	$(if $(ARGS),$(error make quality takes SEEDS=0-2 and OUTPUT_DIR=artifacts, and no ARGS))
	@$(VENV)/bin/python flows/sweep_flow.py --recipes article,mlp,conv,conditional --seeds $(or $(SEEDS),0-2) --no-promote \
		--output-dir $(or $(OUTPUT_DIR),artifacts) && \
		$(VENV)/bin/python -m bench.quality --output-dir $(or $(OUTPUT_DIR),artifacts) --seeds $(or $(SEEDS),0-2)

asked-classes: $(READY) ## Check the classes that a generator draws, as in make asked-classes ARGS=artifacts/latest (15 minutes)
	@$(VENV)/bin/python -m bench.asked_classes $(ARGS)

champion: $(READY) ## Show the champion, or change it as in make champion ARGS="rollback"
	@$(VENV)/bin/python -m gan.champion $(or $(ARGS),show)

index: $(READY) ## Write the front page of the output folder again, after changes by hand
	@$(VENV)/bin/python -m gan.index $(ARGS)

keep: $(READY) ## Pin a published run, so that make prune never removes it: make keep RUN=NAME
	@$(VENV)/bin/python -m gan.keep $(RUN) $(ARGS)

prune: $(READY) ## Remove unused files from the output folder; list them first with make prune ARGS="--dry-run"
	@$(VENV)/bin/python flows/prune_flow.py $(ARGS)

pages: $(READY) ## Serve the front page and the reports of the output folder (make server does this too)
	@exec $(VENV)/bin/python -m flows.server.pages $(ARGS)

server: $(READY) ## Start a Prefect server and its UI, which shows all runs of this user
	@exec $(VENV)/bin/python -m flows.server.prefect_cli server start

setup-server: $(READY) ## Create or repair the server's pools, limits and deployments; for more GPUs ARGS="--gpus 2"
	@$(VENV)/bin/python flows/setup_server.py $(ARGS)

worker: $(READY) ## Start a worker that executes scheduled runs
	@exec $(VENV)/bin/python -m flows.server.prefect_cli worker start --pool default --type process

gpu-worker: $(READY) ## Start a worker that executes trainings, one at a time; on one of several GPUs as in make gpu-worker GPU=1
	$(USE_GPU)
	@nvidia-smi -L > /dev/null 2>&1 || \
		echo "This machine has no NVIDIA GPU (nvidia-smi lists none): trainings with --device auto run on its CPU."
	@exec $(if $(GPU),env CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=$(GPU)) $(VENV)/bin/python -m flows.server.prefect_cli \
		worker start --pool gpu --type process --limit 1

setup-gpu: $(GPU_READY) ## Install TensorFlow's CUDA libraries, on a machine with an NVIDIA GPU (3 GB)

$(GPU_READY): requirements/gpu.lock $(READY)
	@echo "Installing TensorFlow's CUDA libraries in .venv (once; about 3 GB)"
	@$(INSTALL) --require-hashes -r requirements/gpu.lock
	@touch $(GPU_READY)
	@echo "Ready: .venv with CUDA libraries"

options: $(READY) ## Write docs/options.md from the descriptions in the settings
	@$(VENV)/bin/python -m flows.options

lock: ## Resolve pyproject.toml again into the lock files in requirements/ (needs uv)
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --output-file requirements/main.lock
	@for extra in bench gpu ray; do \
		$(PYTHON) -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' $$extra | \
		uv pip compile - --constraint requirements/main.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements/$$extra.lock || exit 1; done
