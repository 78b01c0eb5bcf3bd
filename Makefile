# Two commands set up all they need on a machine with Python 3.11+ and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test chaos year docs format bench pins clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "klaviyo-jobs needs Python 3.11 or later; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Run once against a local sandbox, without a key, and show the views
	$(BIN)/klaviyo-jobs demo

test: $(READY) ## Format, lint, types, import directions, SQL style and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --disable-progress-bar sql
	$(BIN)/python -m pytest --numprocesses auto -m "not slow"

chaos: $(READY) ## Kill 200 runs, then others with faults, in pairs, on a full disk; SEED=N repeats one
	PYTHONPATH=tests $(BIN)/python -m chaos --kills 200 $(if $(SEED),--seed $(SEED))
	PYTHONPATH=tests $(BIN)/python -m chaos --kills 60 $(if $(SEED),--seed $(SEED)) --faults --pairs --lose-working-directory --full-disk

year: $(READY) ## Live through a year of a shop, and hold check to what went wrong; five minutes, Linux only
	PYTHONPATH=tests $(BIN)/python tests/simulation/run_year.py build/year

docs: $(READY) ## Write the generated parts of the documentation anew
	PYTHONPATH=tests $(BIN)/python -m support.documents

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Measure a run beside the floor and other tools; BENCH="--only W1 --sdk PYTHON" chooses
	$(BIN)/python benchmarks/bench.py $(BENCH)

pins: $(READY) ## Pin the newest versions that pyproject.toml allows
	$(BIN)/python -m uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate --upgrade --quiet --output-file requirements.txt

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .import_linter_cache
