"""Opens what is sent to a page: by the same opener as data, within limits."""

from pathlib import Path

from PIL import Image

from seewhy.domain.images import decode_image
from seewhy.errors import SeeWhyError
from seewhy.pages.door import Door

LONGEST_NAME = 60


def opened(data: bytes, name: str, door: Door) -> Image.Image:
    """Return the image that was sent, upright and in RGB. Raises SeeWhyError, naming it, for anything else."""
    name = shown_name(name)
    if not data:
        raise SeeWhyError(f"{name} is empty (0 bytes): send an image.")
    if len(data) > door.max_bytes:
        raise _too_large(name, len(data), door)
    return decode_image(data, name, max_pixels=door.max_pixels)


def opened_file(path: Path, door: Door) -> Image.Image:
    """Return the image in a file that was sent. Errors as `opened`."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= door.max_bytes else b""
    except OSError as error:
        raise SeeWhyError(f"{shown_name(path.name)} is gone ({error.strerror}): send it again.") from error
    if size > door.max_bytes:
        raise _too_large(path.name, size, door)
    return opened(data, path.name, door)


def _too_large(name: str, size: int, door: Door) -> SeeWhyError:
    return SeeWhyError(f"{shown_name(name)} has {size / 1e6:.1f} MB, more than {door.max_mb}: send a smaller image.")


def shown_name(name: str) -> str:
    """Return a sender's name for a file on one line and not too long."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "The image"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
