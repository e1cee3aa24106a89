# `make run` and `make test` are all that a fresh machine needs: Python 3.11 or newer with venv, and make.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
# Flask reads the .env of any folder above where it is called. Python runs this line when it starts, in this environment alone.
NO_DOTENV := import os; os.environ.setdefault("FLASK_SKIP_DOTENV", "1")
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# What the tests and the servers that they start have compiled is kept: to compile it again takes longer than many of them.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest

.PHONY: run dev test test-fast test-long prove test-next test-generated soak threats certification lint lock clean

run: .venv/installed  ## Migrate the database, make a demo in an empty one, then serve on http://127.0.0.1:$(PORT)
	@PORT=$(PORT) OSTIARY_CREATE_DEVELOPMENT=1 $(BIN)/flask demo --migrate
	@PORT=$(PORT) exec $(BIN)/gunicorn --config gunicorn.conf.py "app:create_app()"

dev: .venv/installed  ## The same in one process that reloads on changes
	@PORT=$(PORT) OSTIARY_CREATE_DEVELOPMENT=1 $(BIN)/flask demo --migrate
	@PORT=$(PORT) exec $(BIN)/flask run --reload --port $(PORT)

test: .venv/installed-dev  ## The suite: in memory, on an SQLite file, on PostgreSQL and on MariaDB (four minutes)
	@$(PYTEST) $(ARGS)

test-fast: .venv/installed-dev  ## What stays in memory, while you work: no server, no process (a minute)
	@$(PYTEST) -n 2 -m "not long and not integration and not thorough" --ignore=tests/generated $(ARGS)

test-long: .venv/installed-dev  ## What takes longer than somebody waits: the longer forms, and more engines
	@$(PYTEST) -m long $(ARGS)

prove: .venv/installed-dev  ## What is promised, tried on each engine thousands of times, in one table (15 minutes; see docs/proving.md)
	@$(BIN)/python -m tests.proofs

test-next: .venv-next/installed  ## The suite on the next Flask and SQLAlchemy, where the index has them
	@.venv-next/bin/python -m tests.next_versions
	@.venv-next/bin/pytest $(ARGS)

threats: .venv/installed-dev  ## Which promises of docs/threat-model.md are proven, and by which tests
	@$(BIN)/python -m tests.threats

certification: .venv/installed-dev  ## Which modules of OpenID certification have a test here, and which
	@$(BIN)/python -m tests.certification.modules

test-generated: .venv/installed-dev  ## 200 generated values for every parameter and every header of every route (many minutes)
	@TEST_EXAMPLES=20 $(PYTEST) -m long --dist load tests/generated/test_generated.py $(ARGS)

soak: .venv/installed-dev  ## 100,000 grants, and nothing grows: tables, memory, latency (SOAK_ENGINE=, SOAK_GRANTS=; a quarter of an hour)
	@$(BIN)/python -m tests.proofs.soak

lint: .venv/installed-dev  ## Style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock: .venv/installed-dev  ## Renew the pinned, hashed requirements (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --upgrade requirements.in --output-file requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --upgrade requirements-dev.in --constraint requirements.txt --output-file requirements-dev.txt
	next=$$($(BIN)/python -m tests.next_versions --requirements) && echo "$$next" | uv pip compile --quiet --universal \
	  --python-version 3.11 --generate-hashes --no-deps --no-emit-index-url --no-emit-find-links --upgrade - \
	  --output-file requirements-next.txt

clean:
	rm -rf .venv .venv-next .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt Makefile | .venv/bin/python
	$(PIP_INSTALL) --requirement requirements.txt
	@echo '$(NO_DOTENV)' >"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ostiary.pth"
	@touch $@

.venv-next/installed: requirements.txt requirements-dev.txt requirements-next.txt
	$(PYTHON) -m venv .venv-next
	.venv-next/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	.venv-next/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	.venv-next/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements-next.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PIP_INSTALL) --requirement requirements-dev.txt
	@touch $@
