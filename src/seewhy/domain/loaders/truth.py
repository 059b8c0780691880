"""Ground truth of what each image shows, one JSON object a line: it measures and never feeds the method.

    {"image": "test/Crow/a.png", "visible": ["black bill"], "hidden": ["long tail"],
     "boxes": {"black bill": [3, 4, 9, 8]}}

An example is named by `example_id` or by its `image`; `hidden` and `boxes` may be left out, and so may examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seewhy.domain.loaders.table import read_jsonl
from seewhy.domain.problems import clean, raise_problems
from seewhy.errors import SeeWhyError
from seewhy.records import Example, Truth

_FORM = "write {example_id or image, visible: [phrase], hidden: [phrase], boxes: {phrase: [left, top, right, bottom]}}"


def load_truth(path: Path, examples: Sequence[Example]) -> dict[str, Truth]:
    """example id -> what is true of it. Raises `SeeWhyError` naming every wrong line."""
    ids = {key: example.id for example in examples for key in (example.image, example.id)}
    truth: dict[str, Truth] = {}
    problems: list[str] = []
    try:
        for where, record in read_jsonl(path):
            problem = _read(record, ids, truth)
            if problem:
                problems.append(f"{where}: {problem}.")
    except (OSError, UnicodeDecodeError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}); set data.truth to a JSONL file in UTF-8.") from error
    raise_problems(path, problems)
    return truth


def _read(record: dict[str, Any], ids: dict[str, str], truth: dict[str, Truth]) -> str | None:
    """Adds the record to `truth`, or says what is wrong with it."""
    unknown = record.keys() - {"example_id", "image", "visible", "hidden", "boxes"}
    if unknown:
        return f"unknown key '{min(unknown)}'; {_FORM}"
    name = record.get("example_id", record.get("image"))
    example_id = ids.get(name) if isinstance(name, str) else None
    if example_id is None:
        return f"{name!r} is no example of the data set; correct or remove the line"
    if example_id in truth:
        return f"'{example_id}' has a line already; keep one"
    visible, hidden, boxes = record.get("visible"), record.get("hidden", []), record.get("boxes", {})
    for phrases in (visible, hidden):
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            return f"'visible' or 'hidden' is not a list of phrases; {_FORM}"
    assert isinstance(visible, list)
    both = set(visible) & set(hidden)
    if both:
        return f"'{min(both)}' is both visible and hidden; keep one"
    if not isinstance(boxes, dict) or not all(_is_box(box) for box in boxes.values()):
        return f"'boxes' does not hold boxes of four whole numbers; {_FORM}"
    if not boxes.keys() <= set(visible):
        return f"'{min(boxes.keys() - set(visible))}' has a box and is not visible; add it to 'visible'"
    truth[example_id] = Truth(
        example_id,
        tuple(map(clean, visible)),
        tuple(map(clean, hidden)),
        {clean(phrase): (box[0], box[1], box[2], box[3]) for phrase, box in boxes.items()},
    )
    return None


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(side, int) for side in box)
        and box[0] < box[2]
        and box[1] < box[3]
    )
