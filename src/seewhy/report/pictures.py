"""Images as data URIs within a budget: what a page embeds stays small enough to be sent, however much a run shows."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError

BUDGET = 12_000_000
"""Characters of embedded images on one page; with its text it stays under 15 MB."""
SIDE = 320
"""Longest side of an embedded image, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A data URI, or why there is none."""

    uri: str
    problem: str = ""


class Pictures:
    """Embeds images one after the other until the budget is spent."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.left = budget
        self._seen: dict[str, str] = {}

    def photo(self, path: str) -> Picture:
        """An image file, made small."""
        try:
            uri = self._seen.get(path) or _jpeg(load_image(path))
        except SeeWhyError as error:
            name = Path(path).name
            return Picture("", f"{name} cannot be shown: {str(error).removeprefix(path).strip()}")
        self._seen[path] = uri
        return self._within(uri)

    def drawing(self, image: Image.Image) -> Picture:
        """An image that is no file, made small."""
        return self._within(_jpeg(image))

    def png(self, data: bytes) -> Picture:
        return self._within("data:image/png;base64," + base64.b64encode(data).decode("ascii"))

    def _within(self, uri: str) -> Picture:
        if len(uri) > self.left:
            return Picture("", "This picture is left out to keep the page small.")
        self.left -= len(uri)
        return Picture(uri)


def _jpeg(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
