# `make demo` and `make test` do all set-up themselves.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-rest test-jobs check unit bench capacity chaos audit format requirements clean

$(STAMP): pyproject.toml requirements-dev.txt
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	  echo "harbor-aws needs Python 3.12 or newer as python3 (found: $$(python3 --version))" >&2; exit 1; }
	test -x $(BIN)/uv || { python3 -m venv $(VENV) && $(BIN)/pip install -q --disable-pip-version-check uv; }
	$(BIN)/uv pip install -q --python $(BIN)/python -r requirements-dev.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	touch $@

demo: $(STAMP)
	$(BIN)/harbor-aws demo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest -q tests/unit

test: check ## jobs under chaos mostly wait, so they run beside the rest
	$(MAKE) -j2 test-jobs test-rest

test-rest: $(STAMP)
	mkdir -p build
	$(BIN)/pytest -q --basetemp=build/pytest --ignore=tests/chaos/jobs

test-jobs: $(STAMP)
	mkdir -p build
	$(BIN)/pytest -q --basetemp=build/pytest-jobs tests/chaos/jobs >build/test-jobs.log 2>&1; status=$$?; cat build/test-jobs.log; exit $$status

bench: $(STAMP) ## BENCH_ARGS="--quick", "--only exec", "--kubeconfig FILE"
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

capacity: $(STAMP) ## how long runs take on AWS, and what binds, by the model: docs/capacity.md and its picture
	$(BIN)/python -m tests.benchmarks.capacity

chaos: $(STAMP) ## SEED=1 MINUTES=30 CHAOS_ARGS="--kubeconfig FILE"
	$(BIN)/python -m tests.chaos.jobs --seed $(or $(SEED),1) --minutes $(or $(MINUTES),30) $(CHAOS_ARGS)

audit: $(STAMP) ## known vulnerabilities of what is pinned
	$(BIN)/pip-audit -r requirements-dev.txt --no-deps --disable-pip --progress-spinner off

requirements: ## compile the pinned versions anew
	$(BIN)/uv pip compile -q --universal --no-emit-index-url --no-annotate --extra dev --python-version 3.12 --upgrade -o requirements-dev.txt pyproject.toml
	$(BIN)/uv pip compile -q --universal --no-emit-index-url --no-annotate --python-version 3.12 -c requirements-dev.txt -o docker/requirements.txt pyproject.toml
	sed -i '/^#/d' requirements-dev.txt docker/requirements.txt

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
