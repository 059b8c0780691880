"""JSON lists of rows in the form of LLaVA-Instruct: the research code's labelled images, and general data for replay.

The research code has one file a split, called <name>-train.json and so on (`_` or nothing in place of `-` will do):

    [{"id": 0, "img_path": "CUB_200_2011/images/001.../1.jpg", "label": "Black-footed Albatross"}, ...]
    [{"id": "0", "image": "1.jpg", "label": "Albatross", "conversations": [{"from": "human", "value": "..."}, ...]}]

- `data.source` is one such file, whose siblings for the other splits are read too, or the folder that holds one set of
  them. A file without a split in its name needs a 'split' in every row.
- The path is under `img_path` or `image`, relative to the file's folder or to the folder above it; one of the two for
  the whole set.
- `label` is a text, or a list of one. Other keys, conversations among them, are ignored: a run writes its own.
- An image may have several rows, one a conversation, of one label and split.

Replay data are mixed into tuning so that the model keeps its general abilities:

    [{"id": "0", "image": "coco/1.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"},
                                                         {"from": "gpt", "value": "A boat."}]}, ...]

The first question of a conversation and its answer are taken, as later questions refer to earlier ones. `image` is
relative to the JSON's folder and may be missing. Images must exist; they are decoded only when they are trained on.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from seewhy.domain.loaders import SPLITS, Dataset, Row, Split, as_split
from seewhy.domain.problems import JSON_ERRORS, clean, nearest, path_problem, raise_problems
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.run.progress import progress, say

_NAME = re.compile(rf"^(?P<name>.*?)[-_]?(?P<split>{'|'.join(SPLITS)})$")
_FORM = "write [{id, img_path or image, label}, ...]"
_REPLAY_FORM = "set tune.replay to a LLaVA-Instruct JSON file"
_IMAGE_MARKER = "<image>"
_BATCH = 10_000
"""Rows between two steps of the progress bar."""


def is_research_folder(folder: Path) -> bool:
    """Return whether a folder holds a train split as the research code writes it."""
    return any(_split_of(path) == "train" for path in folder.glob("*.json"))


def read_research(source: Path) -> Dataset:
    """Return the rows of all splits. Raises SeeWhyError if a file is not a list of rows."""
    files = _files(source)
    folder = files[0].parent.resolve()
    records = [(path, number, row) for path in files for number, row in enumerate(_read_list(path, _FORM), 1)]
    root = _root(folder, [path for _, _, row in records if (path := _image_of(row))])
    rows: dict[str, Row] = {}
    problems: list[str] = []
    for path, number, record in records:
        where = f"{path.name} row {number}"
        row = _read_row(root, record, _split_of(path), where)
        if isinstance(row, str):
            problems.append(f"{where}: {row}.")
            continue
        first = rows.setdefault(row.image, row)
        if (first.label, first.split) != (row.label, row.split):
            what = "label" if first.label != row.label else "split"
            problems.append(f"{where}: image '{row.image}' has another {what} at {first.where}; keep one.")
    return Dataset(root, list(rows.values()), problems)


def replay_digest(path: str | Path) -> str:
    """Return the SHA-256 of a replay file, by which a run notices that it has changed."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); {_REPLAY_FORM}.") from error


class Replay:
    """The general data that a run mixes into tuning; empty by default."""

    def __init__(self, path: str = "", turns: Sequence[Turn] = ()) -> None:
        self.path = path
        self.turns = turns
        self._unchecked = turns

    @classmethod
    def read(cls, path: str) -> "Replay":
        """Read a file. Raises SeeWhyError as `load_replay` does."""
        return cls(path, load_replay(path))

    def check(self, rejected: Callable[[str], str | None]) -> None:
        """Raise SeeWhyError naming every row whose text the model would not read as plain text.

        `rejected` returns why a text is refused, or None. Call this before hours of sampling; a second call is free.
        """
        unchecked, self._unchecked = self._unchecked, ()
        problems = [
            f"row {turn.id.removeprefix('replay/')}: the {part} {reason}; reword it or remove the row."
            for turn in unchecked
            for part, text in (("question", turn.query), ("answer", turn.answer))
            if (reason := rejected(text))
        ]
        raise_problems(self.path, problems)

    def drawn(self, wanted: int, rng: Random) -> list[Turn]:
        """Draw `wanted` turns at random; return all of them, with a warning, if there are fewer."""
        if self.turns and wanted > len(self.turns):
            say(f"{self.path} has {len(self.turns)} conversations and {wanted} are wanted: each is taken once.")
        return rng.sample(self.turns, min(wanted, len(self.turns)))


def load_replay(path: str | Path) -> list[Turn]:
    """Return one turn a conversation, in order, with id `replay/<row>` (from 1). Raises SeeWhyError for wrong rows."""
    path = Path(path).resolve()
    turns: list[Turn] = []
    problems: list[str] = []
    rows = _read_list(path, _REPLAY_FORM)
    with progress("checking replay data", total=len(rows), done=0) as advance:
        for number, row in enumerate(rows, 1):
            turn = _read_turn(path.parent, number, row)
            if isinstance(turn, Turn):
                turns.append(turn)
            else:
                problems.append(f"row {number}: {turn}.")
            if not number % _BATCH:
                advance(_BATCH)
    raise_problems(path, problems)
    return turns


def _read_list(path: Path, remedy: str) -> list[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, *JSON_ERRORS) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); {remedy}.") from error
    if not isinstance(rows, list) or not rows:
        raise SeeWhyError(f"{path} is no list of rows, or an empty one; {remedy}.")
    return rows


def _split_of(path: Path) -> Split | None:
    found = _NAME.match(path.stem)
    return as_split(found["split"]) if found else None


def _files(source: Path) -> list[Path]:
    """Return the files of all splits, train first."""
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


def _image_of(record: Any) -> str:
    """Return the path as the row has it, or nothing."""
    value = (record.get("img_path") or record.get("image")) if isinstance(record, dict) else None
    return value if isinstance(value, str) else ""


def _root(folder: Path, images: list[str]) -> Path:
    """Return the folder that the paths are relative to: the file's or the one above, whichever has more of them."""
    return max((folder, folder.parent), key=lambda root: sum(path_problem(root, image) is None for image in images))


def _read_row(root: Path, record: Any, split: Split | None, where: str) -> Row | str:
    """Return the row, or what is wrong with it."""
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


def _read_turn(root: Path, number: int, row: Any) -> Turn | str:
    """Return the row's turn, or what is wrong with it."""
    if not isinstance(row, dict) or not isinstance(row.get("conversations"), list):
        return "has no list 'conversations'; write {id, image, conversations: [{from, value}, ...]}"
    messages = row["conversations"]
    if not all(isinstance(m, dict) and isinstance(m.get("value"), str) for m in messages):
        return "a message has no text 'value'; write {from: human or gpt, value: text}"
    pairs = pairwise(messages)
    pair = next(((q, a) for q, a in pairs if (q.get("from"), a.get("from")) == ("human", "gpt")), None)
    if pair is None:
        return "no 'human' message is followed by a 'gpt' message; add the answer or remove the row"
    query, answer = (message["value"].replace(_IMAGE_MARKER, "").strip() for message in pair)
    if not query or not answer:
        return "the first question or its answer is empty; fill it in or remove the row"
    image = row.get("image") or ""
    if not isinstance(image, str):
        return f"'image' is {image!r:.40}, not one path; give one image a row"
    if image and (problem := path_problem(root, image)):
        return f"image {image!r} {problem}"
    if not image and any(_IMAGE_MARKER in message["value"] for message in pair):
        return f"the text holds {_IMAGE_MARKER} and the row has no 'image'; add the path or remove the marker"
    return Turn(f"replay/{number}", str(root / image) if image else "", query, answer)
