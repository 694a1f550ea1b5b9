# `make check` is what a change must pass; `.ci/run` is the same from nothing, and the wheel.
PYTHON ?= python

.PHONY: check lint types walls test browser pictures readme bench
check: lint types walls test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy app.py

walls:
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

test:
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest

# needs the dependency group `browser` and a Chromium
browser:
	ADVISOR_BROWSER="$$(command -v chromium)" $(PYTHON) -m pytest tests/browser

# the pictures in docs, taken anew
pictures:
	ADVISOR_BROWSER="$$(command -v chromium)" ADVISOR_SCREENSHOTS=docs/pictures \
		$(PYTHON) -m pytest tests/browser/test_pictures.py

readme:
	$(PYTHON) scripts/readme.py

bench:
	$(PYTHON) benchmarks/cold_start.py
	$(PYTHON) benchmarks/page_load.py
