"""Reading an image file into what a processor expects: an upright 8-bit RGB picture of bounded size.

How each awkward kind is read:
1. EXIF orientation is applied; of an animation the first frame is taken.
2. Palette, grey, CMYK and transparent images become RGB; what is transparent becomes white.
3. 16-bit grey is shifted down from the bits in use (12-bit data in a 16-bit file keeps its contrast); 32-bit integer
   and floating grey are stretched from their least to their greatest value.
4. An image longer than `LONGEST_SIDE` is reduced to it, a JPEG already while it is decoded. One that must be decoded
   to more than `MAX_PIXELS` pixels, or that Pillow holds for a decompression bomb, is refused.
"""

import hashlib
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from seewhy.errors import SeeWhyError

LONGEST_SIDE = 2048
"""Pixels. No image-text model of today takes in more, and it bounds what a batch of photographs holds in memory."""
MAX_PIXELS = 90_000_000
"""Decoded pixels: 270 MB as RGB."""

_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)
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


def load_image(path: str | Path) -> Image.Image:
    """The image at `path` as RGB, upright, its longer side at most `LONGEST_SIDE`. `SeeWhyError` if it has none."""
    return _decode(_read(Path(path)), str(path))


def image_sha256(path: str | Path) -> str:
    """SHA-256 of the file's bytes, after decoding the whole image once: the same errors as `load_image`."""
    data = _read(Path(path))
    _decode(data, str(path))
    return hashlib.sha256(data).hexdigest()


def inspect_image(path: str | Path) -> Inspected:
    """What a file holds, decoded once: the same errors as `load_image`."""
    data = _read(Path(path))
    image = _decode(data, str(path))
    with Image.open(BytesIO(data)) as stored:  # opened lazily: only the header is read again
        transparent, (width, height) = stored.has_transparency_data, stored.size
        return Inspected(hashlib.sha256(data).hexdigest(), stored.mode, transparent, width, height, image)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SeeWhyError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    if not data:
        raise SeeWhyError(f"{path} is empty (0 bytes); replace or remove it.")
    return data


def _decode(data: bytes, path: str) -> Image.Image:
    try:
        with Image.open(BytesIO(data)) as image:
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise SeeWhyError(
                    f"{path} has {width} x {height} pixels, more than {MAX_PIXELS:,}; scale it down or remove it."
                )
            image.load()
            upright = _as_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise SeeWhyError(f"{path} is too large to decode ({error}); scale it down or remove it.") from error
    except Image.UnidentifiedImageError as error:
        raise SeeWhyError(f"{path} is not an image that Pillow can read; convert, replace or remove it.") from error
    except _DECODER_ERRORS as error:
        raise SeeWhyError(f"{path} is corrupt or truncated ({error}); replace or remove it.") from error
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return upright


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey_HW = np.asarray(image).astype(np.uint16)
        shift = max(int(grey_HW.max()).bit_length() - 8, 0)
        return Image.fromarray((grey_HW >> shift).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        grey_HW = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
        grey_HW -= grey_HW.min()
        return Image.fromarray((grey_HW * (255 / (grey_HW.max() or 1))).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
