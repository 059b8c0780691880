"""Images as data URIs within a budget, and attribution maps drawn over their images.

`overlay` draws the whole picture. `veil` draws a small, mostly transparent one that a page lays over an image that it
already has. In both, the patches that counted most keep their colour and turn yellow; the rest fades to grey.
"""

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import label

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.heatmaps import Region
from seewhy.proof.interventions import peak
from seewhy.results import Box

BUDGET = 12_000_000
"""Characters of embedded images on one page, which keeps it under 15 MB with its text."""
SIDE = 320
"""Longest side of an embedded image, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A data URI, or why there is none."""

    uri: str
    problem: str = ""


class Pictures:
    """Embeds images one after the other until the budget is spent.

    `images` are the files that may be shown, beside those in the folder `home`; None, any. A run folder from somebody
    else may name any file of its reader.
    """

    def __init__(self, budget: int = BUDGET, images: Collection[str] | None = None, home: Path | None = None) -> None:
        self.left = budget
        self._images = images
        self._home = home
        self._seen: dict[str, str] = {}

    def photo(self, path: str) -> Picture:
        """Return an image file, made small."""
        if not self._may_be_shown(path):
            return Picture("", f"{Path(path).name} cannot be shown: it is no image of the run's data.")
        try:
            uri = self._seen.get(path) or _jpeg(load_image(path))
        except SeeWhyError as error:
            name = Path(path).name
            return Picture("", f"{name} cannot be shown: {str(error).removeprefix(path).strip()}")
        self._seen[path] = uri
        return self._within(uri)

    def _may_be_shown(self, path: str) -> bool:
        own = self._home is not None and Path(path).resolve().is_relative_to(self._home.resolve())
        return self._images is None or path in self._images or own

    def drawing(self, image: Image.Image) -> Picture:
        """Return an image that is no file, made small."""
        return self._within(_jpeg(image))

    def png(self, data: bytes) -> Picture:
        return self._within("data:image/png;base64," + base64.b64encode(data).decode("ascii"))

    def _within(self, uri: str) -> Picture:
        if len(uri) > self.left:
            return Picture("", "This picture is left out to keep the page small.")
        self.left -= len(uri)
        return Picture(uri)


def _jpeg(image: Image.Image) -> str:
    return data_uri(small(image))


def small(image: Image.Image) -> Image.Image:
    """Return a copy that is no longer than an embedded image."""
    copy = image.copy()
    copy.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return copy


def data_uri(image: Image.Image) -> str:
    """Return an image as a JPEG in a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


SHORTEST_SIDE = 384
"""Pixels: small images are enlarged so that the heat can be seen."""
VEIL_SIDE = 64
"""Pixels of a veil's longer side: more than any model has patches, and enough for a smooth gradient."""
_STRENGTH = 0.45
_LEVELS = 64


def overlay(image: Image.Image, heat_RK: np.ndarray, region: Region) -> Image.Image:
    """Return the image with its attribution map, R x K patches covering `region`, scaled to the map's maximum."""
    scale = max(1.0, SHORTEST_SIDE / min(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    large = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    heat_HW = _over(size, heat_RK / (float(heat_RK.max()) or 1.0), [side * scale for side in region])
    grey = large.mean(-1, keepdims=True).repeat(3, -1) * 0.6 + 90
    colour = colormaps["inferno"](heat_HW * 0.85)[..., :3].astype(np.float32) * 255
    weight = heat_HW[..., None]
    faded = grey * (1 - weight) + large * weight
    mixed = faded * (1 - _STRENGTH * weight) + colour * _STRENGTH * weight
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def captioned(picture: Image.Image, concept: str) -> Image.Image:
    """Return an overlay above a strip that names its concept and explains its colours."""
    size, subject = max(13, picture.width // 32), f"\u201c{concept}\u201d" if concept.isascii() else "this reason"
    words = (f"Where the model looks for {subject}", "did not count", "counted most")  # the font has no other scripts
    font = ImageFont.load_default(size)
    size = min(size, int(size * (picture.width - size) / font.getlength(words[0])))
    font, line, edge = ImageFont.load_default(size), round(1.6 * size), size // 2
    whole = Image.new("RGB", (picture.width, picture.height + 2 * line + edge), "white")
    whole.paste(picture)
    draw, top = ImageDraw.Draw(whole), picture.height + edge
    draw.text((edge, top), words[0], "black", font)
    draw.text((edge, top + line), words[1], "black", font)
    start, end = (round(part * picture.width) for part in (0.3, 0.6))
    ramp = overlay(Image.new("RGB", (_LEVELS, _LEVELS), "silver"), np.linspace(0, 1, _LEVELS)[None], (0, 0, 64, 64))
    whole.paste(ramp.resize((end - start, size)), (start, top + line))
    draw.text((end + edge, top + line), words[2], "black", font)
    return whole


def veil(size: tuple[int, int], heat_RK: np.ndarray, region: Region) -> bytes:
    """Return a PNG of a kilobyte or two, to be stretched over an image of `size` (width, height).

    It is grey where nothing counted, and clear with a warm tint where most did.
    """
    scale = VEIL_SIDE / max(size)
    small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    heat_HW = _over(small, heat_RK / (float(heat_RK.max()) or 1.0), [side * scale for side in region])
    picture = Image.fromarray((heat_HW * (_LEVELS - 1)).round().astype(np.uint8), "P")
    colours_L4 = _veil_colours()
    picture.putpalette(colours_L4[:, :3].tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=colours_L4[:, 3].tobytes(), optimize=True)
    return buffer.getvalue()


@cache
def _veil_colours() -> np.ndarray:
    """Return red, green, blue and opacity of each level, (L, 4): a grey veil under a warm tint, as one layer."""
    heat_L = np.linspace(0, 1, _LEVELS)
    tint_L3 = colormaps["inferno"](0.45 + 0.45 * heat_L)[:, :3]
    grey_L, warm_L = 0.66 * (1 - heat_L) ** 1.3, 0.4 * heat_L
    opacity_L = 1 - (1 - grey_L) * (1 - warm_L)
    mixed_L3 = 0.5 * (grey_L * (1 - warm_L))[:, None] + tint_L3 * warm_L[:, None]
    colours_L4 = np.concatenate([mixed_L3 / opacity_L[:, None], opacity_L[:, None]], axis=1)
    return (colours_L4 * 255).round().astype(np.uint8)


def _over(size: tuple[int, int], heat_RK: np.ndarray, region: list[float]) -> np.ndarray:
    """Return the map at each pixel of an image of `size`, (H, W): interpolated, and 0 outside the region."""
    left, top, right, bottom = map(round, region)
    patches = Image.fromarray(heat_RK.astype(np.float32))
    covering = patches.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC)
    canvas = Image.new("F", size, 0.0)
    canvas.paste(covering, (left, top))
    return np.asarray(canvas).clip(0, 1)


def where(heat_RK: np.ndarray, size: tuple[int, int], region: Region) -> str:
    """Return in which part of the image the map's maximum lies: 'top left', 'middle', 'bottom'."""
    row, column = peak(heat_RK)
    x = region[0] + (column + 0.5) / heat_RK.shape[1] * (region[2] - region[0])
    y = region[1] + (row + 0.5) / heat_RK.shape[0] * (region[3] - region[1])
    down = ("top", "", "bottom")[min(2, int(3 * y / size[1]))]
    across = ("left", "", "right")[min(2, int(3 * x / size[0]))]
    return " ".join(filter(None, (down, across))) or "middle"


BOX_SHARE = 0.5
"""A box holds the patches that have at least this share of the map's maximum."""


def heat_box(heat_RK: np.ndarray, region: Region) -> Box | None:
    """Return the rectangle around the patches that count at least half as much as the peak and are connected to it.

    It is in pixels of the image that `region` is in, and as coarse as the patches. None where nothing counted.
    """
    if not heat_RK.max() > 0:
        return None
    parts_RK = np.zeros(heat_RK.shape, np.int32)
    label(heat_RK >= BOX_SHARE * heat_RK.max(), output=parts_RK)
    rows, columns = np.nonzero(parts_RK == parts_RK[peak(heat_RK)])
    left, top, right, bottom = region
    wide, high = (right - left) / heat_RK.shape[1], (bottom - top) / heat_RK.shape[0]
    return (
        float(left + columns.min() * wide), float(top + rows.min() * high),
        float(left + (columns.max() + 1) * wide), float(top + (rows.max() + 1) * high),
    )  # fmt: skip
