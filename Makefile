PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
JOBS ?= 2
FUZZ_SECONDS ?= 60
COVERED := $(CURDIR)/build/coverage

.PHONY: setup demo test test-deep fuzz coverage lint docs clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml plugins/mlflow-deepsigns/pyproject.toml \
		plugins/uchida/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[dev]' --editable plugins/mlflow-deepsigns --editable plugins/uchida
	touch $@

demo: setup
	$(BIN)/deepsigns demo --out $(DEMO) --replace

# Whatever is not marked `deep`, and whatever is: together the whole suite. Each keeps what it
# covered; `make coverage` joins the two and holds them to the floor.
test: setup
	$(call suite,test,not deep)

test-deep: setup
	$(call suite,deep,deep)

define suite
	mkdir -p $(COVERED)
	$(BIN)/coverage erase --data-file=$(COVERED)/$(1)
	OMP_NUM_THREADS=1 COVERAGE_FILE=$(COVERED)/$(1) $(BIN)/coverage run \
		-m pytest -m '$(2)' --numprocesses $(JOBS) --no-loadscope-reorder
	$(BIN)/coverage combine --quiet --data-file=$(COVERED)/$(1)
endef

coverage: setup
	$(BIN)/coverage combine --quiet --keep --data-file=$(COVERED)/all \
		$(COVERED)/test $(COVERED)/deep
	$(BIN)/coverage report --data-file=$(COVERED)/all

# A minute for each parser of what strangers write; what is found is kept in tests/fuzz/corpus.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

lint: setup docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The documentation as a site, in site/: open site/index.html. Strict, and every link is followed;
# nothing is fetched. Not with --quiet: what is not said is not counted either.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	$(BIN)/python -m ci.site.links site

clean:
	rm -rf $(VENV) $(DEMO) site
