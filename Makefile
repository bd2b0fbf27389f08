# Every target makes .venv and installs what it needs. Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs

.PHONY: setup demo test test-slow test-demo test-families test-deepspeed chromium quick unit unit-everywhere everywhere lint format docs reproduce bench bench-gpu wheel clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seelevel needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/seelevel run world-amp-meg --out $(RUNS)/world-amp-meg

# Two workers of one thread each: workers that share the cores by threads wait for each other at every operator.
test: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --durations 25

# The fastest tests that still touch every area of the package: tests/quick.txt.
quick: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m unit @tests/quick.txt

unit: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m unit

# On every kind of x86 processor that this one can act as: other instructions and threads sum in another order, and round
# in another way. `make test` runs them as the processor is.
CAPABILITIES := default $(shell grep -qsw avx2 /proc/cpuinfo && echo avx2) $(shell grep -qsw avx512bw /proc/cpuinfo && echo avx512)

unit-everywhere: setup
	for capability in $(filter-out $(lastword $(CAPABILITIES)),$(CAPABILITIES)); do \
		echo "ATEN_CPU_CAPABILITY=$$capability"; \
		ATEN_CPU_CAPABILITY=$$capability HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
			$(BIN)/python -m pytest -n 2 -m unit || exit 1; \
	done

# The unit tests, all of training's and the recipes, with one thread and with two, on each of them: an hour.
everywhere: setup
	for capability in $(CAPABILITIES); do \
		export ATEN_CPU_CAPABILITY=$$capability HF_HUB_OFFLINE=1; \
		for threads in 1 2; do \
			echo "ATEN_CPU_CAPABILITY=$$capability OMP_NUM_THREADS=$$threads"; \
			export OMP_NUM_THREADS=$$threads; \
			$(BIN)/python -m pytest -n $$((2 / threads)) -m unit || exit 1; \
			$(BIN)/python -m pytest -n $$((2 / threads)) -m 'not unit and not slow' tests/training || exit 1; \
		done; \
	done
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow tests/slow/test_capabilities.py tests/training/test_compiling.py

# The tests of `seelevel view` in a browser drive the system's Chromium; without one they are skipped.
CHROMIUM := command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chrome

chromium:
	@test -n "$$SEELEVEL_CHROMIUM" || { $(CHROMIUM); } >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
		|| echo 'no Chromium: the tests in a browser (tests/view/browser) are skipped'

test-slow: setup chromium
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'slow and not everywhere' -n 2 --dist loadfile --durations 25 --ignore tests/slow/test_demo.py

# The demo is timed, so it has the machine to itself.
test-demo: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow tests/slow/test_demo.py

# DeepSpeed builds an operator when it starts, so a C++ compiler must be there.
test-deepspeed: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[deepspeed]'
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'unit or slow' tests/slow/test_zero.py tests/training/test_zero.py

# The processors of most families need torchvision, and this one another torch than constraints.txt has: 5.5 GB.
FAMILIES := .venv-families
TORCH := 2.14.1
TORCHVISION := 0.29.1

test-families: $(FAMILIES)/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(FAMILIES)/bin/python -m pytest -m real_processor \
		tests/real_processors tests/slow/test_preference_set.py

$(FAMILIES)/.installed: pyproject.toml constraints.txt
	test -x $(FAMILIES)/bin/python || $(PYTHON) -m venv $(FAMILIES)
	sed 's/^torch==.*/torch==$(TORCH)/' constraints.txt > $(FAMILIES)/constraints.txt
	$(FAMILIES)/bin/python -m pip install --quiet --disable-pip-version-check -c $(FAMILIES)/constraints.txt \
		torchvision==$(TORCHVISION) -e '.[dev,video]'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m tests.cli_reference > docs/cli.md

# AMP's tables with three seeds: hours; then feedback in words: one more. Stopped, the same command continues.
reproduce: setup
	$(BIN)/python -m benchmarks.reproduce
	$(BIN)/python -m benchmarks.dress

# About an hour and a half on two idle cores; nothing else should run. What a call printed is kept in $(RUNS)/bench.
TRAIN_STEP := HF_HUB_OFFLINE=1 $(BIN)/python -W ignore -m benchmarks.train_step --json --device cpu
BENCH := $(RUNS)/bench

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	mkdir -p $(BENCH)
	$(TRAIN_STEP) --peers trl trl-stored rows-full rows shared shared-cached --k 5 > $(BENCH)/k5.json
	$(TRAIN_STEP) --peers rows-full rows shared shared-cached --sweep k --repeats 3 > $(BENCH)/sweep-k.json
	$(TRAIN_STEP) --peers rows shared --sweep prefix --repeats 3 > $(BENCH)/sweep-prefix.json
	$(TRAIN_STEP) --peers rows shared --sweep response --repeats 3 > $(BENCH)/sweep-response.json
	$(TRAIN_STEP) --peers rows shared --k 5 --vocab 152000 --repeats 3 > $(BENCH)/vocab-152k.json
	$(TRAIN_STEP) --peers shared shared-4 shared-1 --k 16 --repeats 3 > $(BENCH)/k16-groups.json
	$(TRAIN_STEP) --shape qwen25vl-44m --peers rows shared --k 5 --repeats 3 > $(BENCH)/k5-qwen.json
	$(BIN)/python -m benchmarks.tables $(BENCH)
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks.check --json > $(RUNS)/bench-check.json
	$(BIN)/python -m benchmarks.scoring --json > $(RUNS)/bench-scoring.json
	$(BIN)/python -m benchmarks.bookkeeping --json > $(RUNS)/bench-bookkeeping.json
	HF_HUB_OFFLINE=1 $(BIN)/python -W ignore -m benchmarks.long_prefix > $(RUNS)/bench-long-prefix.md

# Twelve minutes on an idle H100 or H200, with the PyTorch for it installed. It adds lines to $(RUNS)/gpu/gpu.jsonl.
bench-gpu: setup
	$(BIN)/python -W ignore -m benchmarks.gpu --out $(RUNS)/gpu --minutes 12

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv $(FAMILIES) dist build
