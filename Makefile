# What a developer can do here. `make run` and `make test` set up all they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
DATABASE ?= cidrgate.db
CLANG ?= clang
FUZZ_SECONDS ?= 60
FAULT_SECONDS ?= 30
CLIENTS ?=
FAULTS ?= -s -v -m fault tests
MINUTES ?= 10
STORE ?= sqlite
FUZZ_FILES ?= 50000
FUZZ_FIRST ?= 0
COVERED ?= -n $(WORKERS) --dist worksteal tests README.md docs --ignore=tests/faults --ignore=tests/distribution --ignore=tests/spark
TRACED ?= adopt arrow arrow_tables examples paths hostile_arrays hostile_arrow header_lines known_accounts matcher parser plain_lists prefix_trie smallest_cover
UNTRACED ?= every_size or many_accounts or memory_of or every_reader or interrupted or few_bytes or bitmap or edges or whatever or 4_gib
COVERAGE_OF ?=
COVERAGE_FLOOR ?= 70
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Hundreds of processes are started by the tests: none of them shall compile the same modules again.
export PYTHONDONTWRITEBYTECODE :=
ENGINE := $(filter-out ext/_engine.c,$(wildcard ext/*.pyx ext/*.pxi ext/*.pxd ext/*.h ext/*.c)) setup.py pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run check surfaces test test-long coverage dist race stress clients faults spark image-steps soak lint sanitize sanitize-form sanitize-build fuzz fuzz-snapshots aarch64 bench bench-cluster bench-smoke comparison docs docs-links clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

run: .venv/run ## set up, run the main job on an embedded SQLite file, then serve it until ctrl-C
	@$(BIN)/python -m benchmarks.first_run $(DATABASE)

# Twice as many processes as processors: many tests wait for servers and for times to pass.
WORKERS ?= $(shell expr 2 \* $$($(BIN)/python -c 'import os; print(os.cpu_count() or 1)'))

# The layers that start no other process and no database; a test that takes a second or more there is marked `slow`.
CHECKED ?= tests/rules tests/lists tests/engine tests/gate tests/middleware tests/test_layers.py src

check: .venv/dev ## lint, types and the fast tests, in less than a minute: run it before each commit
	@start=$$(date +%s) \
		&& $(MAKE) --no-print-directory -j2 lint fast-tests \
		&& echo "checked in $$(($$(date +%s) - start)) seconds"

surfaces: .venv/dev ## accept the public surfaces as they are; says what CHANGELOG.md then needs
	$(BIN)/python -m tests.surfaces

fast-tests: .venv/dev
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m 'not slow' --durations=5 --durations-min=2 $(CHECKED)

test: .venv/dev ## set up, and run every test; the suite of faults is `make faults`
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/faults --ignore=tests/distribution --ignore=tests/spark

test-long: .venv/dev ## run every test, and repeat what only shows after many repetitions; takes its time
	CIDRGATE_LONG=1 CIDRGATE_FORKS=500 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/distribution --ignore=tests/spark

race: .venv/dev ## let writers in several processes race for a minute on each store
	CIDRGATE_RACE_SECONDS=60 $(BIN)/python -m pytest -v tests/test_race.py

stress: .venv/dev ## run every test twice on processors that are busy, with many forks; takes its time
	$(BIN)/python -m tests.stress $(STRESS)

faults: .venv/dev ## bring every fault of docs/many-nodes.md about, FAULT_SECONDS each; needs pgbouncer
	CIDRGATE_FAULT_SECONDS=$(FAULT_SECONDS) $(BIN)/python -m pytest $(FAULTS)

clients: .venv/dev ## lint the OpenAPI document, and compile and run generated CLIENTS; needs node, Java and Go
	$(BIN)/python -m tests.clients $(CLIENTS)

spark: .venv/dev ## test what runs on Apache Spark and ClickHouse; downloads 650 MB, and needs Java
	$(INSTALL) --group spark
	$(BIN)/python -m pytest -v tests/spark

image-steps: .venv/dev ## run the steps of deploy/Dockerfile without Docker, and start what they make; takes minutes
	$(BIN)/python -m pytest -v tests/image_steps.py

soak: .venv/dev ## put `cidrgate serve` under load for MINUTES on STORE: sqlite, postgresql or a URL; fails on growth
	$(BIN)/python -m tests.soak $(STORE) --minutes $(MINUTES)

dist: .venv/dev ## build the sdist and a wheel into dist/, check them, and try each in an empty environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pytest tests/distribution

# The engine is built once more, from a copy, so that each of its lines tells the interpreter that it runs. That takes a
# hundred times as long, so tests of many accounts and large tables are left out there; all others run with the engine as
# it is.
coverage: .venv/dev ## count the lines of Python and Cython that the tests run; fails below COVERAGE_FLOOR per cent
	rm -rf build/coverage
	mkdir -p build/coverage
	cp -r ext build/coverage/ext
	CIDRGATE_TRACED_SOURCES=build/coverage/ext $(BIN)/python setup.py -q build \
		--build-lib build/coverage/lib --build-temp build/coverage/temp
	HYPOTHESIS_PROFILE=traced PYTHONPATH=$(CURDIR)/build/coverage/lib:$(CURDIR) \
		$(BIN)/python -m coverage run -m pytest -q -k 'not ($(UNTRACED))' $(TRACED:%=tests/engine/test_%.py)
	$(BIN)/python -m coverage run -m pytest -q $(COVERED)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --fail-under=$(COVERAGE_FLOOR) $(COVERAGE_OF)

lint: .venv/dev ## check style, types and stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH=$(BIN):$$PATH cython-lint ext ext/*.pxi docs src
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest cidrgate._engine --mypy-config-file ext/stubtest.ini

# Freed memory is kept for a while by AddressSanitizer, so there is no leak to measure. An array that is larger than the
# memory is an error here too, as the tests expect, and not the end of the process.
sanitize: .venv/dev ## run the engine's tests with AddressSanitizer and UndefinedBehaviorSanitizer
	$(MAKE) sanitize-form
	$(MAKE) sanitize-form FORM=-DCIDRGATE_UNLOCKED=1

# An emulator cannot run an engine that needs AddressSanitizer's library.
sanitize-form: sanitize-build
	$(SANITIZED) PYTHONMALLOC=malloc $(BIN)/python -m pytest -q tests/engine \
		--ignore=tests/engine/test_leaks.py --ignore=tests/engine/test_targets.py
	$(SANITIZED) $(BIN)/python tests/fuzz/snapshots.py --files 300

SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH=build/sanitize:.

sanitize-build: .venv/dev
	rm -rf build/sanitize build/sanitize-temp
	CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g $(FORM)' \
		$(BIN)/python setup.py -q build --build-lib build/sanitize --build-temp build/sanitize-temp

fuzz: .venv/dev ## fuzz the engine for FUZZ_SECONDS, guided by coverage, then its files as fuzz-snapshots; needs clang
	@command -v $(CLANG) > /dev/null || { echo 'clang is needed, on Debian: apt-get install clang'; exit 1; }
	$(INSTALL) --group fuzz
	CC=$(CLANG) LDSHARED='$(CLANG) -shared' CFLAGS='-fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -g' \
		$(BIN)/python setup.py -q build --build-lib build/fuzz --build-temp build/fuzz-temp
	LD_PRELOAD="$$($(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/fuzz:. \
		$(BIN)/python tests/fuzz/engine.py build/fuzz-corpus -max_total_time=$(FUZZ_SECONDS)
	$(MAKE) fuzz-snapshots

fuzz-snapshots: sanitize-build ## damage FUZZ_FILES snapshots for at most FUZZ_SECONDS and use what is opened, sanitized
	$(SANITIZED) $(BIN)/python tests/fuzz/snapshots.py --first $(FUZZ_FIRST) --files $(FUZZ_FILES) \
		--seconds $(FUZZ_SECONDS)

aarch64: .venv/dev ## test the engine on an emulated AArch64 processor; on Debian, with a cross compiler and qemu-user
	$(BIN)/python -m tests.aarch64

bench: .venv/dev ## measure against the peers; writes benchmarks/results/
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.deep_lists
	$(BIN)/python -m benchmarks.recommending
	$(BIN)/python -m benchmarks.authorize
	$(BIN)/python -m benchmarks.edges
	$(BIN)/python -m benchmarks.traffic
	$(BIN)/python -m benchmarks.bench_service

bench-cluster: .venv/dev ## measure imports, starts and how changes spread; writes benchmarks/results/cluster-*.md
	$(BIN)/python -m benchmarks.cluster

bench-smoke: .venv/dev ## run each benchmark for a blink
	$(BIN)/python -m benchmarks.report --smoke
	$(BIN)/python -m benchmarks.deep_lists --smoke
	$(BIN)/python -m benchmarks.recommending --smoke
	$(BIN)/python -m benchmarks.edges --smoke
	$(BIN)/python -m benchmarks.traffic --smoke
	$(BIN)/python -m benchmarks.authorize --smoke
	$(BIN)/python -m benchmarks.cluster --smoke
	$(BIN)/python -m benchmarks.feed --smoke
	$(BIN)/python -m benchmarks.bench_service --smoke

comparison: .venv/dev ## run the attack table against other libraries; writes docs/comparison.md
	$(INSTALL) 'cidrgate[all]' --group compare
	$(BIN)/python -m benchmarks.comparison

docs: .venv/docs ## build the documentation site into build/docs; any warning fails
	rm -rf build/docs
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

docs-links: .venv/docs ## check the links of the docs that lead to other sites; needs the network
	$(BIN)/python -m sphinx -q -b linkcheck docs build/docs-links

clean: ## remove everything that was built
	rm -rf .venv build dist src/*.egg-info ext/_engine.c src/cidrgate/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'cidrgate needs Python 3.11 or newer: name one with `make PYTHON=python3.12 ...`'; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo 'install the venv module first, on Debian: apt-get install python3-venv'; exit 1; }

.venv/run: .venv/bin/python $(ENGINE)
	@command -v $${CC:-cc} > /dev/null || command -v gcc > /dev/null \
		|| { echo 'a C compiler is needed, on Debian: apt-get install gcc python3-dev'; exit 1; }
	$(INSTALL) -e '.[server]'
	@touch $@

# `cidrgate` is there, from .venv/run: to install it with `-e .` again would build the engine a second time.
.venv/dev: .venv/run
	$(INSTALL) 'pip>=25.1' # the first that knows [dependency-groups]
	$(INSTALL) 'cidrgate[all]' --group dev
	@touch $@

.venv/docs: .venv/run
	$(INSTALL) 'pip>=25.1' # the first that knows [dependency-groups]
	$(INSTALL) --group docs
	@touch $@
