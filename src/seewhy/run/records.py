"""The records of a stage, read from its shards as often as they are gone through: one shard is in memory at a time.

described = folder.records(stage, Description, examples, work)
len(described), [d.text for d in described]     # counted, then read
described.about({"train/Crow/1"})               # the shards that hold these alone
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import pyarrow.parquet as pq

R = TypeVar("R")


@dataclass(frozen=True)
class Shard(Generic[R]):
    """A file of records: how many there are, and how they are read."""

    path: Path
    rows: int
    read: Callable[[Path], list[R]]


class Records(Sequence[R]):
    """The records of one stage or of several, in order. Reading raises SeeWhyError for a damaged shard."""

    def __init__(self, shards: Sequence[Shard[R]]) -> None:
        self.shards = tuple(shards)

    def __iter__(self) -> Iterator[R]:
        for shard in self.shards:
            yield from shard.read(shard.path)

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(index)
        return next(islice(self, at, None))

    def __eq__(self, other: object) -> bool:
        """Return whether these are the same records as those of another sequence."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # as of a list

    def __repr__(self) -> str:
        return repr(list(self))

    def __add__(self, other: "Records[R]") -> "Records[R]":
        return Records((*self.shards, *other.shards))

    def about(self, ids: Collection[str]) -> list[R]:
        """Return the records of some examples, in order."""
        wanted, numbers = set(ids), sorted({number for name in ids for number in self._shards_of.get(name, ())})
        rows: list[Any] = [row for n in numbers for row in self.shards[n].read(self.shards[n].path)]
        return [row for row in rows if row.example_id in wanted]

    @cached_property
    def _shards_of(self) -> dict[str, list[int]]:
        """Example id -> the numbers of the shards that speak of it."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, shard in enumerate(self.shards):
            for name in pq.read_table(shard.path, columns=["example_id"]).column(0).unique().to_pylist():
                found[name].append(number)
        return dict(found)
