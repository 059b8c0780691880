"""Readers of users' files. Each returns what it could read and a list of what is wrong (see `problems.py`)."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image as a user lists it. `image` is relative to the data folder; `where` is how errors name it."""

    image: str
    label: str
    split: Split
    where: str


def as_split(name: str) -> Split | None:
    """`name` as a split, or None."""
    return cast(Split, name) if name in SPLITS else None
