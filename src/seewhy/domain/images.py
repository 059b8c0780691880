"""Read an image file as a processor expects it: an upright 8-bit RGB picture of bounded size.

1. EXIF orientation is applied, and nothing else of the EXIF is read (`upright.py`); of an animation the first frame is
   taken.
2. Palette, grey, CMYK and transparent images become RGB; transparent pixels become white.
3. Grey of 16 or 32 bits (integer or floating) is stretched so that its 0.1th percentile becomes black and its 99.9th
   white: neither an offset nor a saturated pixel uses up the 256 levels. NaN becomes black.
4. An image longer than `LONGEST_SIDE` is scaled down to it, a JPEG already while it is decoded. One that decodes to
   more than `MAX_PIXELS` pixels, or that Pillow considers a decompression bomb, is refused.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.upright import FORMATS, load_upright, open_listed, upright_size

LONGEST_SIDE = 2048
"""Pixels. No image-text model of today takes in more, and it bounds what a batch of photographs holds in memory."""
MAX_PIXELS = 90_000_000
"""Decoded pixels: 270 MB as RGB."""
WINDOW = (0.1, 99.9)
"""Percentiles of a deep grey image that become black and white. A thousandth at either end holds a sensor's hot and
dead pixels and a burnt-in letter, and is little of what is to be seen."""

_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError,
    RuntimeError, EOFError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise on a broken file, depending on the format and on where it is broken."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image file as it is stored, and as it is read. `mode` is Pillow's name for how its pixels are stored."""

    sha256: str
    mode: str
    is_transparent: bool
    width: int
    height: int
    image: Image.Image


def is_deep(mode: str) -> bool:
    """Return whether Pillow's `mode` is grey of 16 or 32 bits."""
    return mode.startswith("I;16") or mode in ("I", "F")


def load_image(path: str | Path) -> Image.Image:
    """Return the image at `path` as RGB, upright, its longer side at most `LONGEST_SIDE`.

    Raises SeeWhyError if there is none.
    """
    return decode_image(_read(Path(path)), str(path))


def image_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the file's bytes after decoding the whole image once. Errors as `load_image`."""
    data = _read(Path(path))
    decode_image(data, str(path))
    return hashlib.sha256(data).hexdigest()


def inspect_image(path: str | Path) -> Inspected:
    """Return what a file holds, decoded once: the same errors as `load_image`."""
    data = _read(Path(path))
    image = decode_image(data, str(path))
    with open_listed(BytesIO(data)) as stored:  # opened lazily: only the header is read again
        transparent, (width, height) = stored.has_transparency_data, stored.size
        return Inspected(hashlib.sha256(data).hexdigest(), stored.mode, transparent, width, height, image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return width and height that `load_image` gives, from the file's header.

    The same errors, but for broken pixels.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise _unreadable(path, error) from error
    with file, _named(str(path)), open_listed(file) as image:
        return reduced(*upright_size(image))


def reduced(width: int, height: int) -> tuple[int, int]:
    """Return the size of an image brought to `LONGEST_SIDE`, its shape kept: as Pillow's `thumbnail` rounds it."""
    if max(width, height) <= LONGEST_SIDE:
        return width, height
    shape = width / height
    if shape >= 1:
        sides = (math.floor(LONGEST_SIDE / shape), math.ceil(LONGEST_SIDE / shape))
        return LONGEST_SIDE, max(1, min(sides, key=lambda side: abs(shape - LONGEST_SIDE / side) if side else 0))
    sides = (math.floor(LONGEST_SIDE * shape), math.ceil(LONGEST_SIDE * shape))
    return max(1, min(sides, key=lambda side: abs(shape - side / LONGEST_SIDE))), LONGEST_SIDE


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise SeeWhyError(f"{path} is empty (0 bytes); replace or remove it.")
    return data


def _unreadable(path: str | Path, error: OSError) -> SeeWhyError:
    return SeeWhyError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.")


def decode_image(data: bytes, name: str, *, max_pixels: int | None = None) -> Image.Image:
    """Return the image that a file's bytes hold, as `load_image` does; `name` stands for it in errors.

    `max_pixels` bounds what is stored, for bytes that come from anybody: it is read from the header before anything is
    decoded.
    """
    with _named(name), open_listed(BytesIO(data)) as image:
        if max_pixels is not None:
            _check_pixels(name, image.size, max_pixels)
        image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        _check_pixels(name, image.size, MAX_PIXELS)
        upright = _as_rgb(load_upright(image))
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return upright


def _check_pixels(name: str, size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        raise SeeWhyError(f"{name} has {width} x {height} pixels, more than {most:,}; scale it down or remove it.")


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Raise SeeWhyError naming the file and why Pillow cannot read it."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise SeeWhyError(f"{path} is too large to decode ({error}); scale it down or remove it.") from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise SeeWhyError(
            f"{path} is not an image that Pillow can read ({known}); convert, replace or remove it."
        ) from error
    except _DECODER_ERRORS as error:
        raise SeeWhyError(f"{path} is corrupt or truncated ({error}); replace or remove it.") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if is_deep(image.mode):
        return Image.fromarray(windowed(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def windowed(grey_HW: np.ndarray) -> np.ndarray:
    """Return grey values of any number type as 8 bits (H, W), stretched between the percentiles of `WINDOW`.

    Where those two are equal (fewer than a thousandth of the pixels differ from the rest) the least and the greatest
    value take their place. An image of one value is black.
    """
    values_N = grey_HW[np.isfinite(grey_HW)] if grey_HW.dtype.kind == "f" else grey_HW.ravel()
    if not values_N.size:
        return np.zeros(grey_HW.shape, dtype=np.uint8)
    low, high = np.percentile(values_N, WINDOW)
    if low == high:
        low, high = values_N.min(), values_N.max()
    if grey_HW.dtype.itemsize == 2:  # by a table of all values, as such images can be large
        return _stretched(np.arange(2**16), low, high)[grey_HW]
    return _stretched(grey_HW, low, high)


def _stretched(grey: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (grey.astype(np.float64) - low) / ((float(high) - low) or 1.0)
    return (255 * np.nan_to_num(share, nan=0.0).clip(0.0, 1.0)).round().astype(np.uint8)
