# The doors of the project. `make help` lists them; each sets up what it needs.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
# Some containers forbid Python to keep what it has compiled: then each command, test worker and `sam` compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

# The Lambda runtime is Python 3.13: use it where it is found, else the newest of 3.11 to 3.14.
# (A version manager's stub answers `command -v` and then fails, so each candidate is run.)
PYTHON ?= $(shell for p in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python python3.14 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
AUDIT := .venv-audit
AUDIT_READY := $(AUDIT)/.ready
# Half of the time of these folders goes into five files that play whole days, or start the command each time.
LONG := tests/wiring/test_events.py $(patsubst %,tests/unit/%.py,test_unrecorded test_bench_simulate test_hostile_answers cli/test_main)
QUICK := tests/unit tests/wiring $(LONG:%=--ignore=%)
IN_PROCESS := tests/unit tests/wiring tests/contract tests/adversarial
STACKS := tests/e2e tests/browser
RUNTIME := .lambda-runtime
RUNTIME_READY := $(RUNTIME)/.ready

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## watch two pairs of photographs go through the whole stack on this machine
	@$(BIN)/kontext demo

.PHONY: test
test: check ## run everything that is checked and tested
	@sh tests/browser/install-chromium
	@$(MAKE) --no-print-directory --jobs=2 test-stacks test-in-process

.PHONY: test-stacks
test-stacks: $(READY) ## only the tests of whole stacks and of the page, which wait most of the time
	$(BIN)/pytest -n 6 --dist loadgroup --no-loadscope-reorder $(STACKS)

.PHONY: test-in-process
test-in-process: $(READY) ## only the other tests, which keep two processors busy; what they say is shown when they have ended
	@echo "the tests in process run too; what they say is shown when they have ended"
	@trap 'rm -f "$$said"' EXIT; said=$$(mktemp); $(BIN)/pytest -n 2 --dist worksteal $(STACKS:%=--ignore=%) >"$$said" 2>&1; \
		failed=$$?; cat "$$said"; exit $$failed

.PHONY: quick
quick: check-python ## format, lint, types, and the short tests (under a minute)
	$(BIN)/pytest -q -n 3 --dist worksteal $(QUICK)

.PHONY: coverage
coverage: $(READY) ## which lines of the product are run by the tests in process (some minutes)
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q -n 3 --dist worksteal $(IN_PROCESS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@echo "functions and layers: $$($(BIN)/coverage report --include='functions/*,layers/*' --format=total) %"

.PHONY: check
check: $(READY) $(AUDIT_READY) ## format, lint, types, template, policies, workflow
	@$(MAKE) --no-print-directory --jobs=2 check-python check-template

.PHONY: check-python
check-python: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.PHONY: check-template
check-template: $(READY) $(AUDIT_READY)
	$(BIN)/cfn-lint template.yaml
	AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 $(BIN)/sam validate
	$(AUDIT)/bin/statelint --ignore=URI workflow.asl.json
	$(AUDIT)/bin/python -W ignore -m tests.audit.policies
	$(AUDIT)/bin/checkov --file template.yaml --framework cloudformation --skip-download --compact --quiet

.PHONY: audit
audit: $(AUDIT_READY) ## look for known-bad versions among all locked packages (asks PyPI's advisory database)
	@for lock in layers/dependencies/requirements.txt requirements/*.txt; do \
		echo "$$lock"; $(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip -r $$lock || exit 1; done

.PHONY: chaos
chaos: $(READY) ## crash the pipeline at every call it makes, and hold it to its promises
	@PYTHONPATH=.:functions $(BIN)/python -m tests.chaos $(RUN)

.PHONY: bench
bench: $(READY) ## measure time and cost, and write bench/report.md (a quarter of an hour; PARTS="cloud …" for less)
	@$(BIN)/python -m bench.report $(PARTS)

.PHONY: soak
soak: $(READY) ## 200 pairs at once and the other promises, on the embedded cloud (about twenty minutes)
	KONTEXT_PAIRS=200 $(BIN)/pytest tests/e2e/test_promises.py -s

.PHONY: test-lifecycle
test-lifecycle: $(READY) ## update a stack with renders in flight, run two side by side, remove one as documented (about three minutes)
	$(BIN)/pytest tests/e2e/lifecycle.py -s

.PHONY: test-moto
test-moto: $(READY) $(RUNTIME_READY) ## the main stories on a second AWS (moto), the functions in Lambda's own runtime and walls
	@$(BIN)/python -m tests.moto -s

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## feed the parsers what coverage-guided chance comes up with, for FUZZ_SECONDS (600)
	@PYTHONPATH=.:functions $(BIN)/python -m tests.fuzz

.PHONY: test-adversarial
test-adversarial: $(READY) ## play what is hostile, prove the roles, and look for secrets, on the embedded cloud (about five minutes)
	@PYTHONPATH=.:functions $(BIN)/python -m tests.adversarial

.PHONY: generated
generated: $(READY) ## write anew what follows from the code: a request's type, the events' schema, alarms and dashboard, tables in the docs
	$(BIN)/python -m scripts.contracts
	$(BIN)/python -m monitoring.template
	$(BIN)/python -m scripts.tables

.PHONY: drawings
drawings: $(READY) ## draw the architecture and the state machine anew, from template and workflow
	$(BIN)/python -m scripts.draw_architecture

.PHONY: screenshots
screenshots: $(READY) ## photograph demo and console anew for the README; on an idle machine, for it states the seconds
	@sh tests/browser/install-chromium
	$(BIN)/python -m scripts.show_demo
	KONTEXT_SCREENSHOTS=1 $(BIN)/pytest tests/browser/test_console_live.py

.PHONY: down
down: $(READY) ## stop the stack that `kontext up` left running on this machine
	@$(BIN)/kontext down

$(READY): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "kontext-drop needs Python 3.11 to 3.14 with venv; none was found on the PATH."; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(AUDIT_READY): $(READY) requirements/audit.txt
	@echo "setting up $(AUDIT)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(AUDIT)
	@$(BIN)/uv pip install --quiet --python $(AUDIT)/bin/python --require-hashes -r requirements/audit.txt
	@touch $@

$(VENV)/.fuzz: $(READY) requirements/fuzz.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/fuzz.txt
	@touch $@

$(RUNTIME_READY): $(READY) requirements/lambda.txt
	@rm -rf $(RUNTIME)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(RUNTIME) --require-hashes -r requirements/lambda.txt
	@touch $@

.PHONY: lock
lock: $(READY) ## resolve the locked dependencies anew
	cd layers/dependencies && ../../$(BIN)/uv pip compile $(COMPILE) requirements.in -o requirements.txt
	cd requirements && ../$(BIN)/uv pip compile $(COMPILE) bootstrap.in -o bootstrap.txt
	cd requirements && ../$(BIN)/uv pip compile $(COMPILE) dev.in -o dev.txt
	cd requirements && ../$(BIN)/uv pip compile $(COMPILE) audit.in -o audit.txt
	cd requirements && ../$(BIN)/uv pip compile $(COMPILE) fuzz.in -o fuzz.txt
	cd requirements && ../$(BIN)/uv pip compile $(COMPILE) lambda.in -o lambda.txt
COMPILE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--upgrade --quiet --custom-compile-command "make lock"
