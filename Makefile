# Everything a fresh machine with python3 (3.11 or newer) and make can do. `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

CLIP := examples/bigbuckbunny_320x180.mp4
RESULT := demo/bigbuckbunny_1280x720.mp4
PICTURE := demo/before_after.png

.PHONY: help demo test test-slow test-gpu test-browser check format docs clean
.NOTPARALLEL:

help:
	@echo "make demo       upscale a short clip with the packaged model; results in demo/"
	@echo "make test       run the tests"
	@echo "make test-slow  run the tests that take minutes"
	@echo "make test-gpu   run the tests that need an NVIDIA GPU"
	@echo "make test-browser  drive the web app in Chromium, which must be installed"
	@echo "make check      formatting, lint, types, import contracts"
	@echo "make format     format the code and mend what lint can mend"
	@echo "make docs       build the documentation site into build/site"
	@echo "make clean      remove everything that make has made"

demo: $(VENV)/.installed
	@mkdir -p demo
	@echo "Upscaling $(CLIP) by four ..."
	@$(BIN)/dgafvsr upscale $(CLIP) $(RESULT) --overwrite
	@$(BIN)/python examples/before_after.py $(CLIP) $(RESULT) $(PICTURE)
	@echo "The result is $(RESULT), a comparison with bicubic is $(PICTURE)."

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses auto --maxprocesses 4

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m gpu

test-browser: $(VENV)/.installed-dev
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		{ echo "Chromium is missing; install it, on Debian: apt-get install chromium" >&2; exit 1; }
	$(PIP_INSTALL) --quiet --editable ".[dev,browser]"
	$(BIN)/python -m pytest -m browser

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is build/site/index.html; for its search, serve it: $(PYTHON) -m http.server --directory build/site"

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP_INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/.installed

# The recipe also takes over a virtual environment that is there already.
$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; install Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dgafvsr needs Python 3.11 or newer, got `$(PYTHON) --version`; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $@
