# `make demo` and `make test` do everything from a fresh clone; only Python 3.11 or newer is needed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SITE := $(RUN) -m sphinx -W --keep-going -q -b html docs out/docs

BROWSERS := chromium chromium-browser google-chrome google-chrome-stable chrome

.PHONY: demo test bench docs figures browser clean

demo: $(VENV)/demo.stamp
	$(RUN) -m gradviz demo --out out/demo

test: $(VENV)/test.stamp browser
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(SITE)
	$(RUN) -m pytest -q -n auto
	$(RUN) docs/figures.py --check

# The tests of pages need a browser; where none can be installed they are skipped and say so.
browser:
	@for name in "$$GRADVIZ_BROWSER" $(BROWSERS); do if command -v "$$name" >/dev/null 2>&1; then exit 0; fi; done; \
	echo "installing chromium for the tests of pages"; \
	if [ "$$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; \
	($$as apt-get update -qq && $$as apt-get install -y -qq chromium) >/dev/null 2>&1 || echo "no browser: those tests will be skipped"

bench: $(VENV)/bench.stamp
	$(RUN) -m benchmarks

# The site; nothing is fetched while it is built, nor by its pages.
docs: $(VENV)/docs.stamp
	$(SITE)
	@echo wrote out/docs/index.html

figures: $(VENV)/test.stamp
	$(RUN) docs/figures.py

$(VENV)/%.stamp: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -e "$(if $(filter demo,$*),.,.[$*])"
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) out runs docs/gallery docs/reference .mypy_cache .pytest_cache .ruff_cache
