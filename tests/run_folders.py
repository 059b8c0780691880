"""Small run folders for the tests of run/folder.py and run/storage.py."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.domain.image_index import IMAGES_FILE
from seewhy.run.folder import RunFolder, Stage
from seewhy.run.stages import Stages


@dataclass(frozen=True)
class Row:
    id: str
    tags: tuple[str, ...]
    score: float
    kept: bool
    number: int


@dataclass(frozen=True)
class Item:
    id: str


def row(item: Item | str) -> Row:
    name = item if isinstance(item, str) else item.id
    return Row(name, tags=("Fisch-Krähe", "鳥", ""), score=0.1, kept=True, number=-(2**40))


def rows(items: Any, seed: int) -> Iterator[Row]:
    return (row(item) for item in items)


def never(items: Any, seed: int) -> list[Row]:
    raise AssertionError("finished work was done again")


STAGE = Stage("select", {"select": {"temperature": 0.1}})
ITEMS = [Item(f"image {number}") for number in range(7)]


def opened(path: Path, *stages: Stage, seed: int = 0, shard_size: int = 3, discard_stale: bool = False) -> RunFolder:
    folder = RunFolder(path, seed=seed, shard_size=shard_size)
    with folder.lock():
        folder.check(stages or [STAGE], config={"seed": seed}, discard_stale=discard_stale)
    return folder


def chain(temperature: float = 1.0, epochs: int = 1) -> list[Stage]:
    describe = Stage("describe", {"describe": {"temperature": temperature, "words": ("a", "b")}})
    model = Stage("round-1/model", {"tune": {"epochs": epochs, "augment": {"flip": 0.5}}}, (describe,))
    return [describe, model, Stage("round-1/predictions", {}, (model,))]


def by_name(stages: Stages) -> dict[str, Stage]:
    return {str(key): stage for key, stage in stages.items()}


def fill(path: Path, stages: list[Stage], text: str, **options: Any) -> None:
    def make(partial: Path) -> None:
        (partial / "weights").write_text(text)

    folder = opened(path, *stages, **options)
    folder.records(stages[0], Row, ITEMS, rows)
    folder.folder(stages[1], make)
    folder.records(stages[2], Row, ITEMS, rows)
    folder.write_json("metrics.json", {"of": text})


def tree(path: Path) -> dict[str, str]:
    """The digest of every file but those in which times stand: events.jsonl, and the index of images."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name not in {"events.jsonl", IMAGES_FILE}]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
