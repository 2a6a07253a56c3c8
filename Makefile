# Each target works alone on a fresh machine: it makes the virtual environment, installs, and runs.
# The first interpreter that is new enough; override with: make PYTHON=/path/to/python
NEW    := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do $$p -c '$(NEW)' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
MODEL  ?= examples/resnet20_cifar10.safetensors examples/silero_vad_v6_16k.safetensors

.PHONY: scan test lint docs fuzz clean

scan: $(VENV)/.installed
	$(BIN)/rmtaudit scan $(MODEL)

# one BLAS thread a test process: there is a process for every CPU already
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow" $(PYTEST)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# every reader, FUZZ_SECONDS each; an input that is found goes to .venv
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.installed-fuzz
	@for target in tests/fuzz/fuzz_*.py; do \
	  echo "$$target"; \
	  $(BIN)/python $$target -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 \
	    -artifact_prefix=$(VENV)/ -print_final_stats=1 >$(VENV)/fuzz.log 2>&1 \
	    || { tail -n 60 $(VENV)/fuzz.log; exit 1; }; \
	  grep 'stat::number_of_executed_units' $(VENV)/fuzz.log; \
	done

# every page is in the navigation, and no link is broken
docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --quiet --strict --site-dir $(VENV)/site

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "rmtaudit needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# dependency groups need pip 25.1
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group test
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group lint
	touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --group fuzz
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group docs
	touch $@

clean:
	rm -rf $(VENV)
