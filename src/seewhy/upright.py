"""Open an image of a listed format, and turn it as its EXIF orientation says, whatever else its EXIF holds.

Pillow's own `exif_transpose` also writes the whole block anew without the tag, and fails on a photograph whose EXIF
holds a text in place of a number, a negative fraction where none is allowed, or offsets that lead nowhere. Only the one
tag is of use here, so it is read and the pixels are turned; everything else in the block is passed over.
"""

import struct
from functools import cache
from pathlib import Path
from typing import IO, Any

from PIL import Image

FORMATS = (
    "JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "ICO", "PCX", "SGI",
)  # fmt: skip
"""Pillow's names of the formats that are opened, whatever a file is called. Pillow knows others by their content too,
and starts a program for some of them (Ghostscript for PostScript): those are not tried."""

_ORIENTATION, _WIDTH = 0x0112, 0x0100
"""EXIF tags."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_METADATA_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError,
    EOFError, struct.error,
)  # fmt: skip
"""What Pillow raises on broken EXIF or XMP, depending on what is broken."""


@cache
def formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this machine's Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def open_listed(file: str | Path | IO[bytes]) -> Image.Image:
    """Open an image of one of the `FORMATS`, as Pillow's `open` does and with its errors; nothing is decoded yet."""
    return Image.open(file, formats=formats())


def load_upright(image: Image.Image) -> Image.Image:
    """Decode an opened image and return it upright. Raises what Pillow raises for pixels that cannot be decoded."""
    if image.format == "TIFF":  # Pillow turns these itself while it decodes, and reads all other tags as it does
        _forget_all_but_the_orientation(image)
    image.load()
    turn = _TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, from 1 to 8; 1 where there is none, or where what stands there is no such number."""
    found = _tag(image, _ORIENTATION)
    return next((orientation for orientation in _TURNS if orientation == found), 1)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that an opened image will have upright; no pixels are decoded.

    An orientation that a PNG holds behind its pixels, where hardly any program writes it, is not seen.
    """
    width, height = image.size
    if orientation_of(image) < 5:
        return width, height
    if image.format == "TIFF" and _tag(image, _WIDTH) == height:  # Pillow has let them change places already
        return width, height
    return height, width


def _tag(image: Image.Image, tag: int) -> Any:
    """A tag's value, or None where it is not there or cannot be read."""
    try:
        return _exif(image).get(tag)
    except _METADATA_ERRORS:
        return None


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF block as far as it can be read; without decoding, which a PNG's own `getexif` does."""
    try:
        return Image.Image.getexif(image)
    except _METADATA_ERRORS:
        return Image.Image.getexif(image)  # Pillow tries once, and then gives what it has


def _forget_all_but_the_orientation(image: Image.Image) -> None:
    exif = _exif(image)
    for tag in list(exif):
        if tag != _ORIENTATION:
            del exif[tag]
    for block in ("exif", "xmp", "XML:com.adobe.xmp"):
        image.info.pop(block, None)
