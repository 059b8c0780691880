# Everything on a fresh machine with Python 3.11+, pip and make. The habits of the house are the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export HF_HUB_OFFLINE ?= 1

.PHONY: demo fruit results test check format clean

demo: $(INSTALLED)  ## set up, then run the whole loop on the field guide (about ten minutes on two cores)
	$(BIN)/seewhy demo

fruit: $(INSTALLED)  ## the loop on real photos, see configs/grocery_fruit.yaml
	$(BIN)/seewhy run configs/grocery_fruit.yaml

results: $(INSTALLED)  ## the paper's claims, on the field guide and on fruit: docs/results.md (a night on two cores)
	$(BIN)/seewhy compare configs/fieldguide.yaml --rounds 3 --output runs/compare
	$(BIN)/seewhy compare configs/grocery_fruit.yaml --seeds '[0]' \
	  --controls '[nl, lge, unfiltered, class_level]' --output runs/compare_fruit
	$(BIN)/python -m bench.descriptions runs/compare/seed-0 --json runs/compare/descriptions.json
	$(BIN)/python -m bench.results --fieldguide runs/compare --fruit runs/compare_fruit \
	  --descriptions runs/compare/descriptions.json --output docs

test: $(INSTALLED)  ## set up, then run all tests
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## lint, format, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,llm]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache runs
