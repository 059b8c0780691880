"""Ground truth of what each image shows, one JSON object a line: it measures and never feeds the method.

    {"image": "test/Crow/a.png", "visible": ["black bill"], "hidden": ["long tail"], "absent": ["red crown"],
     "boxes": {"black bill": [3, 4, 9, 8]}, "complete": false}

A phrase is visible; or hidden (true, and not to be seen) or absent (false); or unmarked, when nothing is known of it.
With `"complete": true` everything that the line does not name is absent.

An example is named by `example_id` or by its `image`; all but `visible` may be left out, and so may examples. Lines
about images that lie in the data folder and that the data set (a table, mostly) leaves out are passed over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from seewhy.domain.loaders.folder import read_jsonl
from seewhy.domain.phrases import Words, phrase_key
from seewhy.domain.problems import clean, nearest, path_problem, raise_problems, shorten
from seewhy.errors import SeeWhyError
from seewhy.records import Example, Truth

_KEYS = ("example_id", "image", "visible", "hidden", "absent", "boxes", "complete")
_LISTS = ("visible", "hidden", "absent")
_FORM = (
    "write {example_id or image, visible: [phrase], hidden: [phrase], absent: [phrase], boxes: {phrase: [left, top, "
    "right, bottom]}, complete: true or false}"
)


def load_truth(
    path: Path, examples: Sequence[Example], root: Path | None = None, phrases: Iterable[str] | None = None
) -> dict[str, Truth]:
    """Load the truth by example id. `root` is the folder of the images, `phrases` are those of the concept bank.

    Phrases come back spelt as in the bank. Raises `SeeWhyError` naming wrong lines; where `phrases` are given, a phrase
    that is none of them is wrong.
    """
    ids = {key: example.id for example in examples for key in (example.image, example.id)}
    bank = None if phrases is None else {phrase_key(phrase): phrase for phrase in phrases}
    is_left_out = _finder(examples, root)
    truth: dict[str, Truth] = {}
    problems: list[str] = []
    try:
        for where, record in read_jsonl(path):
            if is_left_out(record):
                continue
            problem = _read(record, ids, bank, truth)
            if problem:
                problems.append(f"{where}: {problem}.")
    except (OSError, UnicodeDecodeError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); set data.truth to a JSONL file in UTF-8.") from error
    raise_problems(path, problems)
    return truth


def left_out(path: Path, examples: Sequence[Example], root: Path) -> list[str]:
    """Return the names of images of the data folder that a truth file speaks of and the data set leaves out."""
    is_left_out = _finder(examples, root)
    return [str(_name_of(record)) for _, record in read_jsonl(path) if is_left_out(record)]


def _finder(examples: Sequence[Example], root: Path | None) -> Callable[[dict[str, Any]], bool]:
    """Return whether a line speaks of an image that is in the folder and not among the examples.

    By its path, or by its id.
    """
    known = {key for example in examples for key in (example.image, example.id)}

    @cache
    def ids_in(folder: Path) -> frozenset[str]:
        files = folder.iterdir() if folder.is_dir() else ()
        return frozenset(path.stem for path in files if path.is_file())

    def is_left_out(record: dict[str, Any]) -> bool:
        name = _name_of(record)
        if root is None or not isinstance(name, str) or not name or name in known:
            return False
        problem = path_problem(root, name)
        missing = problem is not None and problem.startswith("is not there")
        return problem is None or (missing and Path(name).name in ids_in((root / name).parent))

    return is_left_out


def _name_of(record: dict[str, Any]) -> Any:
    return record.get("example_id", record.get("image"))


def _read(
    record: dict[str, Any], ids: dict[str, str], bank: Mapping[Words, str] | None, truth: dict[str, Truth]
) -> str | None:
    """Add a record to `truth`, or return what is wrong with it."""
    if unknown := record.keys() - set(_KEYS):
        return f"unknown key '{min(unknown)}'{nearest(min(unknown), _KEYS)}; {_FORM}"
    name = _name_of(record)
    example_id = ids.get(name) if isinstance(name, str) else None
    if example_id is None:
        return f"{name!r} is no example of the data set; correct or remove the line"
    if example_id in truth:
        return f"'{example_id}' has a line already; keep one"
    lists = {key: record.get(key, None if key == "visible" else []) for key in _LISTS}
    for key, phrases in lists.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            return f"'{key}' is not a list of phrases; {_FORM}"
    for one, other in combinations(_LISTS, 2):
        if both := set(lists[one]) & set(lists[other]):
            return f"'{min(both)}' is both {one} and {other}; keep one"
    boxes, complete = record.get("boxes", {}), record.get("complete", False)
    if not isinstance(boxes, dict) or not all(_is_box(box) for box in boxes.values()):
        return f"'boxes' does not hold boxes of four whole numbers; {_FORM}"
    if not boxes.keys() <= set(lists["visible"]):
        return f"'{min(boxes.keys() - set(lists['visible']))}' has a box and is not visible; add it to 'visible'"
    if not isinstance(complete, bool):
        return f"'complete' is {shorten(repr(complete))}, not true or false; {_FORM}"
    spelt = {phrase: clean(phrase) for key in _LISTS for phrase in lists[key]}
    if bank is not None:
        if strange := [phrase for phrase in spelt if phrase_key(phrase) not in bank]:
            hint = nearest(strange[0], bank.values()) or "; correct it, or add it to the concept bank"
            more = f" (nor are {len(strange) - 1} more of its phrases)" if len(strange) > 1 else ""
            return f"'{shorten(strange[0])}' is no phrase of the concept bank{more}{hint}"
        spelt = {phrase: bank[phrase_key(phrase)] for phrase in spelt}
    visible, hidden, absent = (tuple(dict.fromkeys(spelt[phrase] for phrase in lists[key])) for key in _LISTS)
    placed = {spelt[phrase]: (box[0], box[1], box[2], box[3]) for phrase, box in boxes.items()}
    truth[example_id] = Truth(example_id, visible, hidden, placed, absent, complete)
    return None


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(side, int) for side in box)
        and box[0] < box[2]
        and box[1] < box[3]
    )
