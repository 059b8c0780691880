"""An image folder: `train/<class>/*`, `val/<class>/*`, `test/<class>/*`; `val` and `test` may lack classes. A
folder to measure a finished run on may have `test` alone.

The label is what the model is to say, so the folder's name becomes one: underscores are spaces, and the numbering of
CUB ("001.Black_footed_Albatross") and Stanford Dogs ("n02085620-Chihuahua") is dropped. Hyphens stay: they belong to
names ("737-300"). Hidden files and side files (.txt, .json, ...) are passed over; any other file must be an image.

A split may be a link to a folder elsewhere. Links below it must not lead out of that folder, or out of the data folder.
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
    _need_a_split(root)
    rows, problems = [], _misnamed(root)
    names: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        if not (root / split).is_dir():
            if (root / split).is_symlink() or (root / split).exists():
                problems.append(f"{split} is {_no_folder(root / split)}; mend or remove it.")
            continue
        target = (root / split).resolve()
        home = root if target.is_relative_to(root) else target
        for folder in _visible(root / split):
            if not folder.is_dir():
                problems.append(f"{split}/{folder.name} stands outside the class folders; move it into one.")
                continue
            names[label_of(folder.name)].add(folder.name)
            found, wrong = _read_class(root, folder, split, home)
            rows += found
            problems += wrong
    for label, folders in names.items():
        if len(folders) > 1:
            listed = "', '".join(sorted(folders))
            problems.append(f"the class folders '{listed}' are all the label '{label}'; give them one name.")
    return rows, problems


def _need_a_split(root: Path) -> None:
    if any((root / split).is_dir() for split in SPLITS):
        return
    if (root / "train").is_symlink():
        raise SeeWhyError(f"{root / 'train'} is {_no_folder(root / 'train')}; mend the link.")
    hub = any(next(root.glob(pattern), None) for pattern in ("*.parquet", "*/*.parquet", "*.arrow", f"{root.name}.py"))
    hint = " Set data.layout to 'hub' if it is a Hugging Face data set." if hub else ""
    raise SeeWhyError(
        f"{root} has no folder 'train'; an image folder has train/<class>/*.jpg, and so for val and test.{hint}"
    )


def _misnamed(root: Path) -> list[str]:
    """Folders that seem to be splits and are not read; what a split links to is."""
    linked = {(root / split).resolve() for split in SPLITS if (root / split).is_symlink()}
    problems = []
    for folder in sorted(root.iterdir()):
        name = folder.name.casefold()
        split = _MISNAMED.get(name, name if name in SPLITS else None)
        if split and folder.name != split and folder.is_dir() and folder.resolve() not in linked:
            problems.append(f"{folder.name}/ is not read; name the split '{split}'.")
    return problems


def _no_folder(path: Path) -> str:
    return f"a link to {path.readlink()}, which is no folder that is there" if path.is_symlink() else "no folder"


def label_of(folder: str) -> str:
    """The label that a class folder's name stands for."""
    return clean(_NUMBERING.sub("", folder).replace("_", " "))


def _read_class(root: Path, folder: Path, split: Split, home: Path) -> tuple[list[Row], list[str]]:
    """The rows of a class folder, none of whose links may lead out of `home`, and what is wrong."""
    rows, problems = [], []
    where = f"{split}/{folder.name}"
    if not folder.resolve().is_relative_to(home):
        return [], [f"{where} leads out of the data folder by a link; put its images inside it."]
    for path in _visible(folder):
        image = path.relative_to(root).as_posix()
        inside = image if home == root else path.relative_to(root / split).as_posix()
        if path.is_dir():
            problems.append(f"{image} is a folder inside a class folder; move its images up.")
        elif problem := path_problem(home, inside):
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
