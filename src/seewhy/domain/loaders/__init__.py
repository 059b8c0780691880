"""Readers of users' files. Each returns what it could read and a list of what is wrong (see `problems.py`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from seewhy.domain.concepts import ConceptBank
from seewhy.records import Example, Truth

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image as a user lists it. `image` is relative to the data folder; `where` is how errors name it.

    Images of one `group` show the same thing (a lesion, a patient, a leaf) and never part when a split is made; an
    empty group is the image alone.
    """

    image: str
    label: str
    split: Split
    where: str
    group: str = ""


@dataclass(frozen=True)
class Dataset:
    """What a data set on disk holds, before any image is opened."""

    root: Path
    """The absolute folder that images are relative to."""
    rows: list[Row]
    problems: list[str]
    """What keeps the data set from being used."""
    notes: list[str] = field(default_factory=list)
    """What its user should know and need not mend."""
    name: str = ""
    """Its published name, where it has one."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further names of its labels, which the published classes are known under."""
    bank: ConceptBank | None = None
    """The concept bank that it brings."""
    vocabulary: frozenset[str] = frozenset()
    """The phrases that its truth speaks of."""
    truth: Callable[[Sequence[Example]], dict[str, Truth]] | None = None
    """Reads what is true of each image. It measures and never feeds the method."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a question calls an attribute -> its phrases, which exclude each other; where every image is marked."""

    @property
    def is_published(self) -> bool:
        """Return whether its splits are given by others, so that copies in them are reported and not refused."""
        return bool(self.name)


def as_split(name: str) -> Split | None:
    """Return `name` as a split, or None."""
    return cast(Split, name) if name in SPLITS else None
