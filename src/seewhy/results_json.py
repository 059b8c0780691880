"""The one reader and writer of results files: frozen dataclasses as JSON, and back, with every type checked.

A dataclass is its fields by name. A mapping of figures is flat: `accuracy`, `accuracy_interval`, `accuracy_n`.
pydantic would check the types as well, but knows no such flat form, and would be one more dependency.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from seewhy.errors import SeeWhyError
from seewhy.run.checksums import sealed_json, unsealed_json
from seewhy.run.storage import write_atomically

FLAT = {"flat": True}
"""Of a field whose entries stand among the record's own keys in the file; nothing of it where it is None."""
OMITTED = {"omitted": True}
"""Of a field that the file leaves out while it has its default."""


VERSION = 1
"""The version of the files written here. Raise it when a field is renamed, or changes its meaning."""


class ResultsFile:
    """What has a file of its own: its name in the run folder, and what to do where it cannot be used."""

    FILE: ClassVar[str]
    REMEDY: ClassVar[str] = "remove it and start the run again: it goes on where it stopped"

    @classmethod
    def upgraded(cls, values: Any) -> Any:
        """Return the values of a file of an older version in the form of this one."""
        return values


@dataclass(frozen=True)
class Figure:
    """One measured number: a share from 0 to 1, a perplexity (`fs`), or a mean."""

    value: float
    interval: tuple[float, float] | None = None
    """The 95 % interval; None where too little was counted."""
    n: int | None = None
    """How many answers, concepts or tokens were counted."""
    images: int | None = None
    """On how many images, where that is not `n`."""
    clusters: int | None = None
    """On how many lesions, patients or leaves, where the data names them."""
    seeds: tuple[float, ...] = ()
    """The value of each seed, where `value` is their mean."""


class Difference(NamedTuple):
    """How far two values are apart, with the 95 % interval where it is known."""

    value: float
    low: float | None = None
    high: float | None = None


def encode(value: Any) -> Any:
    """Return a record, or a part of one, as plain values. Fields are sorted, mappings keep their order."""
    if isinstance(value, Difference):
        return [part for part in value if part is not None]
    if is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for part in fields(value):
            inner = getattr(value, part.name)
            if part.metadata.get("flat"):
                found |= encode(inner) or {}
            elif not (part.metadata.get("omitted") and inner == part.default):
                found[part.name] = encode(inner)
        return dict(sorted(found.items()))
    if isinstance(value, Mapping):
        flat: dict[str, Any] = {}
        for key, inner in value.items():
            flat |= _figure_values(key, inner) if isinstance(inner, Figure) else {key: encode(inner)}
        return flat
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [encode(inner) for inner in value]
    return value


def decode(kind: Any, value: Any, at: str = "") -> Any:
    """Return a value of JSON as the type `kind`. Raises ValueError naming the key (`at`) of what does not fit."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else decode(next(one for one in inner if one is not type(None)), value, at)
    if origin is Literal:
        return value if value in inner else _refuse(value, f"one of {', '.join(inner)}", at)
    if origin is Mapping:
        values = value if isinstance(value, dict) else _refuse(value, "names and values", at)
        if inner[1] is Figure:
            return _decode_figures(values, at)
        return {key: decode(inner[1], one, _join(at, key)) for key, one in values.items()}
    if origin is tuple or origin is Sequence:
        values = value if isinstance(value, list) else _refuse(value, "a list", at)
        if origin is Sequence or inner[-1] is Ellipsis:
            return tuple(decode(inner[0], one, at) for one in values)
        if len(values) != len(inner):
            _refuse(value, f"a list of {len(inner)} values", at)
        return tuple(decode(each, one, at) for each, one in zip(inner, values, strict=True))
    if kind is Difference:
        values = decode(tuple[float, ...], value, at)
        return Difference(*values) if len(values) in (1, 3) else _refuse(value, "a difference and its bounds", at)
    if is_dataclass(kind):
        return _decode_record(kind, value, at)
    if kind is float or kind is int:
        fits = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
        return value if fits and math.isfinite(value) else _refuse(value, "a number", at)
    words = {str: "a text", bool: "true or false"}
    return value if isinstance(value, kind) else _refuse(value, words[kind], at)


def _decode_record(kind: Any, value: Any, at: str) -> Any:
    values = value if isinstance(value, dict) else _refuse(value, "names and values", at)
    own, found = {part.name for part in fields(kind)}, {}
    for name, (part, hint) in _parts(kind).items():
        if part.metadata.get("flat"):
            rest = {key: one for key, one in values.items() if key not in own and key != "version"}
            found[name] = decode(hint, rest or (None if part.default is None else rest), at)
        elif name in values:
            found[name] = decode(hint, values[name], _join(at, name))
        elif part.default is MISSING and part.default_factory is MISSING:
            raise ValueError(f"{_join(at, name)!r} is missing")
    return kind(**found)


_BESIDE = {part.name: hint for part, hint in zip(fields(Figure), get_type_hints(Figure).values(), strict=True)}
"""What a file holds of a figure: `accuracy` is its value, `accuracy_interval` its interval."""
del _BESIDE["value"]


def _figure_values(name: str, figure: Figure) -> dict[str, Any]:
    beside = {f"{name}_{part}": getattr(figure, part) for part in _BESIDE}
    return {name: figure.value} | {key: encode(value) for key, value in beside.items() if value not in (None, ())}


def _decode_figures(values: Mapping[str, Any], at: str) -> dict[str, Figure]:
    ends = {f"{name}_{part}" for name in values for part in _BESIDE}
    found = {}
    for name in (name for name in values if name not in ends):
        beside = {part: (f"{name}_{part}", hint) for part, hint in _BESIDE.items() if f"{name}_{part}" in values}
        more = {part: decode(hint, values[key], _join(at, key)) for part, (key, hint) in beside.items()}
        found[name] = Figure(decode(float, values[name], _join(at, name)), **more)
    return found


@cache
def _parts(kind: Any) -> dict[str, tuple[Field[Any], Any]]:
    hints = get_type_hints(kind)
    return {part.name: (part, hints[part.name]) for part in fields(kind)}


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _refuse(value: Any, wanted: str, at: str) -> Any:
    raise ValueError(f"{at + ': ' if at else ''}{str(value)[:40]!r} stands where {wanted} should")


R = TypeVar("R", bound=ResultsFile)


class DamagedResults(SeeWhyError):
    """A results file that is not what SeeWhy writes."""


def read(path: Path, kind: type[R]) -> R:
    """Read a results file.

    Raises SeeWhyError for a file that is missing, or that a newer SeeWhy wrote, and DamagedResults, naming the key, for
    one that holds something else.
    """
    remedy = kind.REMEDY.format(run=path.parent)
    try:
        found = kind.upgraded(unsealed_json(path.read_bytes()))
        version = decode(int, found.get("version", 1), "version") if isinstance(found, dict) else 1
        if version > VERSION:
            raise SeeWhyError(
                f"{path} was made by a newer SeeWhy (its results are version {version}, this one reads up to "
                f"{VERSION}): use that one, or {remedy}."
            )
        return decode(kind, found)
    except FileNotFoundError as error:
        raise SeeWhyError(f"There is no {path}: {remedy.removeprefix('remove it and ')}.") from error
    except (OSError, ValueError) as error:
        raise DamagedResults(f"{path} could not be read ({error}): {remedy}.") from error


def find(path: Path, kind: type[R]) -> R | None:
    """Read a results file that need not be there: None where it is not. Raises SeeWhyError as `read` does."""
    return read(path, kind) if path.exists() else None


def find_usable(path: Path, kind: type[R]) -> R | None:
    """Read a results file that can be made again: None where it is missing or damaged.

    Raises SeeWhyError for one that a newer SeeWhy wrote.
    """
    try:
        return find(path, kind)
    except DamagedResults:
        return None


def write(path: Path, record: Any) -> None:
    """Write a record with a checksum, whole or not at all."""
    write_atomically(path, sealed_json(as_values(record), indent=2, allow_nan=False))


def to_json(record: Any) -> str:
    """Return a record as JSON, as `write` writes it but for the checksum. Raises ValueError for a figure that is not
    finite, which is no JSON."""
    return json.dumps(as_values(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_values(record: Any) -> dict[str, Any]:
    """Return a record as the plain values that its file holds, `version` included."""
    return dict(sorted({**encode(record), "version": VERSION}.items()))
