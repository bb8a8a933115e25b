# OrcaRouter. `make` alone lists what there is; everything runs in .venv, made on first use from the locked requirements.

.DEFAULT_GOAL := help
.PHONY: help run demo test test-long bench lint format lock ready ready-dev
export PYTHON
PY := .venv/bin/python
# One more than there are cores, as some always wait for processes that they started; no machine needs more than six.
WORKERS ?= $(shell nproc | awk '{ print ($$1 < 5 ? $$1 : 5) + 1 }')

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ready ## Start OrcaRouter; Ctrl-C stops it (HOST, PORT, ORCAROUTER_DATA)
	@exec $(PY) manage.py up

demo: ready-dev ## Let agents play their stories against a running OrcaRouter
	@exec $(PY) manage.py demo

test: ready-dev ## Run all tests
	@scripts/setup.sh program chromium "The console's tests"
	@$(PY) -m pytest -n $(WORKERS) --dist loadscope --ignore tests/browser $(ARGS) || [ $$? = 5 ]
	@# In processes of their own: Playwright keeps an event loop in its thread, where no other test could run one.
	@$(PY) -m pytest -n $(WORKERS) --dist loadscope tests/browser $(ARGS) || [ $$? = 5 ]

test-long: export HYPOTHESIS_PROFILE = long
test-long: test ## Run all tests with new random cases, many more of them (an hour)

bench: ready-dev ## Measure speed, side by side with nginx
	@scripts/setup.sh program nginx "The comparison"
	@exec $(PY) manage.py bench

lint: ready-dev ## Check style, types, templates and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	$(PY) -m djlint templates --lint --quiet
	.venv/bin/lint-imports

format: ready-dev ## Put the code into the house's form
	$(PY) -m ruff check --fix --quiet .
	$(PY) -m ruff format .

lock: ## Lock the newest allowed libraries, with hashes (needs uv)
	@command -v uv >/dev/null || { echo "Locking needs uv: pip install uv" >&2; exit 1; }
	uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 -c requirements.lock \
		pyproject.toml --group dev -o requirements-dev.lock

ready:
	@scripts/setup.sh venv requirements.lock

ready-dev:
	@scripts/setup.sh venv requirements-dev.lock
