# make demo   sets everything up and runs the whole chain on the embedded base
# make test   sets everything up and passes the tests
# make check  style, types, who imports whom      make bench  speed against the peers      make docs  generated pages
# make attacks  fuzz (inputs that nobody meant), crash (kill -9 at random moments) and hostile (programs that try to escape or to
#               cheat their tests), each also alone; minutes each, one table

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Small models lose ten-fold to thread thrash, so one thread each is the rule.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: audit demo test check bench docs attacks fuzz crash hostile

demo: $(VENV)/ready
	$(BIN)/yosegi demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell yosegi benchmarks docs dev README.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/pip check
	$(BIN)/python docs/generate.py --check

bench: $(VENV)/ready
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

attacks: $(VENV)/ready
	$(BIN)/python -m tests.attacks

fuzz: $(VENV)/ready
	$(BIN)/python -m tests.attacks.fuzz

crash: $(VENV)/ready
	$(BIN)/python -m tests.attacks.crash

hostile: $(VENV)/ready
	$(BIN)/python -m tests.sandbox.test_hostile

# Known weaknesses of the versions in constraints.txt, by pip-audit in an environment of its own; it needs a network.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

docs: $(VENV)/ready
	$(BIN)/python docs/generate.py

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "yosegi is tested on Python 3.11; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
