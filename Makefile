# Everything runs in .venv, made from requirements.lock. `make lab` and `make test` are all that is needed.
PYTHON ?= python3
DATA ?= sample
RECIPE ?= quick
# the chapters of the lab, 01 to 05; LAB=all runs the further ones, too
LAB ?= main
DEVICE ?= auto
BIN := .venv/bin
# processes of the tests; each computes with one thread, because threads that wait for each other share badly
JOBS ?= 2

.PHONY: setup lab site test test-all lint unit notebooks jupyter jupyter-solved refresh lock clean

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	touch $@

lab: setup
	@if [ "$(DATA)" = pets ]; then $(BIN)/labkit data get --data pets; fi
	$(BIN)/course lab --data "$(DATA)" --recipe "$(RECIPE)" --device "$(DEVICE)" $(if $(filter all,$(LAB)),--all)

# the notebooks as they are, with search and contents: runs/site/index.html
site: setup
	$(BIN)/course site

test: setup lint unit notebooks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

notebooks: setup
	$(BIN)/labkit data get --data sample
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -p no:cacheprovider --nbval --nbval-current-env \
		--nbval-cell-timeout=240 notebooks

test-all: setup lint notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# the student's copy, made on first use and never replaced (in a copy: the copy itself); the solved notebooks
jupyter: setup
	@if [ -d tests ]; then test -d student || $(BIN)/course handout; fi
	$(BIN)/jupyter lab $(if $(wildcard tests),student/notebooks,notebooks)

jupyter-solved: setup
	$(BIN)/jupyter lab notebooks

# executes the committed notebooks in place on the sample; after a change in them or in what they show
refresh: setup
	$(BIN)/python -c 'from course.lab import refresh; refresh()'

# the lock names versions only, for every platform and Python from 3.11 on; what stands in it already is kept, and
# nothing younger than a week comes in: a bad release is mostly withdrawn by then
lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header \
		--exclude-newer "$$($(BIN)/python -c 'import datetime as d; print(d.date.today() - d.timedelta(days=7))')" \
		--no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

# the environment alone: runs and data are yours
clean:
	rm -rf .venv
