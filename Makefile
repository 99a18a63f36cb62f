# The two commands of a fresh machine: `make demo` and `make test`. Everything lives in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint soak bench clean

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("trajc needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/developer: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/installed  ## run the whole of trajc once: rollouts, compilation, dataset over HTTP
	$(BIN)/python demo/demo.py

lint: .venv/developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## correctness, two files at once, as many tests wait; what is absent is skipped with the reason unless TRAJC_REQUIRE names it
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

soak: .venv/developer  ## the long reliability shows, scaled by TRAJC_SOAK_N
	TRAJC_SOAK_N=$${TRAJC_SOAK_N:-full} $(BIN)/pytest -m soak

bench: .venv/developer  ## measure both sides of every bar; writes benchmarks/results.json
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf .venv .trajc build ./*.egg-info .pytest_cache .mypy_cache .ruff_cache
