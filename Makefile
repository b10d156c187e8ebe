# Needs Python >= 3.11 with pip and venv, and make. Uses uv when it is there (UV= forces pip).
#
#   make quickstart   set up, then plan, train, fit, forecast and score the main example
#   make test         set up, then the tests (PYTEST_ARGS="-k order" chooses, TESTS=tests/data too)
#   make published    set up, then published fits beside ours (data: SCALING_PUBLISHED_DATA; docs/reference/published.md);
#                     make published-gadre one of them, make -j2 -Otarget published two at a time
#   make corpus       set up, then a corpus of 97 MB of English from packages (experiments/corpora; on Debian)
#   make lint         ruff and pyright
#   make docs         API reference from docstrings, into build/docs
#   make images       draw the figures of docs/images and of committed results again, from their tables
#   make install      only set up (EXTRAS=cuda12 for a GPU)
#   make lock         resolve constraints.txt again (LOCK_PYTHONS="python3.11 python3.12")
#
# PYTHON=python3.12 chooses the interpreter, VENV=folder where the environment goes.

PYTHON ?= python3
VENV ?= .venv
UV ?= $(shell command -v uv 2>/dev/null)
EXTRAS ?=
TESTS ?= tests
PYTEST_ARGS ?= -q -n 2 --dist worksteal
LOCK_PYTHONS ?= python3.11 python3.12
PUBLISHED = $(filter-out verdicts formulas,$(basename $(notdir $(wildcard experiments/published/*.py))))

# Tests against published runs and against tables in the wild need a folder of each. Where a variable is not set, the
# folder next to the checkout is taken.
ifeq ($(origin SCALING_PUBLISHED_DATA), undefined)
  ifneq ($(wildcard ../shared/published),)
    export SCALING_PUBLISHED_DATA := $(abspath ../shared/published)
  endif
endif
ifeq ($(origin SCALING_FIELD_DATA), undefined)
  ifneq ($(wildcard ../shared/field),)
    export SCALING_FIELD_DATA := $(abspath ../shared/field)
  endif
endif

# Compiled modules are kept whatever the shell says: without them each process takes seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE

# -qq: errors are shown, pip's warnings about a machine's own package locations are not.
ifeq ($(UV),)
  INSTALL = $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
  CREATE = $(PYTHON) -m venv $(VENV)
else
  INSTALL = $(UV) pip install --quiet --python $(VENV)/bin/python --constraint constraints.txt
  CREATE = $(UV) venv --quiet --python $(PYTHON) $(VENV)
endif
comma := ,
empty :=
space := $(empty) $(empty)
requirement = -e '.$(if $(strip $(1)),[$(subst $(space),$(comma),$(strip $(1)))])'

.DELETE_ON_ERROR:
PUBLISHED_ALL := $(PUBLISHED:%=published-%)
.PHONY: quickstart test published $(PUBLISHED_ALL) corpus lint docs images install dev lock

quickstart: install
	$(VENV)/bin/scaling run experiments/quickstart.yaml

test: dev
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) $(TESTS)

published: dev
	@$(MAKE) --no-print-directory --keep-going $(PUBLISHED_ALL)

$(PUBLISHED_ALL): published-%: dev
	@$(VENV)/bin/python experiments/published/$*.py

corpus: install
	@$(VENV)/bin/python experiments/corpora/english.py

lint: dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

docs: dev
	$(VENV)/bin/pdoc --output-directory build/docs analysis

images: install
	$(VENV)/bin/scaling plot results/reference/quickstart --out docs/images
	$(VENV)/bin/python experiments/designs/figure.py
	$(VENV)/bin/python experiments/vocabulary/figure.py
	$(VENV)/bin/python experiments/known-answer/compare.py
	$(VENV)/bin/python experiments/merged.py
	$(VENV)/bin/scaling plot results/reference/merged --out build/merged && \
	  cp build/merged/variants.png results/reference/merged
	$(VENV)/bin/scaling basins results/reference/learning-rate --batch none --by params,tokens,batch_tokens \
	  --lr-on params,batch_tokens --window 0.03 --plot results/reference/learning-rate
	$(VENV)/bin/python experiments/lr-transfer/figure.py
	for study in muon architecture experts; do \
	  $(VENV)/bin/scaling plot results/reference/$$study --out build/$$study && \
	  cp build/$$study/variants.png results/reference/$$study || exit 1; done

install: $(VENV)/.installed
dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python >= 3.11 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@rm -f $(VENV)/.installed $(VENV)/.installed-dev
	$(CREATE)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): a minute or two"
	$(INSTALL) $(call requirement,$(EXTRAS))
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing with test tools into $(VENV): a minute or two"
	$(INSTALL) $(call requirement,dev $(EXTRAS))
	@touch $@ $(VENV)/.installed

lock:
	$(PYTHON) .ci/lock.py $(LOCK_PYTHONS)
