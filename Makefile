# `make demo` and `make test` set everything up by themselves; all they need is Python 3.10 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs

.PHONY: setup demo test check types format docs results soak benchmark clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Could not make a virtual environment (on Debian: apt install python3-venv)"; exit 2; }
	@echo "Installing PyTorch and the other dependencies into $(VENV), once; this takes a minute or more ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[run,test]'
	@touch $@

# 160 runs of a second or two, with and without ISDA, in two processes; then what ISDA changed, and a picture.
demo: $(READY)
	@$(BIN)/python run.py grid configs/demo.yaml --processes 2
	@$(BIN)/python run.py analyze comparison runs/demo
	@$(BIN)/python run.py analyze comparison runs/demo --out runs/demo

test: $(READY)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(MAKE) --no-print-directory types
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# One tree as a wheel has it: methods and data sets inside the package.
types: $(READY)
	@rm -rf build/typed && mkdir -p build/typed && cp -Rp ssl_isda methods datasets build/typed
	@mv build/typed/methods build/typed/datasets build/typed/ssl_isda
	@cd build/typed && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The pages of docs/ as a site, in build/html; a dead link or a missing reference is an error.
docs: $(DOCS)
	@$(BIN)/python -m docs.site.build

$(DOCS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

# Tables and figures of docs/results again, from the results that are kept there: the same bytes.
results: $(READY)
	@$(BIN)/python -m docs.site.results

soak: $(READY)
	@$(BIN)/python -m tests.soak

benchmark: $(READY)
	@$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache build *.egg-info
