# The habits. `make` lists them.

CARGO ?= cargo
PYTHON ?= python3
PEERS := benches/peers/.venv
# Where the Python package is built and tested: nothing of it touches the machine's own Python.
VENV := $(abspath $(or $(CARGO_TARGET_DIR),target))/venv-python
WHEEL := $(abspath $(or $(CARGO_TARGET_DIR),target))/venv-wheel
WHEELS := $(dir $(WHEEL))wheels
MATURIN := cd axion-python && env -u CONDA_PREFIX VIRTUAL_ENV=$(VENV) $(VENV)/bin/maturin develop --quiet
ifdef CARGO_TARGET_DIR
# maturin does not work in this folder.
export CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
endif

.PHONY: help test test-python test-functions test-outside chaos kills chaos-mutations fuzz lint bench bench-peers bench-python bench-functions wheel check deny

help:
	@echo "make test         everything CI runs for tests"
	@echo "make test-python  the Python package's own tests, in a virtual environment of its own"
	@echo "make test-functions  the tests of functions on each supported Python, with the oldest and newest cloudpickle"
	@echo "make test-outside  black, pylint and tqdm on the executor"
	@echo "make chaos        five minutes of tasks and workflows of all kinds while workers are killed"
	@echo "make kills        kills 1,000 engines at random moments, and looks for what they leave"
	@echo "make chaos-mutations  breaks the engine in many places, and sees whether the chaos test finds each"
	@echo "make fuzz         10 million hostile frames, 2 million facts and 1 million flows"
	@echo "make lint         formatting, clippy, documentation"
	@echo "make check        lint and test"
	@echo "make bench        the engine's figures beside their baselines"
	@echo "make bench-peers  the same no-op through other task runners, and where Axion loses (ARGS=--help)"
	@echo "make bench-python the Python package beside concurrent.futures, multiprocessing and joblib"
	@echo "make bench-functions functions of the program in workers, beside the standard pools and loky"
	@echo "make wheel        a wheel for Linux with the program in it, tried on each Python of this machine"
	@echo "make deny         licences and advisories of the dependencies"

# nextest kills a test that hangs; without it, cargo's own runner does the same tests.
test:
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace; \
	else \
		echo "cargo-nextest is not installed: a test that hangs will not be killed"; \
		$(CARGO) test --workspace; \
	fi
	$(CARGO) test --workspace --doc
	$(PYTHON) axion-actors/python/tests/all_pythons.py
	$(CARGO) run --quiet --example plain_main
	$(CARGO) run --quiet --example async_service
	$(MAKE) test-python

test-python: $(VENV)/made
	$(MATURIN)
	@echo "black, pylint and tqdm on the executor: not here, but with make test-outside"
	$(VENV)/bin/python -m pytest --quiet -c axion-python/pyproject.toml axion-python/tests --ignore axion-python/tests/outside
	cd axion-python && $(VENV)/bin/python -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/stubtest.txt axion
	cd axion-python && $(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python
	AXION_TEST_PROGRAM=$(VENV)/bin/axion $(CARGO) test --quiet --package axion-cli --test program

test-functions: $(VENV)/made
	$(VENV)/bin/python axion-python/tests/function_pythons.py $(VENV)/bin/maturin $(dir $(VENV))venv-functions $(ARGS)

test-outside: $(VENV)/made
	$(MATURIN) --release
	$(VENV)/bin/pip install --quiet --requirement axion-python/tests/outside/requirements.txt
	$(VENV)/bin/python -m pytest --quiet -s -c axion-python/pyproject.toml axion-python/tests/outside $(ARGS)

$(VENV)/made: axion-python/requirements.txt axion-python/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement axion-python/requirements.txt
	touch $@

chaos:
	$(CARGO) test --release --test chaos -- --seconds 300

kills:
	$(CARGO) test --release --test chaos -- --kills 1000 $(ARGS)

chaos-mutations:
	$(PYTHON) tests/chaos/mutations.py $(ARGS)

fuzz:
	FUZZ_FRAMES=10000000 FUZZ_FACTS=2000000 FUZZ_FLOWS=1000000 $(CARGO) test --release --test fuzz -- --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features --quiet

check: lint test

bench:
	$(CARGO) bench --bench engine

bench-peers: $(PEERS)/made $(VENV)/made
	$(CARGO) build --release --bench engine
	$(MATURIN) --release
	AXION_BENCH_PACKAGE=$(VENV)/bin/python $(PEERS)/bin/python benches/peers/compare.py --markdown $(ARGS)

$(PEERS)/made: benches/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --requirement benches/peers/requirements.txt
	touch $@

bench-python: $(VENV)/made
	$(MATURIN) --release
	$(VENV)/bin/python benches/python/compare.py

bench-functions: $(VENV)/made
	$(MATURIN) --release
	$(VENV)/bin/python benches/python/functions.py $(ARGS)

# zig is on the PATH as a module of the virtual environment's Python.
wheel: $(WHEEL)/made
	$(PYTHON) axion-python/wheel/licences.py axion-python/LICENSES-THIRD-PARTY.txt
	rm -rf $(WHEELS)
	cd axion-python && env -u CONDA_PREFIX VIRTUAL_ENV=$(WHEEL) PATH="$(WHEEL)/bin:$$PATH" $(WHEEL)/bin/maturin build --quiet \
		--release --locked --zig --compatibility manylinux2014 --interpreter $(WHEEL)/bin/python --out $(WHEELS)
	$(PYTHON) axion-python/wheel/check.py $(WHEELS)/axion-*.whl

$(WHEEL)/made: axion-python/wheel/requirements.txt
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/pip install --quiet --requirement axion-python/wheel/requirements.txt
	touch $@

deny:
	$(CARGO) deny check
