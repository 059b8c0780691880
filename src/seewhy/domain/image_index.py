"""What was found in image files when they were decoded, so that a later start decodes only those that have changed.

An image is known where its path, its size and the times of its last change (mtime, and ctime, which cannot be set) are
those from just before it was decoded, by the same checks and the same version of Pillow. A file that had changed less
than two seconds before is not kept: one more change could leave its times as they are. A damaged index, or one of
another folder of images, is an empty one: it saves time and decides nothing.
"""

import os
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.domain.images import Inspected
from seewhy.run.checksums import KEY, UNSEALED, is_whole, seal
from seewhy.run.storage import write_atomically

CHECKS = 1
"""Raise it with every change of what `images.inspect_image` returns or refuses."""
SETTLED = 2 * 10**9
"""Nanoseconds, the coarsest clock of a file system in use (FAT)."""

IMAGES_FILE = "images.parquet"
"""The file in a run folder."""

Stamp = tuple[int, int, int]
"""Bytes, mtime and ctime of a file, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a run keeps of an image that it has decoded once. `mode` is Pillow's name for how its pixels are stored."""

    sha256: str
    mode: str
    size: tuple[int, int]
    """Width and height as `load_image` gives it."""

    @classmethod
    def of(cls, image: Inspected) -> "ImageRecord":
        return cls(image.sha256, image.mode, image.image.size)


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of a file, or None where there is none that can be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


class ImageIndex:
    """The images of one folder, `root`, that were decoded before, by their paths in it. `file` is where it is kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._root = ""
        self._began = time.time_ns()
        self._known: dict[str, tuple[Stamp, ImageRecord]] = {}
        self._kept: dict[str, tuple[Stamp, ImageRecord]] = {}

    def read(self, root: Path) -> None:
        """Read what the file knows of the images of a folder."""
        self._root, self._began = str(root), time.time_ns()
        try:
            payload = self.file.read_bytes()
            table = pq.ParquetFile(BytesIO(payload)).read(use_threads=False)
        except (OSError, ValueError, pa.ArrowException):
            return
        if (
            not is_whole(payload)
            or not (table.schema.metadata or {}).items() >= self._made_by().items()
            or table.schema.names != _SCHEMA.names
        ):
            return
        images, sha256s, modes, *numbers = (column.to_pylist() for column in table.columns)
        for image, sha256, mode, bytes_, modified, changed, width, height in zip(
            images, sha256s, modes, *numbers, strict=True
        ):
            self._known[image] = (bytes_, modified, changed), ImageRecord(sha256, mode, (width, height))

    def find(self, image: str, stamp: Stamp | None) -> ImageRecord | None:
        """Return what an image with this stamp holds, or None where it has to be decoded."""
        known = self._known.get(image)
        if known is None or known[0] != stamp:
            return None
        self._kept[image] = known
        return known[1]

    def add(self, image: str, stamp: Stamp | None, record: ImageRecord) -> None:
        """Keep what was decoded. `stamp` is from before that."""
        if stamp is not None and max(stamp[1:]) < self._began - SETTLED:
            self._kept[image] = stamp, record

    def save(self) -> None:
        """Write the images that were found or added, if they are others than those in the file, or there is none."""
        if self._kept == self._known and self.file.exists():
            return
        rows = [
            (image, record.sha256, record.mode, *stamp, *record.size) for image, (stamp, record) in self._kept.items()
        ]
        columns = dict(zip(_SCHEMA.names, zip(*rows, strict=True) if rows else [()] * len(_SCHEMA), strict=True))
        sink = BytesIO()
        table = pa.Table.from_pydict({name: list(column) for name, column in columns.items()}, schema=_SCHEMA)
        metadata = {**self._made_by(), KEY.encode(): UNSEALED.encode()}
        pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
        write_atomically(self.file, seal(sink.getvalue()))
        self._known = dict(self._kept)

    def _made_by(self) -> dict[bytes, bytes]:
        return {
            b"root": self._root.encode(errors="surrogateescape"),
            b"checks": f"{CHECKS}, {PIL.__version__}".encode(),
        }


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("image", "sha256", "mode")),
        *((name, pa.int64()) for name in ("bytes", "modified", "changed", "width", "height")),
    ]
)
