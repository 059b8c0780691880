"""A table of images: CSV, JSONL or Parquet with columns image, label, split; paths relative to the table's folder.

A column `group`, where there is one, names what images have in common (a lesion, a patient, a leaf). A CSV's columns
are parted by commas, semicolons (as spreadsheets of many countries write them) or tabs, whichever its first line has.
Further columns are passed over. Labels are taken as they are written, apart from white space.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.domain.loaders import SPLITS, Row, as_split
from seewhy.domain.problems import JSON_ERRORS, clean, nearest, path_problem
from seewhy.errors import SeeWhyError

COLUMNS = ("image", "label", "split")
GROUP = "group"
SUFFIXES = (".csv", ".jsonl", ".parquet")
_DELIMITERS = (",", ";", "\t")


def read_table(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a table in its order, and what is wrong, by row.

    Rows are named as an editor counts lines (CSV, JSONL) or from 1 (Parquet). Raises `SeeWhyError` where the file
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
    """(how errors name the row, its values by column) for each row of a CSV, JSONL or Parquet file."""
    readers = {".csv": _read_csv, ".jsonl": read_jsonl, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SeeWhyError(f"{path}: a table is one of {', '.join(SUFFIXES)}; an image folder is a folder.")
    try:
        yield from reader(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); is it a {path.suffix} file in UTF-8?") from error


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(line, object) for each line of a JSONL file; empty lines are passed over."""
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
    """What parts the columns of a CSV's first line: the first of comma, semicolon and tab that gives all of them."""
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
    """A group as text, whatever it is numbered or named by; empty where there is none."""
    return "" if value is None else str(value).strip()


def _check_columns(path: Path, found: Any) -> None:
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        listed = "', '".join(missing)
        raise SeeWhyError(
            f"{path} lacks the column '{listed}' (found: {', '.join(found) or 'none'}); rename or add it."
        )
