"""Hypothesis strategies for inputs that are nearly right: documents with something odd in them, and damaged bytes."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

Path = tuple[Any, ...]
"""The keys that lead to a place in a document."""

ODD_TEXTS = (
    "", " ", "\x00", "\x1b[2J", "\ud800", "\u202e", "../../../etc/passwd", "/etc/passwd", "a" * 5000, "{}", "{0.x}",
    "[1", "<image>", "%s", "nan", "1e400", "null", "é" * 300, "\n", "a\r\nb", "train", "!!python/object:os.system",
    "-1",
)  # fmt: skip
ODD_VALUES = (
    None, True, False, 0, -1, 2**31, 2**63, 2**200, -(2**63), 0.5, -0.0, 1e308, float("inf"), float("nan"), [], {},
    [[]], [None], {"": None}, [{}], {"a": {"b": {}}}, [[[[[[]]]]]],
)  # fmt: skip


def odd_values() -> st.SearchStrategy[Any]:
    """Values that hardly any reader expects."""
    texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=12)
    return st.sampled_from(ODD_VALUES).map(copy.deepcopy) | texts | st.lists(texts, max_size=3)


def places(document: Any, at: Path = ()) -> Iterator[Path]:
    """Yield the way to every place in a document."""
    yield at
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places(value, (*at, key))


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """A document in which one to three places were replaced, removed, repeated or renamed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        *way, last = draw(st.sampled_from(found)) or (None,)
        if last is None:
            if draw(st.integers(0, 9)) == 0:
                return draw(odd_values())
            continue
        holder = document
        for key in way:
            holder = holder[key]
        _edit(draw, holder, last)
    return document


def _edit(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how = draw(st.sampled_from(["replace", "replace", "remove", "repeat", "rename"]))
    if how == "remove":
        del holder[key]
    elif how == "repeat" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif how == "rename" and isinstance(holder, dict):
        holder[draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=8))] = holder.pop(key)
    else:
        holder[key] = draw(odd_values())


@st.composite
def damaged(draw: st.DrawFn, payload: bytes, *, at_most: int = 4) -> bytes:
    """Bytes of which some were changed, cut, repeated or put in."""
    found = bytearray(payload)
    for _ in range(draw(st.integers(1, at_most))):
        place = draw(st.integers(0, max(0, len(found) - 1)))
        how = draw(st.sampled_from(["change", "change", "change", "cut", "repeat", "insert", "end"]))
        if how == "change" and found:
            found[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del found[place : place + draw(st.integers(1, 64))]
        elif how == "repeat":
            found[place:place] = found[place : place + draw(st.integers(1, 64))]
        elif how == "insert":
            found[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            del found[place:]
    return bytes(found)


def as_json(document: Any) -> bytes:
    """The bytes of a document, a lone surrogate among them as JSON escapes it."""
    return json.dumps(document).encode()


def as_json_lines(document: Any) -> bytes:
    """The bytes of a list of rows, one a line."""
    rows = document if isinstance(document, list) else [document]
    return "\n".join(json.dumps(row) for row in rows).encode()


def as_yaml(document: Any) -> bytes:
    """The bytes of a document as people write it."""
    return yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass")


def files(document: Any, write: Any) -> st.SearchStrategy[bytes]:
    """Files of odd documents, and damaged files of a good one."""
    return edited(document).map(write) | damaged(write(document)) | edited(document).map(write).flatmap(damaged)
