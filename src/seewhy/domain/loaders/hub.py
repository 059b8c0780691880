"""A data set of the Hugging Face `datasets` library: on the Hub, saved by `save_to_disk`, or a folder that it can load.

    data: {layout: hub, source: owner/name}                    also owner/name:configuration and owner/name@revision
    data: {layout: hub, source: folder}

The image is the one column of type Image; the label is the one of type ClassLabel, or `data.label_column`, which may
also be a column of text. Class names become labels as those of class folders do (`folder.py`). Splits are called
train; val, valid, validation or dev; test or testing.

Records hold paths, so the images are written once, each under the SHA-256 of its bytes, to a folder of the cache that
is named after the data set's own fingerprint: a data set that changes gets another folder. Images are written before
the index that lists them, so a broken-off writing is taken up again and never believed. The same bytes twice in one
split are one image; under two labels, the first stays and the rest are told.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import yaml

from seewhy.domain.loaders import Dataset, Row, Split, as_split
from seewhy.domain.loaders.folder import label_of, read_jsonl
from seewhy.domain.problems import nearest
from seewhy.errors import SeeWhyError
from seewhy.run.model_files import check_links
from seewhy.run.progress import progress
from seewhy.run.storage import digest, disk, write_atomically
from seewhy.upright import open_listed
from seewhy.yaml_text import load

_SPLIT_OF: Mapping[str, Split] = {
    "training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test",
}  # fmt: skip
_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


_README = "README.md"
_CARDS = (_README, ".huggingface.yaml")
"""The files in which a data set tells the library of its tables."""
_TABLES = ("parquet", "arrow", "csv", "tsv", "json", "jsonl", "txt", "md")
"""Endings of the files that the library reads as tables; images are held in their folder row by row."""
_LIBRARY_ERRORS = (
    OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError, ImportError,
    pa.ArrowException, yaml.YAMLError, httpx.HTTPError,
)  # fmt: skip
"""What the datasets library raises, from its own code and from the libraries below it, for data that it cannot read."""


def is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_hub(source: str, label_column: str | None, cache: Path) -> Dataset:
    """Return the rows of all splits, their images materialised below `cache`. Raises SeeWhyError if this cannot be."""
    parts = _load(source)
    columns = {name: _columns(source, part.features, label_column) for name, part in parts.items()}
    if not columns:
        raise SeeWhyError(f"{source} has no rows; choose another data set.")
    splits: dict[str, Split] = {name: _split(source, name) for name in parts}
    made_of = {name: [part._fingerprint, *columns[name]] for name, part in parts.items()}
    folder = cache / "hub" / f"{_name(source).replace('/', '--')}-{digest(made_of)[:16]}"
    index = folder / "index.jsonl"
    if not index.is_file():
        with _named(source):
            _materialise(source, folder, parts, columns, splits)
    return _read_index(folder, index, _name(source))


def _load(source: str) -> dict[str, Any]:
    """Return name -> part of the data set. The one place that knows `datasets`."""
    try:
        import datasets
        from datasets.exceptions import DatasetsError
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.repocard import REGEX_YAML_BLOCK
    except ImportError as error:
        raise SeeWhyError(
            "Reading a Hugging Face data set needs the datasets library: pip install 'seewhy[data]'."
        ) from error
    folder = Path(source).expanduser()
    with _named(source, DatasetsError):
        if folder.is_dir():
            check_links(folder, [f"*.{kind}" for kind in _TABLES])
            cards = [path for name in _CARDS if (path := folder / name).is_file()]
            _refuse_outside(source, [*folder.rglob("state.json")], cards, REGEX_YAML_BLOCK)
        if is_saved(folder):
            loaded = datasets.load_from_disk(str(folder))
        elif folder.is_dir():
            loaded = datasets.load_dataset(str(folder))
        else:
            name, _, revision = source.partition("@")
            name, _, configuration = name.partition(":")
            cards = []
            for card in _CARDS:
                with suppress(EntryNotFoundError):
                    there = hf_hub_download(name, card, repo_type="dataset", revision=revision or None)
                    cards.append(Path(there))
            _refuse_outside(source, [], cards, REGEX_YAML_BLOCK)
            loaded = datasets.load_dataset(name, configuration or None, revision=revision or None)
    if isinstance(loaded, datasets.Dataset):
        return {"train": loaded}
    return {str(name): part for name, part in loaded.items()}


def _refuse_outside(source: str, states: Sequence[Path], cards: Sequence[Path], front: re.Pattern[str]) -> None:
    """Raise SeeWhyError where a data set's own files (`states` of save_to_disk, and its cards) name tables that are not
    among its files: the library would read them from the reader's disk. `front` is where the library finds the YAML in
    a README."""
    named = [str(file) for state in states for file in _texts(json.loads(state.read_bytes()).get("_data_files"))]
    for path in cards:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.name == _README:
            found = front.search(text)
            text = found.group(2) if found else ""
        card = load(text)
        configs = card.get("configs") if isinstance(card, dict) else None
        for config in configs if isinstance(configs, list) else []:
            named += (
                [*_texts(config.get("data_files")), *_texts(config.get("data_dir"))] if isinstance(config, dict) else []
            )
    for name in named:
        if Path(name).is_absolute() or ".." in Path(name).parts or "://" in name:
            raise SeeWhyError(f"{source} names {name}, which is not in the data set: it is not read. Do not use it.")


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a nested value."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


@contextmanager
def _named(source: str, *further: type[Exception]) -> Iterator[None]:
    """Raise SeeWhyError saying why a data set cannot be loaded: the library may fail at many places."""
    try:
        yield
    except (*_LIBRARY_ERRORS, *further) as error:
        if "scripts are no longer supported" in str(error):
            raise SeeWhyError(
                f"{source} is read by a script of its own ({error}), and the datasets library runs none any more. Take "
                "its Parquet files: on the Hub most data sets have them as owner/name@refs/convert/parquet. Or read it "
                "where an older datasets runs the script, and save it there by save_to_disk."
            ) from error
        remedy = "set data.source to a data set on the Hub (owner/name) or to a folder saved by save_to_disk"
        raise SeeWhyError(f"{source} cannot be loaded ({error}); {remedy}.") from error


def _columns(source: str, features: Mapping[str, Any], label_column: str | None) -> tuple[str, str]:
    """Return the names of the image column and of the label column."""
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    if len(images) != 1:
        found = f"the image columns {', '.join(images)}" if images else "no image column"
        raise SeeWhyError(f"{source} has {found} (columns: {', '.join(kinds)}); it must have one, of type Image.")
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if label_column is not None:
        if label_column not in kinds:
            raise SeeWhyError(
                f"{source} has no column '{label_column}'{nearest(label_column, kinds)}; correct data.label_column."
            )
        text = getattr(features[label_column], "dtype", "") in ("string", "large_string")
        if label_column not in labels and not text:
            raise SeeWhyError(f"{source}: column '{label_column}' is neither a ClassLabel nor text; choose another.")
        labels = [label_column]
    if len(labels) != 1:
        found = f"the label columns {', '.join(labels)}" if labels else "no column of type ClassLabel"
        raise SeeWhyError(
            f"{source} has {found} (columns: {', '.join(kinds)}); set data.label_column to the one to learn."
        )
    return images[0], labels[0]


def _split(source: str, name: str) -> Split:
    split = as_split(name.casefold()) or _SPLIT_OF.get(name.casefold())
    if split is None:
        raise SeeWhyError(f"{source}: its part '{name}' is none of train, validation and test; rename or remove it.")
    return split


def _name(source: str) -> str:
    folder = Path(source).expanduser()
    return folder.resolve().name if folder.exists() else source.partition("@")[0].partition(":")[0]


def _materialise(
    source: str,
    folder: Path,
    parts: Mapping[str, Any],
    columns: Mapping[str, tuple[str, str]],
    splits: Mapping[str, Split],
) -> None:
    """Write the images, then the index."""
    homes, lines = _homes(source), []
    total = sum(len(part) for part in parts.values())
    with progress(f"writing the images of {folder.name}", total=total, done=0) as advance:
        for name, part in parts.items():
            for number, (stored, label) in enumerate(_rows(part, *columns[name]), 1):
                content = _content(stored, homes, f"{source}: {name} row {number}")
                sha256 = hashlib.sha256(content).hexdigest()
                image = f"{splits[name]}/{sha256[:2]}/{sha256}{_suffix(content)}"
                if content and not (folder / image).is_file():
                    _write(folder / image, content)
                record = {"image": image, "label": label, "split": splits[name], "row": f"{name} row {number}"}
                lines.append(json.dumps(record, ensure_ascii=False) + "\n")
                advance(1)
    write_atomically(folder / "index.jsonl", "".join(lines).encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically; without a flush, as a lost image is noticed when the data set is loaded."""
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".partial")
        unfinished.write_bytes(content)
        unfinished.replace(path)


def _homes(source: str) -> list[Path]:
    """Return the folders that rows may name files in: the data set's own or, of one on the Hub, where it is cached."""
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(source).expanduser()
    if folder.is_dir():
        return [folder.resolve()]
    cached = Path(HF_HUB_CACHE) / f"datasets--{_name(source).replace('/', '--')}"
    places = (cached, config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH)
    return [Path(place).expanduser().resolve() for place in places]


def _content(stored: Mapping[str, Any], homes: Sequence[Path], where: str) -> bytes:
    """Return the bytes of a row's image: its own, or those of the file that it names, which lies in one of `homes`."""
    content = stored.get("bytes") or b""
    if content or not stored.get("path"):
        return content
    path = (homes[0] / stored["path"]).resolve()
    if not any(path.is_relative_to(home) for home in homes):
        raise SeeWhyError(
            f"{where} names the file {stored['path']}, which is not in the data set: it is not read. Put the image "
            "into the data set's folder, or into the row, or remove the row."
        )
    return path.read_bytes() if path.is_file() else b""


def _rows(part: Any, image_column: str, label_column: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Return (bytes or path of the image file, label) of each row, each empty if it is missing."""
    import datasets

    feature = part.features[label_column]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    part = part.select_columns([image_column, label_column]).cast_column(image_column, datasets.Image(decode=False))
    for row in part:
        stored, label = row[image_column], row[label_column]
        if names is not None:
            label = names[label] if label is not None and label >= 0 else ""
        yield stored or {}, label or ""


def _suffix(content: bytes) -> str:
    try:
        with open_listed(BytesIO(content)) as image:
            return _SUFFIX.get(image.format or "", ".img")
    except (OSError, ValueError, SyntaxError, LookupError, ArithmeticError, TypeError, struct.error):
        return ".img"


def _read_index(folder: Path, index: Path, name: str) -> Dataset:
    rows: dict[str, Row] = {}
    problems, notes, twice = [], [], 0
    for _, record in read_jsonl(index):
        image, where = record["image"], record["row"]
        label = label_of(record["label"])
        if not (folder / image).is_file():
            problems.append(f"{name}: {where} has no image; remove the row.")
        elif not label:
            problems.append(f"{name}: {where} has no label; remove the row.")
        elif image not in rows:
            rows[image] = Row(image, label, record["split"], where)
        elif rows[image].label == label:
            twice += 1
        else:
            first = rows[image]
            notes.append(
                f"{name}: {where} is the same image as {first.where}, and called '{label}', not '{first.label}'; "
                "left out."
            )
    if twice:
        notes.append(f"{name}: {twice:,} rows repeat an image of their split and class; left out.")
    return Dataset(folder.resolve(), list(rows.values()), problems, notes, name)
