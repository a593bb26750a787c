# `make demo` and `make test` do everything from a fresh clone; only Python 3.11 or newer is needed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test bench figures clean

demo: $(VENV)/demo.stamp
	$(RUN) -m gradviz demo --out out/demo

test: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) -m pytest -q -n auto
	$(RUN) docs/figures.py --check

bench: $(VENV)/bench.stamp
	$(RUN) -m benchmarks

figures: $(VENV)/test.stamp
	$(RUN) docs/figures.py

$(VENV)/%.stamp: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -e "$(if $(filter demo,$*),.,.[$*])"
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) out runs .mypy_cache .pytest_cache .ruff_cache
