# Everything runs in .venv, which is made when it is missing or older than what it is made from.
# Installing talks on stderr only: `make -s demo > page.md` holds the markdown and nothing else.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
RUN := $(VENV)/bin/python -m
FILE ?=
MINUTES ?= 10
NANO ?= .nano

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.dev ## Make .venv with everything for working on the service
install: $(VENV)/.stack ## Make .venv with everything for running the service

demo: $(VENV)/.stack ## Read a sample (or FILE=...) with a stack of its own; prints markdown
	@$(RUN) ocr_tasks.cli demo $(if $(FILE),"$(FILE)")

up: $(VENV)/.stack ## Run the whole service on this machine until Ctrl-C
	@$(RUN) ocr_tasks.cli up

test: $(VENV)/.dev ## Run the tests, two files at a time (PYTEST="-k word" chooses)
	@$(RUN) pytest --numprocesses 2 --dist loadfile $(PYTEST)

bench: $(VENV)/.dev ## Measure the spine (close everything else first; BENCH="batcher --json FILE")
	@$(RUN) tests.benchmarks $(BENCH)

bench-engine: $(VENV)/.dev ## Measure the engine deepseek, on the GPU where there is one (BENCH="--tiny --json FILE")
	@$(RUN) tests.benchmarks.engine $(BENCH)

bench-dom: $(VENV)/.dev ## Measure pages of the web, rendered and stored (BENCH="renders --json FILE")
	@$(RUN) tests.benchmarks.dom $(BENCH)

train-nano: $(VENV)/.dev ## Train nano, or go on with it (NANO=folder MINUTES=10), then measure it into the package
	@$(RUN) workers.nano.training "$(NANO)" $(if $(filter command line,$(origin MINUTES)),--minutes $(MINUTES))
	@$(RUN) workers.nano.publish "$(NANO)"

soak: $(VENV)/.dev ## Run what takes long: chaos, and whether anything grows (MINUTES=10 each)
	@$(RUN) tests.soak.chaos --minutes $(MINUTES)
	@$(RUN) tests.soak.growth --minutes $(MINUTES)
	@$(RUN) tests.soak.renders

check: $(VENV)/.dev ## Check format, lint and types
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy

format: $(VENV)/.dev ## Format the code and mend what lint can
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

constraints: $(VENV)/.dev ## Write the versions installed in .venv to deploy/constraints.txt
	@{ echo '# The versions tested, written by `make constraints`. torch is chosen by the machine, so not here.'; \
	   $(RUN) pip freeze --exclude-editable | grep -v -i -E '^(torch|uv|pip|setuptools|lightdom)\b|@'; \
	 } > deploy/constraints.new && mv deploy/constraints.new deploy/constraints.txt

clean: ## Remove .venv, caches and build leftovers
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- making .venv ---------------------------------------------

$(VENV)/.stack: EXTRAS := stack
$(VENV)/.dev: EXTRAS := stack,dev

$(VENV)/.stack $(VENV)/.dev: setup.cfg pyproject.toml deploy/constraints.txt
	@$(find-python); $(make-venv); \
	 $(find-browser); \
	 echo "Installing .[$(EXTRAS)] into $(VENV)" >&2; \
	 $(RUN) pip install --quiet --constraint deploy/constraints.txt --editable '.[$(EXTRAS)]' >&2
	@touch $@ $(if $(findstring dev,$(EXTRAS)),$(VENV)/.stack)

# The first Python on PATH that is new enough; a pyenv shim may be there and answer nothing.
define find-python
set -e; python=; \
for name in python3 python3.13 python3.12 python3.11; do \
  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
done; \
if [ -z "$$python" ]; then echo "Python 3.11 or newer is needed, and PATH has none." >&2; exit 1; fi
endef

# Debian ships venv without ensurepip, in a package of its own.
define make-venv
if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
  if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
    package=$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
      echo "Python's venv module is missing. Install it first: sudo apt-get install $$package" >&2; exit 1; \
    fi; \
    { apt-get install -y $$package || { apt-get update && apt-get install -y $$package; }; } >&2; \
  fi; \
  echo "Making $(VENV) with $$($$python --version)" >&2; \
  $$python -m venv --clear $(VENV) >&2; \
fi
endef

# Pages are rendered by the system's own Chromium. As root it is installed where apt-get can; without one, all else works.
define find-browser
if ! { { command -v chromium-headless-shell || command -v chromium || command -v google-chrome; } \
       && command -v chromedriver; } >/dev/null; then \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    echo "Installing chromium and chromium-driver" >&2; \
    { apt-get install -y --no-install-recommends chromium chromium-driver \
      || { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver; }; } >&2; \
  else \
    echo "Pages need Chromium to be rendered: sudo apt-get install chromium chromium-driver (the rest works)" >&2; \
  fi; \
fi
endef

.PHONY: help venv install demo up test bench bench-engine bench-dom train-nano soak check format constraints clean
