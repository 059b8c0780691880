"""A heat laid over its image: what counted keeps its colour and glows, the rest fades to grey."""

import numpy as np
from matplotlib import colormaps
from PIL import Image

SHORTEST_SIDE = 384
"""Pixels: small images are enlarged so that the heat can be seen."""
_STRENGTH = 0.45


def overlay(image: Image.Image, heat_RK: np.ndarray, region: tuple[float, float, float, float]) -> Image.Image:
    """The image with its heat, R x K patches that cover `region` (pixels of the image), scaled to its own greatest."""
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


def _over(size: tuple[int, int], heat_RK: np.ndarray, region: list[float]) -> np.ndarray:
    """The heat at each pixel of an image of `size`, smoothly between patches, 0 outside the region; (H, W)."""
    left, top, right, bottom = map(round, region)
    patches = Image.fromarray(heat_RK.astype(np.float32))
    covering = patches.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC)
    canvas = Image.new("F", size, 0.0)
    canvas.paste(covering, (left, top))
    return np.asarray(canvas).clip(0, 1)
