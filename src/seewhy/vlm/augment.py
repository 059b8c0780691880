"""Random changes to a training image (docs/method.md 4): flip, rotation, perspective, colour jitter and blur.

Deviation from the research code: Pillow alone, and every draw comes from one seed, so that a resumed run sees the same
images. Corners that a rotation or a shift leaves empty take the image's mean colour instead of black.
"""

import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

from seewhy.config import AugmentConfig


def augment(image: Image.Image, config: AugmentConfig, seed: int) -> Image.Image:
    """`image` (RGB) changed at random, same size. Same seed, same image; a config of zeros changes nothing."""
    rng = random.Random(seed)
    fill = tuple(round(mean) for mean in ImageStat.Stat(image).mean)
    if rng.random() < config.flip:
        image = ImageOps.mirror(image)
    if config.rotate > 0:
        angle = rng.uniform(-config.rotate, config.rotate)
        image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill)
    if config.perspective > 0:
        image = _shift_corners(image, config.perspective, fill, rng)
    if config.colour > 0:
        for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhancer(image).enhance(1 + rng.uniform(-config.colour, config.colour))
    if rng.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * max(image.size) / 224))
    return image


def _shift_corners(image: Image.Image, share: float, fill: tuple[int, ...], rng: random.Random) -> Image.Image:
    """A perspective view: each corner of the result is taken from up to `share` of the side beside the image's own."""
    width, height = image.size
    corners = ((0, 0), (0, height), (width, height), (width, 0))  # the order of Image.Transform.QUAD
    moved = [
        (x + rng.uniform(-share, share) * width / 2, y + rng.uniform(-share, share) * height / 2) for x, y in corners
    ]
    coefficients = _perspective(moved, corners)
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill
    )


def _perspective(sources: list[tuple[float, float]], targets: tuple[tuple[int, int], ...]) -> list[float]:
    """The eight coefficients with which Pillow takes `targets` (x, y) of the result from `sources` of the image."""
    rows, values = [], []
    for (u, v), (x, y) in zip(sources, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, dtype=float), np.array(values, dtype=float)).tolist()
