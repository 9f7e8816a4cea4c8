# make run       build, install and start the gateway with a few simulated partners
# make test      build, install and pass the tests, two files at a time; make test WORKERS=0: one after the other
# make build     compile what changed of the native core
# make bench     measure (takes minutes)
# make sharing   measure what sharing costs a request, a host and Redis: fifty hosts and a real Cluster (minutes)
# make detection measure what is found and who is wrongly acted on; writes docs/detection.md (minutes)
# make sanitize  the tests of the core under the address and undefined-behaviour sanitizers
# make races     several workers' threads on one state under ThreadSanitizer (two minutes)
# make stress    kill two hundred workers of a shared state; check the larger models (minutes)
# make fuzz      hostile bodies, headers and requests: atheris, schemathesis against the OpenAPI, ten million datagrams (minutes)
# make frameworks the adapters before the oldest and the newest Flask, FastAPI, Starlette, Litestar and Django (minutes)
# make lint      ruff and mypy
# make clean     remove what was built; make distclean: the virtual environment too
#
# Needs python3 (3.11 or newer) with venv and headers, gcc and make. Everything that is installed
# goes to .venv; its stamps keep a second run from asking the network for anything.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

.PHONY: run test build bench sharing detection sanitize races stress fuzz frameworks lint clean distclean

run: build
	$(VENV)/bin/ztmon serve --demo

# Many tests wait for processes. Files are dealt out whole, for what they share, and in their order: the last ones are short.
WORKERS ?= 2

test: build $(VENV)/stamp-test
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

build: $(VENV)/stamp-install
	ZTMON_STRICT=1 $(PY) setup.py -q build_ext --inplace

bench: build $(VENV)/stamp-bench
	$(PY) -m pytest benchmarks --benchmark-enable --benchmark-json=build/bench.json
	$(PY) benchmarks/replay.py build/replay.json
	$(PY) benchmarks/shared.py build/shared.json
	$(PY) benchmarks/datagrams.py build/datagrams.json
	$(PY) benchmarks/gateway.py build/gateway.json
	$(PY) benchmarks/adapters.py build/adapters.json
	$(PY) benchmarks/report.py build/bench.json build/replay.json build/shared.json build/gateway.json build/datagrams.json \
		build/adapters.json

sharing: build $(VENV)/stamp-test
	mkdir -p build
	$(PY) benchmarks/sharing.py latency build/sharing-latency.json
	$(PY) benchmarks/sharing.py memory build/sharing-memory.json
	$(PY) benchmarks/sharing.py scale build/sharing-scale.json

detection: build $(VENV)/stamp-bench
	$(PY) benchmarks/detection

# The interpreter itself is not built with the sanitizer, so its runtime comes first by preload;
# leaks are not looked for, for CPython keeps memory on purpose until it ends.
sanitize: $(VENV)/stamp-test
	ZTMON_SANITIZE=address $(PY) setup.py -q build --build-lib build/sanitize --build-temp build/sanitize-temp
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:suppressions=$(CURDIR)/tests/asan.supp UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	PYTHONMALLOC=malloc PYTHONPATH=build/sanitize ZTMON_TEST_BUILD=build/sanitize \
	$(PY) -m pytest -m "not whole_tree and not memory and not frameworks" -p no:cacheprovider --capture=sys

# Its shadow memory wants the addresses where they were before kernels spread them: setarch -R.
races: $(VENV)/stamp-test
	ZTMON_SANITIZE=thread $(PY) setup.py -q build --build-lib build/races --build-temp build/races-temp
	rm -rf build/races-state && mkdir build/races-state
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" PYTHONPATH=build/races \
	TSAN_OPTIONS="exitcode=66 history_size=4 suppressions=tests/races.supp" \
	setarch -R $(PY) tests/races.py build/races-state 60

stress: build $(VENV)/stamp-test
	ZTMON_TEST_KILLS=200 ZTMON_TEST_MODELS=all $(PY) -m pytest tests/test_shared.py tests/test_model.py

FUZZ_SECONDS ?= 60
FUZZ_DATAGRAMS ?= 10000000

fuzz: build $(VENV)/stamp-fuzz
	mkdir -p build
	$(PY) tests/fuzz_telemetry.py $(FUZZ_SECONDS)
	$(PY) tests/fuzz_routes.py $(FUZZ_SECONDS)
	$(PY) -m tests.fuzz_datagrams $(FUZZ_SECONDS)
	$(PY) -m tests.hostile $(FUZZ_DATAGRAMS)

frameworks: build $(VENV)/stamp-test
	$(PY) -m pytest -m frameworks -rP tests/test_versions.py

lint: $(VENV)/stamp-test
	$(PY) -m ruff check .
	$(PY) -m mypy

clean:
	rm -rf build dist src/*.egg-info src/ztcore/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find src adapters tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

$(VENV)/stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit("ztmon needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "setuptools>=77" "Cython>=3.3" wheel
	@touch $@

$(VENV)/stamp-install: $(VENV)/stamp-venv pyproject.toml
	$(PIP) install --no-build-isolation --editable ".[gateway]"
	@touch $@

$(VENV)/stamp-bench: $(VENV)/stamp-test
	$(PIP) install --no-build-isolation --editable ".[gateway,test,bench]"
	@touch $@

$(VENV)/stamp-fuzz: $(VENV)/stamp-test
	$(PIP) install --no-build-isolation --editable ".[gateway,test,fuzz]"
	@touch $@

$(VENV)/stamp-test: $(VENV)/stamp-install
	$(PIP) install --no-build-isolation --editable ".[gateway,test]"
	@touch $@
