"""The research code's own JSON: a list of labelled images a split, in a file called <name>-train.json and so on.

    [{"id": 0, "img_path": "CUB_200_2011/images/001.../1.jpg", "label": "Black-footed Albatross"}, ...]
    [{"id": "0", "image": "1.jpg", "label": "Albatross", "conversations": [{"from": "human", "value": "..."}, ...]}]

Accepted:
- `data.source` is one such file, whose siblings of the same name for the other splits are read too, or the folder that
  holds one set of them: <name>-train.json, <name>-val.json, <name>-test.json; `_` or nothing in place of `-` will do. A
  file without a split in its name needs a 'split' in every row.
- The path stands under `img_path` or `image`, relative to the file's folder or to the folder above it, as the research
  code has it; one of the two for the whole set.
- `label` is a text, or a list of one. Other keys, conversations, descriptions and answers among them, are passed over:
  a run writes its own.
- An image may have several rows, one a conversation, of one label and split.
"""

import json
import re
from pathlib import Path
from typing import Any

from seewhy.domain.loaders import SPLITS, Reading, Row, Split, as_split
from seewhy.domain.problems import JSON_ERRORS, clean, nearest, path_problem
from seewhy.errors import SeeWhyError

_NAME = re.compile(rf"^(?P<name>.*?)[-_]?(?P<split>{'|'.join(SPLITS)})$")
_FORM = "write [{id, img_path or image, label}, ...]"


def is_research_folder(folder: Path) -> bool:
    """Whether a folder holds a train split as the research code writes it."""
    return any(_split_of(path) == "train" for path in folder.glob("*.json"))


def read_research(source: Path) -> Reading:
    """The rows of all splits. Raises SeeWhyError where a file is no list of rows."""
    files = _files(source)
    folder = files[0].parent.resolve()
    records = [(path, number, row) for path in files for number, row in enumerate(_parse(path), 1)]
    root = _root(folder, [path for _, _, row in records if (path := _image_of(row))])
    rows: dict[str, Row] = {}
    problems: list[str] = []
    for path, number, record in records:
        where = f"{path.name} row {number}"
        row = _read(root, record, _split_of(path), where)
        if isinstance(row, str):
            problems.append(f"{where}: {row}.")
            continue
        first = rows.setdefault(row.image, row)
        if (first.label, first.split) != (row.label, row.split):
            what = "label" if first.label != row.label else "split"
            problems.append(f"{where}: image '{row.image}' has another {what} at {first.where}; keep one.")
    return Reading(root, list(rows.values()), problems)


def _split_of(path: Path) -> Split | None:
    found = _NAME.match(path.stem)
    return as_split(found["split"]) if found else None


def _files(source: Path) -> list[Path]:
    """The files of all splits, train first."""
    if source.is_file():
        found = _NAME.match(source.stem)
        if not found:
            return [source]
        beside = [path for path in source.parent.glob("*.json") if _split_of(path)]
        name = found["name"]
    else:
        beside = [path for path in source.glob("*.json") if _split_of(path)]
        names = sorted({match["name"] for path in beside if (match := _NAME.match(path.stem))})
        if len(names) != 1:
            told = f"files of several data sets ({', '.join(names)})" if names else "no file called <name>-train.json"
            raise SeeWhyError(f"{source} holds {told}; set data.source to the train file of the one you want.")
        name = names[0]
    own = [path for path in beside if (match := _NAME.match(path.stem)) and match["name"] == name]
    return sorted(own, key=lambda path: SPLITS.index(_split_of(path) or "test"))


def _parse(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, *JSON_ERRORS) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); {_FORM}.") from error
    if not isinstance(rows, list) or not rows:
        raise SeeWhyError(f"{path} is no list of rows, or an empty one; {_FORM}.")
    return rows


def _image_of(record: Any) -> str:
    """The path as the row has it, or nothing."""
    value = (record.get("img_path") or record.get("image")) if isinstance(record, dict) else None
    return value if isinstance(value, str) else ""


def _root(folder: Path, images: list[str]) -> Path:
    """The folder that the paths are relative to: that of the file or the one above, whichever has more of them."""
    return max((folder, folder.parent), key=lambda root: sum(path_problem(root, image) is None for image in images))


def _read(root: Path, record: Any, split: Split | None, where: str) -> Row | str:
    """The row, or what is wrong with it."""
    if not isinstance(record, dict):
        return f"is {record!r:.40}; {_FORM}"
    image, label = _image_of(record), record.get("label")
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if not image:
        return f"has no path under 'img_path' or 'image'; {_FORM}"
    if not isinstance(label, str) or not label.strip():
        return f"'label' is {label!r:.40}, not a text; {_FORM}"
    given = record.get("split")
    if given is not None or split is None:
        split = as_split(given) if isinstance(given, str) else None
        if split is None:
            return f"split {given!r:.40} is none of {', '.join(SPLITS)}{nearest(str(given), SPLITS)}"
    if problem := path_problem(root, image):
        return f"image {image!r} {problem}"
    image = (root / image).resolve().relative_to(root).as_posix()
    return Row(image, clean(label), split, f"{where} ({image})")
