# make .venv      sets up, and only that
# make test       lint, types and tests: what .ci/run calls
# make demo       trains, quantizes and tunes a small net, and shows the cycles
# make tutorials  executes the notebooks and stores what they print and plot
# make prove      proves all rewrite rules from scratch, and writes their records (half a minute)
# make exact      bit exactness over the whole zoo, at 50 random points a kernel (long)
#
# PYTHON=python3.12 make test   takes another interpreter.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: .venv test demo exact prove tutorials

.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Dovetail needs Python 3.11 or newer, got $$($(PYTHON) --version). Give PYTHON=python3.11." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# Every check runs even where an earlier one failed; any failure fails the whole.
test: .venv
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(PYTEST) --durations=10 || status=1; \
	exit $$status

demo: .venv
	$(BIN)/python -m dovetail.driver.demo

tutorials: .venv
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.notebooks

prove: .venv
	$(BIN)/python -m dovetail.tir.rewrite.prove --scratch

exact: .venv
	$(PYTEST) -m exact --exact
