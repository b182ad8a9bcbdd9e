# The commands of a checkout. `make` alone lists them.
PYTHON ?= python3
# Not from the environment: `make clean` removes what these name.
VENV = .venv
OUT = out/demo
# Tests at a time, a file to each; with 0 in one process, for a debugger.
JOBS = 2
# Spectra are small tensors: on a machine that does other work, a second thread costs more than it brings.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed

.DEFAULT_GOAL := help
.PHONY: help venv demo example figures dist release-check test statistical bench lint format docs clean
.DELETE_ON_ERROR:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=$(PYTHON) VENV=$(VENV) (set on the command line to use others)"

venv: $(INSTALLED) ## install the package and its tools into $(VENV), versions from constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else \
		f"expected Python 3.11, 3.12 or 3.13, got {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## denoise the example spectrum with the shipped model
	@$(BIN)/bayesden denoise data/example-spec.fits --map --plot --out $(OUT) --overwrite
	@$(BIN)/bayesden report $(OUT)/example-spec.fits --out $(OUT)/report.html --overwrite
	@echo
	@echo "Written to $(OUT):"
	@ls -1 $(OUT) | sed 's|^|  $(OUT)/|'
	@echo "Open the PNG. Top: the exposures in grey, the denoised flux in colour with its 50 and 90 % bands; look at the"
	@echo "cosmic rays (ticks at the edge), the shaded gap and the exposure without a blue arm: the flux passes all three."
	@echo "Below: each exposure's residuals in units of the noise; a good fit scatters between the dotted lines at 3."
	@echo "Open report.html in a browser for the same to zoom into: the buttons above the figure show single lines."

example: $(INSTALLED) ## draw data/example-spec.fits anew from the shipped model
	@$(BIN)/python -m bayesden.simulation.example --out data/example-spec.fits

figures: $(INSTALLED) ## draw the docs' pictures of the example anew (some minutes)
	@$(BIN)/bayesden denoise data/example-spec.fits --map --out $(OUT)/map --overwrite
	@$(BIN)/bayesden plot $(OUT)/map/example-spec.fits --out docs/_static/example.png
	@$(BIN)/bayesden denoise data/example-spec.fits --mcmc --out $(OUT)/mcmc --overwrite
	@$(BIN)/bayesden plot $(OUT)/mcmc/example-spec.fits --kind latents --out docs/_static/latents.png
	@$(BIN)/bayesden plot $(OUT)/mcmc/example-spec.fits --kind loo-pit --out docs/_static/loo_pit.png
	@$(BIN)/bayesden plot $(OUT)/mcmc/example-spec.fits --kind pairs --out docs/_static/pairs.png

dist: $(INSTALLED) ## build sdist and wheel into dist
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .

release-check: ## build sdist and wheel, install the wheel elsewhere and use it there (some minutes)
	@PYTHON=$(PYTHON) .ci/release-check

test: $(INSTALLED) ## the tests (without the statistical ones and the benchmarks)
	@$(BIN)/python -m pytest -m "not statistical and not benchmark" --numprocesses $(JOBS) --dist loadfile $(ARGS)

statistical: $(INSTALLED) ## tests that repeat an inference many times
	@$(BIN)/python -m pytest -m statistical $(ARGS)

bench: $(INSTALLED) ## speed and quality as ratios within one run
	@$(BIN)/python -m pytest -m benchmark -s $(ARGS)

lint: $(INSTALLED) ## check style, annotations and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## rewrite the sources in our format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(DOCS_INSTALLED): $(INSTALLED)
	@$(PIP) --editable '.[docs]'
	@touch $@

docs: $(DOCS_INSTALLED) ## build the documentation into docs/_build/html, running its tutorials where they or the code changed
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@$(BIN)/python docs/check_links.py docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## remove what the commands above made, the environment too
	rm -rf $(VENV) build dist docs/_build .pytest_cache .ruff_cache .coverage htmlcov $(OUT)
	find bayesden baselines tests docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
