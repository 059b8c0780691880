"""Choose the reader of a data set: by `data.layout`, or by what the data look like.

'auto' takes a file for a table or for the research code's JSON by its extension; a folder that `save_to_disk` wrote for
a Hugging Face data set; any other with train/ for an image folder; and the rest for the published data set whose index
files it has. PLD and Chest X-ray have none, and must be named.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from seewhy.config import DataConfig
from seewhy.domain.loaders import Dataset
from seewhy.domain.loaders.cub200 import read_cub200
from seewhy.domain.loaders.folder import draw_per_class, hold_out, read_folder, read_table
from seewhy.domain.loaders.hub import is_saved, read_hub
from seewhy.domain.loaders.llava import is_research_folder, read_research
from seewhy.domain.loaders.published import read_chest_xray, read_dogs, read_fgvc, read_ham10000, read_pld
from seewhy.domain.loaders.wbcatt import read_wbcatt
from seewhy.domain.problems import shorten
from seewhy.errors import SeeWhyError
from seewhy.run.checksums import default_cache

_PUBLISHED: dict[str, Callable[[Path], Dataset]] = {
    "cub200": read_cub200,
    "dogs": read_dogs,
    "fgvc": read_fgvc,
    "pld": read_pld,
    "ham10000": read_ham10000,
    "chest_xray": read_chest_xray,
    "wbcatt": read_wbcatt,
    "research": read_research,
}
_MARKERS = {
    "cub200": ("image_class_labels.txt", "CUB_200_2011/image_class_labels.txt"),
    "dogs": ("train_list.mat", "lists/train_list.mat"),
    "fgvc": ("images_variant_trainval.txt", "data/images_variant_trainval.txt"),
    "ham10000": ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab"),
    "wbcatt": ("pbc_attr_v1_train.csv", "pbc_attr_v1_test.csv"),
}
"""Files by which a published data set is recognised, below `data.source`."""


def read_data(data: DataConfig, cache: Path | None = None) -> Dataset:
    """Return what `data.source` holds, with no image opened. `cache` takes the images of a Hugging Face data set.

    Raises SeeWhyError if it cannot be read at all; lesser problems are in the result.
    """
    source = Path(data.source).expanduser()
    layout = layout_of(source) if data.layout == "auto" else data.layout
    if layout == "hub":
        dataset = read_hub(data.source, data.label_column, cache or default_cache())
    elif not source.exists():
        raise SeeWhyError(_missing(data.source))
    else:
        try:
            dataset = _on_disk(source, layout)
        except OSError as error:
            at, why = error.filename or source, error.strerror or error
            raise SeeWhyError(f"{at} cannot be read ({why}); check its permissions, and the disk.") from error
    if data.val_share:
        dataset = _with_val(dataset, data.val_share)
    return dataset if data.per_class is None else _with_few(dataset, data.per_class)


def _with_val(dataset: Dataset, share: float) -> Dataset:
    """Return the data set with a share of each class's train images as val images."""
    rows, problems = hold_out(dataset.rows, share), list(dataset.problems)
    if rows and not any(row.split == "val" for row in rows):
        problems.append(f"data.val_share {share} leaves no class a val image; raise it or add val images.")
    return replace(dataset, rows=rows, problems=problems)


def _with_few(dataset: Dataset, limit: int) -> Dataset:
    """Return the data set with at most `limit` train images a class, and a note on classes that have fewer."""
    rows, fewer = draw_per_class(dataset.rows, limit)
    if not fewer:
        return replace(dataset, rows=rows)
    count = Counter(row.label for row in rows if row.split == "train")
    named = ", ".join(f"{shorten(label)}: {count[label]}" for label in fewer[:3])
    more = f" and {len(fewer) - 3} more" if len(fewer) > 3 else ""
    have = "class has" if len(fewer) == 1 else "classes have"
    note = (
        f"data.per_class is {limit}, but {len(fewer)} {have} fewer train images, all of which are used ({named}{more})."
    )
    return replace(dataset, rows=rows, notes=[*dataset.notes, note])


def layout_of(source: Path) -> str:
    """Return the layout that a file or folder has by the looks of it."""
    if source.is_file():
        return "research" if source.suffix.lower() == ".json" else "table"
    if is_saved(source):
        return "hub"
    if source.is_dir() and not (source / "train").is_dir():
        for layout, markers in _MARKERS.items():
            if any((source / marker).is_file() for marker in markers):
                return layout
        if is_research_folder(source):
            return "research"
    return "folder"


def _on_disk(source: Path, layout: str) -> Dataset:
    if layout in ("folder", "table"):
        return _own(source, layout)
    if layout != "research" and not source.is_dir():
        raise SeeWhyError(f"{source} is no folder; layout '{layout}' reads the folder that the data is unpacked in.")
    return _PUBLISHED[layout](source.resolve())


def _own(source: Path, layout: str) -> Dataset:
    if layout == "folder" and not source.is_dir():
        raise SeeWhyError(f"{source} is no folder; set data.layout to 'auto' or 'table'.")
    if layout == "table" and source.is_dir():
        raise SeeWhyError(f"{source} is a folder; set data.layout to 'auto' or 'folder', or data.source to the table.")
    root = source.resolve() if source.is_dir() else source.parent.resolve()
    rows, problems = read_folder(root) if layout == "folder" else read_table(source)
    return Dataset(root, rows, problems)


def _missing(source: str) -> str:
    hint = ""
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        hint = ", or data.layout to 'hub' if it is a data set on the Hugging Face Hub"
    return f"There is no folder or table '{source}'; set data.source to one{hint}."
