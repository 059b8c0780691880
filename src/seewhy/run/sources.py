"""Where a model that the settings name lies: a folder, the Hub, in the package, or in the user's cache.

base_source("fieldguide")       # in the package
made_base_source("cells")       # in the cache; SeeWhyError where it has not been made
"""

from pathlib import Path

from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import BASE as SHIPPED_BASE
from seewhy.run.checksums import default_cache

CELLS = "cells"
"""The `model.name_or_path` of the white-blood-cell base, which is made on the user's machine."""


def model_source(name: str, shipped: Path) -> Path:
    """Return where a model is loaded from: `shipped` for 'fieldguide', else the folder or the name on the Hub."""
    return shipped if name == "fieldguide" else Path(name).expanduser()


def cells_folder() -> Path:
    """Return the folder in which `python -m tools.cells_base` leaves the white-blood-cell base."""
    return default_cache() / "cells-base"


def base_source(name: str) -> Path:
    """Return where the untuned model that settings name is loaded from, whether it is there or not."""
    return cells_folder() if name == CELLS else model_source(name, SHIPPED_BASE)


def made_base_source(name: str) -> Path:
    """Return `base_source(name)`. Raises SeeWhyError for 'cells' where that base has not been made yet."""
    folder = base_source(name)
    if name == CELLS and not folder.is_dir():
        raise SeeWhyError(
            f"model.name_or_path: cells is the small base of white blood cells, which is made on your machine and is "
            f"not in {folder} yet. Make it in a checkout of SeeWhy: python -m tools.cells_base --data FOLDER, with "
            "the folder of WBCAtt (docs/your_data.md says where to get it)."
        )
    return folder
