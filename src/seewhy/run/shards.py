"""The shards of a stage: Parquet files whose items and seeds are fixed before any work starts."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from seewhy.errors import Damaged, SeeWhyError
from seewhy.run.records import Shard
from seewhy.run.storage import (
    ANEW,
    decode_shard,
    digest,
    disk,
    encode_shard,
    look_at_shard,
    shard_origin,
    write_atomically,
)

SHARD = "shard-{:05d}.parquet"
MADE_FOR = "made_for"
"""Key of a shard's origin: a JSON object of item -> digest, for the items of which `RunFolder.records` is given one."""


class Identified(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R")
Item = str | Identified


@dataclass(frozen=True)
class Shards(Generic[R]):
    """The shards of one stage, by number. `RunFolder.records` says what its fields are."""

    stage: str
    fingerprint: str
    folder: Path
    record: type[R]
    items: Sequence[Any]
    size: int
    seed: int
    work: Callable[[Sequence[Any], int], Iterable[R]]
    made_for: Mapping[str, str]
    timed: Callable[..., AbstractContextManager[None]]
    """Notes an event and how long it took."""
    keep: Callable[[Path], None]
    """Keeps a copy of a shard that is about to be patched."""
    check_held: Callable[[], None]
    """Raises SeeWhyError where nothing may be written any more."""

    @cached_property
    def parts(self) -> list[Sequence[Any]]:
        """The items of each shard."""
        return [self.items[start : start + self.size] for start in range(0, len(self.items), self.size)]

    @cached_property
    def paths(self) -> list[Path]:
        """The file of each shard."""
        return [self.folder / SHARD.format(number) for number in range(len(self.parts))]

    def check(self) -> None:
        """Raise SeeWhyError where there is a shard for which the stage has no items."""
        if extra := sorted(set(self.folder.glob("shard-*.parquet")).difference(self.paths)):
            raise SeeWhyError(f"{extra[0]} is one shard more than the stage has items for now. {self._remedy}")

    def left(self, number: int) -> Sequence[Any]:
        """Return the items whose records are to be made: all of a shard that is missing, else those that changed."""
        path, part = self.paths[number], self.parts[number]
        if not path.exists():
            return part
        before = _made_for(path)
        return [item for item in part if before.get(_id(item)) != self.made_for.get(_id(item))]

    def make(self, number: int) -> None:
        """Make a missing shard, or what has changed in one that is there."""
        path = self.paths[number]
        if path.exists():
            self._patch(number)
            return
        with disk(path), self.timed("shard", stage=self.stage, shard=number):
            rows = list(self.work(self.parts[number], self._seed(number)))
            self.check_held()
            write_atomically(path, encode_shard(rows, self.record, self._origin(number)))

    def look(self, number: int) -> Shard[R]:
        """Return a shard, of which only the end is read so far. Raises SeeWhyError when it was made of other items."""
        rows, made_from = look_at_shard(self.paths[number], self.record)
        if made_from != self._origin(number):
            raise self._of_others(number)
        return Shard(self.paths[number], rows, lambda path: decode_shard(path, self.record)[0])

    def _patch(self, number: int) -> None:
        path, origin, changed = self.paths[number], self._origin(number), self.left(number)
        rows, made_from = decode_shard(path, self.record)
        if _plain(made_from) != _plain(origin):
            raise self._of_others(number)
        with disk(path), self.timed("patch", stage=self.stage, shard=number, items=len(changed)):
            fresh = self.work(changed, self._seed(number, origin.get(MADE_FOR, "")))
            rows = _patched(rows, self._keys(number), {_id(item) for item in changed}, fresh)
            self.check_held()
            self.keep(path)
            write_atomically(path, encode_shard(rows, self.record, origin))

    def _seed(self, *of: Any) -> int:
        return int(digest([self.seed, self.stage, *of])[:8], 16)

    def _keys(self, number: int) -> list[str]:
        return [_id(item) for item in self.parts[number]]

    def _origin(self, number: int) -> dict[str, str]:
        keys = self._keys(number)
        own = {key: self.made_for[key] for key in keys if key in self.made_for}
        reasons = {MADE_FOR: json.dumps(own, sort_keys=True)} if own else {}
        return {"fingerprint": self.fingerprint, "items": digest(keys), **reasons}

    def _of_others(self, number: int) -> SeeWhyError:
        return SeeWhyError(f"{self.paths[number]} was made from other items than the stage has now. {self._remedy}")

    @property
    def _remedy(self) -> str:
        return f"Move {self.folder} and the stages after it away and run again, or choose another output folder."


def _id(item: Item) -> str:
    return item if isinstance(item, str) else item.id


def _plain(origin: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in origin.items() if key != MADE_FOR}


def _made_for(path: Path) -> dict[str, str]:
    """Return the digests that a shard says its items were made for. Raises Damaged where that is none of ours."""
    try:
        found = json.loads(shard_origin(path).get(MADE_FOR, "{}"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Damaged(f"{path} is damaged: what it says it was made for cannot be read. {ANEW}")
    return found


def _patched(rows: Sequence[R], keys: Sequence[str], changed: Collection[str], fresh: Iterable[R]) -> list[R]:
    """Return a shard's rows in the order of its items, those of `changed` items replaced by the `fresh` ones."""
    of_item: dict[str, list[R]] = {key: [] for key in keys}
    for row in [*(row for row in rows if _owner(row) not in changed), *fresh]:
        of_item[_owner(row)].append(row)
    return [row for key in keys for row in of_item[key]]


def _owner(row: Any) -> str:
    return row.example_id
