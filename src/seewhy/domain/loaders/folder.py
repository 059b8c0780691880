"""An image folder: `train/<class>/*`, `val/<class>/*`, `test/<class>/*`; `val` and `test` may lack classes. A
folder to measure a finished run on may have `test` alone.

The label is what the model is to say, so the folder's name becomes one: underscores are spaces, and the numbering of
CUB ("001.Black_footed_Albatross") and Stanford Dogs ("n02085620-Chihuahua") is dropped. Hyphens stay: they belong to
names ("737-300"). Hidden files and side files (.txt, .json, ...) are passed over; any other file must be an image.
"""

import re
from collections import defaultdict
from pathlib import Path

from seewhy.domain.loaders import SPLITS, Row, Split
from seewhy.domain.problems import clean, path_problem
from seewhy.errors import SeeWhyError

_SIDE_FILES = frozenset(
    (".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".md", ".html", ".db", ".ini", ".mat", ".npy")
)
_MISNAMED = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_NUMBERING = re.compile(r"^(?:\d{3}\.|n\d{8}-)(?=\S)")


def read_folder(root: Path) -> tuple[list[Row], list[str]]:
    """The rows of the image folder `root` (resolved), sorted by split, class folder and file, and what is wrong."""
    if not any((root / split).is_dir() for split in SPLITS):
        raise SeeWhyError(
            f"{root} has no folder 'train'; an image folder has train/<class>/*.jpg, and so for val and test."
        )
    rows, problems = [], []
    for folder in sorted(root.iterdir()):
        name = folder.name.casefold()
        split = _MISNAMED.get(name, name if name in SPLITS else None)
        if split and folder.name != split and folder.is_dir():
            problems.append(f"{folder.name}/ is not read; name the split '{split}'.")
    names: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        if not (root / split).is_dir():
            continue
        for folder in _visible(root / split):
            if not folder.is_dir():
                problems.append(f"{split}/{folder.name} stands outside the class folders; move it into one.")
                continue
            names[label_of(folder.name)].add(folder.name)
            found, wrong = _read_class(root, folder, split)
            rows += found
            problems += wrong
    for label, folders in names.items():
        if len(folders) > 1:
            listed = "', '".join(sorted(folders))
            problems.append(f"the class folders '{listed}' are all the label '{label}'; give them one name.")
    return rows, problems


def label_of(folder: str) -> str:
    """The label that a class folder's name stands for."""
    return clean(_NUMBERING.sub("", folder).replace("_", " "))


def _read_class(root: Path, folder: Path, split: Split) -> tuple[list[Row], list[str]]:
    rows, problems = [], []
    where = f"{split}/{folder.name}"
    if not folder.resolve().is_relative_to(root):
        return [], [f"{where} leads out of the data folder by a link; put its images inside it."]
    for path in _visible(folder):
        image = path.relative_to(root).as_posix()
        if path.is_dir():
            problems.append(f"{image} is a folder inside a class folder; move its images up.")
        elif problem := path_problem(root, image):
            problems.append(f"{image!r} {problem}.")
        else:
            rows.append(Row(image, label_of(folder.name), split, image))
    if not rows and not problems:
        problems.append(f"{where} holds no image; add some or remove the folder.")
    return rows, problems


def image_files(folder: Path) -> list[Path]:
    """The files of a class folder that are images by their names."""
    return [path for path in _visible(folder) if not path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() not in _SIDE_FILES)
    ]
