"""EXIF blocks written by hand, with entries that no library would write."""

import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ORIENTATION = 0x0112
Entry = tuple[int, int, int, bytes]
"""Tag, type (2 ASCII, 3 SHORT, 5 RATIONAL, 10 SRATIONAL, 11 FLOAT, ...), number of values, and their bytes."""


def short(tag: int, value: int) -> Entry:
    return tag, 3, 1, struct.pack("<H", value)


BROKEN: dict[str, Entry] = {
    "text for a number": (0x0213, 2, 6, b"centre"),
    "text for a pointer": (0x8769, 2, 6, b"centre"),
    "float for a fraction": (0x011A, 11, 1, struct.pack("<f", 72.5)),
    "float for a number": (0x0128, 12, 1, struct.pack("<d", 2.5)),
    "negative fraction": (0x011A, 10, 1, struct.pack("<ii", -72, 1)),
    "negative number for an offset": (0x8825, 9, 1, struct.pack("<i", -5)),
    "fraction for an offset": (0x8769, 5, 1, struct.pack("<II", 9, 2)),
    "offset beyond the end": (0x8769, 4, 1, struct.pack("<I", 2**31)),
    "nothing divided by nothing": (0x011B, 5, 1, struct.pack("<II", 0, 0)),
    "infinite float": (0x011A, 11, 1, struct.pack("<f", float("inf"))),
    "number for a text": (0x010F, 3, 1, struct.pack("<H", 7)),
    "text for an index": (0xA005, 2, 3, b"abc"),
    "an unknown type": (0x9000, 77, 1, b"abcd"),
}


def block(entries: Sequence[Entry]) -> bytes:
    """The EXIF block of a directory with `entries`, in the order of their tags."""
    start = 8 + 2 + 12 * len(entries) + 4
    directory, heap = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in sorted(entries):
        placed = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", start + len(heap))
        heap += value if len(value) > 4 else b""
        directory += struct.pack("<HHI", tag, kind, count) + placed
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + heap


def save_tiff(path: Path, image: Image.Image, entries: Sequence[Entry]) -> None:
    """An uncompressed RGB TIFF with further entries in its directory."""
    pixels = image.tobytes()
    sizes = (0x0100, image.width), (0x0101, image.height), (0x0103, 1), (0x0106, 2), (0x0115, 3), (0x0116, image.height)
    bits = 0x0102, 3, 3, struct.pack("<HHH", 8, 8, 8)
    own = [bits, *(short(tag, value) for tag, value in sizes), (0x0117, 4, 1, struct.pack("<I", len(pixels)))]
    placeholder = (0x0111, 4, 1, bytes(4))
    others = [entry for entry in entries if entry[0] not in {tag for tag, *_ in own}]
    length = len(block([*own, placeholder, *others])) - 6
    path.write_bytes(block([*own, (0x0111, 4, 1, struct.pack("<I", length)), *others])[6:] + pixels)
