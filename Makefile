# Needs make and Python 3.11 or newer, nothing else; everything is installed into .venv.
#   PYTHON=...    the interpreter to build .venv with (default: the first one found that runs)
#   WORKERS=...   parallel test processes (0: one process, the tests in order)
#   ARGS=...      passed on, e.g. make test ARGS="-m 'not slow' -k spectrum"

PYTHON  ?=
WORKERS ?= 2
ARGS    ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Without bytecode every process that the tests start would parse the packages again.
unexport VIRTUAL_ENV PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports format docs reproduce papers bench faults reliability options lock wheel hooks clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## see the library at work: a report and figures in runs/demo
	$(BIN)/meanfield demo --out runs/demo $(ARGS)

# Compiling takes most of the time: the first pass compiles without optimizing, the second one, of
# the tests marked `optimized`, as users do.
test: lint types imports ## everything CI checks: lint, types, import contract, all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --quick $(ARGS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --optimized $(ARGS)

lint: .venv/installed ## style and likely bugs (ruff), spelling (codespell)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: .venv/installed ## static types (pyright)
	$(BIN)/pyright

imports: .venv/installed ## imports between the packages point downwards (import-linter)
	$(BIN)/lint-imports --no-logo

format: .venv/installed ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed ## build the documentation into build/site
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build $(ARGS)

reproduce: .venv/installed ## every source's headline results at full size; fails if a claim fails
	$(BIN)/meanfield reproduce all --out runs/reproduce $(ARGS)
	@! grep -B9 '"holds": false' runs/reproduce/claims.json

papers: .venv/installed ## write docs/papers, a page each, from what make reproduce left
	PYTHONPATH=. $(BIN)/python docs/_site/papers.py runs/reproduce

bench: .venv/installed ## time the hot paths (tests/benchmarks), and write their figures and docs/performance.md
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' --durations=0 $(ARGS)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.page

faults: .venv/installed ## an hour of kills, full disks, bad input and damage (tests/faults)
	PYTHONPATH=tests $(BIN)/python -m faults.campaign $(ARGS)

reliability: .venv/installed ## write docs/reliability.md from the figures of the last campaign
	PYTHONPATH=tests $(BIN)/python -m faults.page

options: .venv/installed ## write docs/options.md from the code
	$(BIN)/python -m meanfield.cli._options_page > docs/options.md

lock: .venv/installed ## refresh requirements.lock with the newest versions pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
		--python $(BIN)/python --python-version 3.11 --no-annotate --no-header \
		--extra dev --extra docs --extra test --output-file requirements.lock pyproject.toml

wheel: .venv/installed ## build the wheel into dist
	$(BIN)/python -m build --wheel --no-isolation

hooks: .venv/installed ## run the static checks before every git commit
	$(BIN)/pre-commit install

clean: ## remove the environment, builds and caches (runs stay)
	rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate counts only if it runs: a version manager may list interpreters that are not active.
.venv/locked: requirements.lock
	@found=; for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
		if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No Python 3.11 or newer with the venv module found$(if $(PYTHON), at $(PYTHON)): install one, or name it with make PYTHON=/path/to/python." >&2; \
		exit 1; \
	fi; \
	echo "Building .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv
	$(PIP) install --quiet --requirement requirements.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
