"""Read an image folder or a table of images, and make the splits that a data set does not bring.

An image folder has `train/<class>/*`, `val/<class>/*`, `test/<class>/*`; `val` and `test` may lack classes, and a
folder to evaluate a finished run on may have `test` alone. The label is what the model is to say, so it is made from
the folder's name: underscores become spaces, and the numbering of CUB ("001.Black_footed_Albatross") and Stanford Dogs
("n02085620-Chihuahua") is dropped. Hyphens stay, as they belong to names ("737-300"). Hidden files and side files
(.txt, .json, ...) are ignored; any other file must be an image. A split may be a link to a folder elsewhere; links
below it must not lead out of that folder, or out of the data folder.

A table is CSV, JSONL or Parquet with columns image, label, split; paths are relative to its folder. An optional column
`group` names what images have in common (a lesion, a patient, a leaf). A CSV is separated by commas, semicolons (as
spreadsheets of many countries write them) or tabs, by its first line. Other columns are ignored. Labels are taken as
they are written, with white space normalised.

Splits are made from names alone, in the order of the SHA-256 of a name (UTF-8), so that every machine makes the same
ones; groups stay whole (see `Row.group`).
"""

import csv
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.domain.loaders import SPLITS, Row, Split, as_split
from seewhy.domain.problems import JSON_ERRORS, clean, nearest, path_problem
from seewhy.errors import SeeWhyError


def in_hash_order(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of the SHA-256 of the name."""
    return sorted(set(names), key=lambda name: (hashlib.sha256(name.encode()).hexdigest(), name))


def hold_out(rows: Sequence[Row], share: float, *, source: Split = "train", target: Split = "val") -> list[Row]:
    """Return `rows`, a share of each class's `source` images moved to `target`.

    A class's groups are taken in hash order as long as they fit into round(share * its images); a class keeps at least
    one group. A group belongs to the class of its first image.
    """
    members, groups_of = _groups(rows, source)
    moved: set[int] = set()
    for groups in groups_of.values():
        room = round(share * sum(len(members[group]) for group in groups))
        for group in in_hash_order(groups)[:-1]:
            if len(members[group]) <= room:
                room -= len(members[group])
                moved.update(members[group])
    return [replace(row, split=target) if index in moved else row for index, row in enumerate(rows)]


def draw_per_class(rows: Sequence[Row], limit: int) -> tuple[list[Row], list[str]]:
    """Return `rows` with at most `limit` train images a class, the first in hash order, and the classes with fewer.

    The images of a smaller limit are part of those of a larger one, and none depends on what else is in the data.
    """
    names_of: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.split == "train":
            names_of[row.label].append(row.image)
    drawn = {label: set(in_hash_order(names)[:limit]) for label, names in names_of.items()}
    kept = [row for row in rows if row.split != "train" or row.image in drawn[row.label]]
    return kept, sorted(label for label, names in drawn.items() if len(names) < limit)


def halve(rows: Sequence[Row]) -> list[Row]:
    """Return `rows` in two halves, train and test, class by class.

    A class's groups are dealt out in hash order, each to the half that has fewer images of the class so far, test
    first: the halves of a class differ by no more than its largest group.
    """
    members, groups_of = _groups(rows)
    halves: dict[int, Split] = {}
    for groups in groups_of.values():
        count: dict[Split, int] = {"test": 0, "train": 0}
        for group in in_hash_order(groups):
            half: Split = "test" if count["test"] <= count["train"] else "train"
            count[half] += len(members[group])
            halves.update(dict.fromkeys(members[group], half))
    return [replace(row, split=halves[index]) for index, row in enumerate(rows)]


def _groups(rows: Sequence[Row], split: Split | None = None) -> tuple[dict[str, list[int]], dict[str, list[str]]]:
    """Return the indices of each group's rows, and the groups of each label, by a group's first row."""
    members: dict[str, list[int]] = defaultdict(list)
    groups_of: dict[str, list[str]] = defaultdict(list)
    for index, row in enumerate(rows):
        if split in (None, row.split):
            group = row.group or row.image
            if group not in members:
                groups_of[row.label].append(group)
            members[group].append(index)
    return members, groups_of


_SIDE_FILES = frozenset(
    (".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".md", ".html", ".db", ".ini", ".mat", ".npy")
)
_MISNAMED = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_NUMBERING = re.compile(r"^(?:\d{3}\.|n\d{8}-)(?=\S)")


def read_folder(root: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of an image folder, sorted by split, class folder and file, and what is wrong."""
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
    """Return folders that seem to be splits and are not read; what a split links to is."""
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
    """Return the label that a class folder's name stands for."""
    return clean(_NUMBERING.sub("", folder).replace("_", " "))


def _read_class(root: Path, folder: Path, split: Split, home: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a class folder, none of whose links may lead out of `home`, and what is wrong."""
    rows, problems = [], []
    where, label = f"{split}/{folder.name}", label_of(folder.name)
    if not folder.resolve().is_relative_to(home):
        return [], [f"{where} leads out of the data folder by a link; put its images inside it."]
    here = folder.relative_to(root).as_posix()
    below = here if home == root else folder.relative_to(root / split).as_posix()
    for entry in _entries(folder):
        image = f"{here}/{entry.name}"
        if _is_folder(entry):
            problems.append(f"{image} is a folder inside a class folder; move its images up.")
        elif problem := None if _is_plain(entry) else path_problem(home, f"{below}/{entry.name}"):
            problems.append(f"{image!r} {problem}.")
        else:
            rows.append(Row(image, label, split, image))
    if not rows and not problems:
        problems.append(f"{where} holds no image; add some or remove the folder.")
    return rows, problems


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; a link in a circle is none."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file itself, so that it lies where its folder does, under a name in UTF-8."""
    in_utf8 = entry.name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in entry.name)
    return in_utf8 and entry.is_file(follow_symlinks=False)


def image_files(folder: Path) -> list[Path]:
    """Return the files of a class folder that are images by their names."""
    return [folder / entry.name for entry in _entries(folder) if not _is_folder(entry)]


def _visible(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in _entries(folder)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder by name, but for hidden files and side files. A link is what it leads to."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.path.normcase(entry.name))
    return [
        entry
        for entry in entries
        if not entry.name.startswith(".")
        and (os.path.splitext(entry.name)[1].lower() not in _SIDE_FILES or _is_folder(entry))
    ]


COLUMNS = ("image", "label", "split")
GROUP = "group"
SUFFIXES = (".csv", ".jsonl", ".parquet")
_DELIMITERS = (",", ";", "\t")


def read_table(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a table in its order, and what is wrong, by row.

    Rows are named as an editor counts lines (CSV, JSONL) or from 1 (Parquet). Raises SeeWhyError if the file
    cannot be read as a table at all.
    """
    rows: list[Row] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    root = path.parent.resolve()
    for where, record in read_records(path):
        values = {column: record.get(column) for column in COLUMNS}
        missing = [
            column
            for column, value in values.items()
            if value is None or (isinstance(value, str) and not value.strip())
        ]
        wrong = [column for column, value in values.items() if column not in missing and not isinstance(value, str)]
        if missing or wrong:
            problems += [f"{where}: '{column}' is missing; fill it in." for column in missing]
            problems += [f"{where}: '{column}' is {values[column]!r:.40}, not text; write text." for column in wrong]
            continue
        image, label, split_name = (str(values[column]) for column in COLUMNS)
        if not (split := as_split(split_name.strip())):
            listed = ", ".join(SPLITS)
            problems.append(f"{where}: split '{split_name}' is none of {listed}{nearest(split_name, SPLITS)}.")
        elif problem := path_problem(root, image):
            problems.append(f"{where}: image {image!r} {problem}.")
        else:
            image = (root / image).resolve().relative_to(root).as_posix()
            if image in seen:
                problems.append(f"{where}: image '{image}' is listed before, at {seen[image]}; keep one of the rows.")
                continue
            seen[image] = where
            rows.append(Row(image, clean(label), split, f"{where} ({image})", _group(record.get(GROUP))))
    return rows, problems


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return (how errors name the row, its values by column) for each row of a CSV, JSONL or Parquet file."""
    readers = {".csv": _read_csv, ".jsonl": read_jsonl, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SeeWhyError(f"{path}: a table is one of {', '.join(SUFFIXES)}; an image folder is a folder.")
    try:
        yield from reader(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); is it a {path.suffix} file in UTF-8?") from error


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return (line, object) for each line of a JSONL file; empty lines are ignored."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except JSON_ERRORS as error:
                raise SeeWhyError(f"{path}: line {number} is not JSON ({error}); correct it.") from error
            if not isinstance(record, dict):
                raise SeeWhyError(f"{path}: line {number} is not a JSON object; write one {{...}} a line.")
            yield f"line {number}", record


def _read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter)
        reader.fieldnames = [str(name).strip() for name in reader.fieldnames or []]
        _check_columns(path, reader.fieldnames)
        for record in reader:
            yield f"line {reader.line_num}", record


def _delimiter(header: str) -> str:
    """Return the delimiter of a CSV: the first of comma, semicolon and tab that separates all columns of its header."""
    for delimiter in _DELIMITERS:
        if set(COLUMNS) <= {name.strip().strip('"') for name in header.split(delimiter)}:
            return delimiter
    return max(_DELIMITERS, key=header.count)


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = pq.read_schema(path)
    for field in schema:
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}:
            raise SeeWhyError(
                f"{path} holds the images themselves (column '{field.name}' of bytes and path), as a Hugging Face "
                f"data set does, and a table holds their paths. Set data.layout to 'hub' and data.source to the folder "
                f"of the Parquet files ({path.parent}), or to its name on the Hub."
            )
    _check_columns(path, schema.names)
    wanted = [*COLUMNS, *([GROUP] if GROUP in schema.names else [])]
    for number, record in enumerate(pq.read_table(path, columns=wanted).to_pylist(), 1):
        yield f"row {number}", record


def _group(value: Any) -> str:
    """Return a group as text, whatever it is numbered or named by; empty if there is none."""
    return "" if value is None else str(value).strip()


def _check_columns(path: Path, found: Any) -> None:
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        listed = "', '".join(missing)
        raise SeeWhyError(
            f"{path} lacks the column '{listed}' (found: {', '.join(found) or 'none'}); rename or add it."
        )
