# jobTree: every task by name. `make help` lists them.
#
#   PYTHON=/path/to/python3   the Python to build the environment with (3.11, 3.12 or 3.13)
#   VENV=.venv                where the environment is kept
#   ARGS="-k store -x"        passed on to pytest, the demo or the benchmarks

VENV   ?= .venv
PYTHON ?=
ARGS   ?=
export VENV PYTHON

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.jobtree-installed
READY := $(VENV)/.jobtree-runs
# Whatever a user's settings say, it goes into that environment.
PIP   := PIP_USER=0 PIP_TARGET= PIP_PREFIX= PIP_ROOT= "$(PY)" -m pip install --quiet \
         --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test schedulers strace crash simulate check lint format-check types layers format bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## sort 100 MB of text on this machine, and verify it
	@"$(PY)" examples/demo.py $(ARGS)

test: $(STAMP) schedulers strace ## run the tests; as root also those against real schedulers
	@"$(PY)" -m pytest $(ARGS)

schedulers: $(STAMP) ## as root: install the schedulers that live tests need, if missing
	@if [ "$$(id -u)" != 0 ]; then exit 0; fi; \
	"$(PY)" contrib/slurm/local-cluster install --quiet || \
	echo "== so the tests against a real Slurm cannot run"; \
	"$(PY)" contrib/sge/local-cell install --quiet || \
	echo "== so the tests against a real Grid Engine cannot run"

strace: ## as root: install strace, which the crash tests need, if missing
	@if command -v strace >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; \
	then exit 0; fi; echo "== installing Debian's strace"; \
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install strace; } \
	>/dev/null </dev/null || echo "error: apt-get could not install strace" >&2

crash: $(STAMP) strace ## hours: kill at every durable operation; ARGS="--every 10": at a tenth
	@"$(PY)" -m tests.crash.points $(ARGS)
	@"$(PY)" -m tests.crash.points --victims master worker --errors ENOSPC EIO EDQUOT $(ARGS)
	@JOBTREE_RACES=200 JOBTREE_STOPPED_S=120 JOBTREE_HOSTILE_EXAMPLES=50 "$(PY)" -m pytest \
	  --timeout 3600 tests/integration/test_takeover.py tests/integration/test_hostile_*.py

SEEDS ?= 10000
simulate: $(STAMP) ## minutes: virtual runs full of faults; SEEDS=10000 of them, ARGS="--first 10000"
	@"$(PY)" -m tests.simulation.run --seeds $(SEEDS) $(ARGS)

check: lint format-check types layers ## lint, format, types, layers; needs no network once installed

lint: $(STAMP) ## ruff's rules
	@echo "== ruff check"
	@"$(PY)" -m ruff check .

format-check: $(STAMP) ## is everything formatted?
	@echo "== ruff format --check"
	@"$(PY)" -m ruff format --check .

types: $(STAMP) ## mypy --strict
	@echo "== mypy --strict"
	@"$(PY)" -m mypy --strict

layers: $(STAMP) ## who may import whom
	@echo "== lint-imports"
	@"$(VENV)/bin/lint-imports" --no-logo

format: $(STAMP) ## format, and mend what ruff can mend by itself
	@"$(PY)" -m ruff check --fix .
	@"$(PY)" -m ruff format .

.PHONY: bench-master bench-peers bench-cluster
bench: $(STAMP) ## measure speed beside the installed peers (ARGS=--quick)
	@"$(PY)" benchmarks/run.py $(ARGS)

bench-master: $(STAMP) ## minutes: measure the master by itself, with up to a million jobs
	@"$(PY)" benchmarks/master.py $(ARGS)

bench-cluster: $(STAMP) ## minutes, as root: short jobs on the local Slurm and Grid Engine, beside a bare array
	@"$(PY)" benchmarks/cluster.py $(ARGS)

bench-peers: $(STAMP) ## install luigi, parsl and snakemake for `make bench`
	@for peer in luigi parsl snakemake; do \
	  "$(PY)" -m venv benchmarks/.venvs/$$peer && benchmarks/.venvs/$$peer/bin/python -m pip \
	    install --quiet --disable-pip-version-check $$peer || exit 1; \
	done

docs: $(STAMP) ## print the pages made from the code, and list all
	@"$(PY)" docs/print.py
	@find README.md CONTRIBUTING.md CHANGELOG.md docs site-config contrib -name '*.md' | sort | \
	while IFS= read -r page; do printf '  %-46s %s\n' "$$page" "$$(sed -n 's/^# //p;/^# /q' "$$page")"; done

clean: ## remove what make and the tools made, the environment too
	@rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi

# ---- the environment ---------------------------------------------------------------------

# What runs jobTree, and for all but the demo what tests and checks need besides.
$(READY): pyproject.toml
	@sh -eu -c "$$MAKE_VENV"
	@echo "== installing jobTree into $(VENV)"
	@$(PIP) --editable .
	@touch "$@"

$(STAMP): pyproject.toml
	@sh -eu -c "$$MAKE_VENV"
	@echo "== installing jobTree and its tools into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch "$(READY)" "$@"

# The newest usable Python wins. A Debian without ensurepip is mended if we may, else explained.
define MAKE_VENV
works() { "$$VENV/bin/python" -m pip --version >/dev/null 2>&1; }
usable() {
  "$$1" -c 'import sqlite3, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    >/dev/null 2>&1
}
create() {
  for python in "$$@"; do
    if usable "$$python" && "$$python" -m venv --clear "$$VENV" >/dev/null 2>&1 && works; then
      echo "== $$("$$VENV/bin/python" --version) in $$VENV"
      return 0
    fi
  done
  return 1
}
if works; then exit 0; fi
if [ -d "$$VENV" ] && [ ! -f "$$VENV/pyvenv.cfg" ] && [ -n "$$(ls -A "$$VENV")" ]; then
  echo "error: $$VENV exists and is no Python environment; name another: make VENV=..." >&2
  exit 1
fi
echo "== making $$VENV and installing into it: about a minute, this once"
if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi
if create "$$@"; then exit 0; fi
found=
for python in "$$@"; do if usable "$$python"; then found=$$python; break; fi; done
if [ -z "$$found" ]; then
  echo "error: no Python 3.11, 3.12 or 3.13 with sqlite3 among: $$*" >&2
  echo "  name yours: make PYTHON=/path/to/python3" >&2
  exit 1
fi
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== this Python lacks ensurepip: installing Debian's python3-venv"
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3-venv; } \
    >/dev/null </dev/null || echo "error: apt-get could not install python3-venv" >&2
  if create "$$@"; then exit 0; fi
fi
echo "error: $$found cannot create an environment (python3 -m venv fails)" >&2
echo "  On Debian or Ubuntu: apt-get install python3-venv, then run make again." >&2
echo "  Or name a Python that can: make PYTHON=/path/to/python3" >&2
exit 1
endef
export MAKE_VENV
