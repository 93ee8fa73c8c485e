# make demo: install, explain a review with the bundled model, write demo.html.  make test: install, all tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch comes from wherever pip is set up to look; elsewhere, name an index that has it:
#   make demo PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'
PIP_ARGS ?=
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
REVIEW := It starts slowly, but the acting is superb and the ending is wonderful.

.PHONY: demo test check draws bench leaderboard pictures format clean

$(VENV)/usable: pyproject.toml constraints.txt
	@echo "installing into $(VENV): torch and transformers, which takes a minute or two"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(PIP_ARGS) torch==2.13.0
	$(BIN)/pip install -q $(PIP_ARGS) -e .
	touch $@

$(VENV)/installed: $(VENV)/usable
	$(BIN)/pip install -q $(PIP_ARGS) -e '.[dev]'
	touch $@

demo: $(VENV)/usable
	@$(BIN)/pellucid explain "$(REVIEW)"
	@$(BIN)/pellucid explain "$(REVIEW)" --html demo.html

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n auto --dist worksteal

check: $(VENV)/installed  ## types too; pyright fetches itself from the npm registry the first time
	$(BIN)/pyright

draws: $(VENV)/installed  ## 2,000 random networks, none of them explained wrong in silence
	PELLUCID_DRAWS=2000 $(BIN)/pytest tests/test_own_answer.py -k drawn

bench: $(VENV)/installed
	$(BIN)/python benchmarks/bench.py --out docs/benchmarks.md $(BENCH) $(ANSWERS)
	$(BIN)/python benchmarks/methods.py --out docs/benchmarks.md $(BENCH)
	$(BIN)/python benchmarks/growth.py --out docs/growth.svg $(BENCH)
	$(BIN)/python benchmarks/prefix.py
	$(BIN)/python benchmarks/integration.py

leaderboard: $(VENV)/installed  ## LEADERBOARD='--shared DIR --language-model DIR --texts 24 --prompts 10'; goes on where it stopped
	$(BIN)/pip install -q $(PIP_ARGS) shap lime
	$(BIN)/python -W ignore benchmarks/leaderboard.py --page docs/faithfulness.md --json docs/faithfulness.json $(LEADERBOARD)

pictures: $(VENV)/installed  ## PICTURES='--language-model PATH' for the generation too
	$(BIN)/python scripts/pictures.py $(PICTURES)

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache demo.html
