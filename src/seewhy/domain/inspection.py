"""Look at all images of a data set, on all cores: what a run keeps of each, or what is wrong with it."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from seewhy.domain.image_index import ImageIndex, ImageRecord, Stamp, stamp_of
from seewhy.domain.images import Inspected, inspect_image
from seewhy.domain.loaders import Dataset
from seewhy.errors import SeeWhyError
from seewhy.run.progress import progress

T = TypeVar("T")

PROGRESS_AFTER = 10.0
"""Seconds of checking images after which progress is shown."""
BLOCK = 1024
"""Images that are given to the threads at a time."""
MOST_THREADS = 64


def image_records(dataset: Dataset, index: ImageIndex | None = None) -> list[ImageRecord | str]:
    """Return the record of each row's image, in order, or what is wrong with it. None in the index is read."""
    if index is None:
        return list(inspect_images(dataset, ImageRecord.of))
    index.read(dataset.root)
    found: list[ImageRecord | str | None] = []
    changed: list[tuple[int, Stamp | None]] = []
    for number, (row, stamp) in enumerate(zip(dataset.rows, _stamps(dataset), strict=True)):
        found.append(index.find(row.image, stamp))
        if found[-1] is None:
            changed.append((number, stamp))
    unknown = replace(dataset, rows=[dataset.rows[number] for number, _ in changed])
    for (number, stamp), record in zip(changed, inspect_images(unknown, ImageRecord.of), strict=True):
        found[number] = record
        if isinstance(record, ImageRecord):
            index.add(dataset.rows[number].image, stamp, record)
    return [record for record in found if record is not None]


def _stamps(dataset: Dataset) -> Iterator[Stamp | None]:
    """Yield the stamp of each row's image, in order."""
    root, rows = f"{dataset.root}{os.sep}", dataset.rows
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    with ThreadPoolExecutor(_threads()) as pool:  # a folder on another machine takes its time for each file
        for stamps in pool.map(lambda block: [stamp_of(root + row.image) for row in block], blocks):
            yield from stamps


def inspect_images(dataset: Dataset, record: Callable[[Inspected], T]) -> Iterator[T | str]:
    """Yield the record of each row's image, in order, or what is wrong with it."""

    def inspect(path: Path) -> T | str:
        try:
            return record(inspect_image(path))
        except SeeWhyError as error:
            return str(error).removeprefix(str(path))

    return map_images(inspect, dataset.root, [row.image for row in dataset.rows])


def map_images(look: Callable[[Path], T], root: Path, images: Sequence[str]) -> Iterator[T]:
    """Yield what `look` finds in each image, in order, on all cores; progress is shown once this takes long."""
    start = time.monotonic()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(_threads()))
        advance = None
        for first in range(0, len(images), BLOCK):
            for number, result in enumerate(
                pool.map(look, map(root.__truediv__, images[first : first + BLOCK])), first
            ):
                if advance is None and time.monotonic() - start > PROGRESS_AFTER:
                    advance = stack.enter_context(progress("checking images", total=len(images), done=number))
                if advance is not None:
                    advance(1)
                yield result


def _threads() -> int:
    """Pillow decodes, and hashlib hashes, without holding up other threads."""
    return min(MOST_THREADS, os.cpu_count() or 1)
