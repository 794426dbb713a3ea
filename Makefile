# Two commands: `make repro` runs the whole study, `make test` checks the code.
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := src
# A study is some fifty processes: each would compile the source anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env repro factorial test bench lint mlflow optuna

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

env: $(READY) ## make the environment in .venv

# pip compiles on one core, and tests too; a file that is for another Python does not compile.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x 'site-packages/.*/tests?/' $(VENV)/lib || true
	touch $(READY)

repro: $(READY) ## run the whole study and print the comparison
	@python -m traitsteer check
	dvc repro
	@python -m traitsteer show

factorial: $(READY) ## run a factorial profile and print how much each factor explains
	@python -m traitsteer design
	@python -m traitsteer check
	dvc repro evaluate
	@python -m traitsteer factorial

test: $(READY) ## lint, types and the fast tests; with ALL=1 those that take minutes too
	ruff check src tests benchmarks
	ruff format --check src tests benchmarks
	mypy -n 2
	python -m traitsteer lint data/traits/*
	pytest -n 2 --dist loadfile --no-loadscope-reorder $(if $(ALL),-m "slow or not slow")

bench: $(READY) ## measure against the peers and write docs/benchmarks.md
	python -m benchmarks

lint: $(READY) ## check every trait folder
	python -m traitsteer lint data/traits/* data/pocket/traits/*

mlflow: $(READY) ## browse runs at http://127.0.0.1:5000
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri sqlite:///mlruns/mlflow.db

optuna: $(READY) ## browse studies at http://127.0.0.1:8080
	optuna-dashboard mlruns/studies.journal
