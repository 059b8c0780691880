"""Random changes to a training image (docs/method.md 4): flips, rotation, perspective, colour jitter and blur.

Deviations from the research code, which has the same seven changes by torchvision:
1. Pillow alone, and every draw comes from one seed, so that a resumed run sees the same images.
2. Corners that a rotation or a shift leaves empty take the image's mean colour instead of black.
3. Changes are made in one order; a corner is shifted out as well as in; blur grows with the image.
4. All changes are tried on every view, and gently; the research code draws one to four of the seven (`at_most`).
"""

import math
import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

from seewhy.config import AugmentConfig

Colour = tuple[int, ...]


def augment(image: Image.Image, config: AugmentConfig, seed: int) -> Image.Image:
    """`image` (RGB) changed at random, same size. Same seed, same image; a config of zeros changes nothing."""
    rng = random.Random(seed)
    fill = tuple(round(mean) for mean in ImageStat.Stat(image).mean)
    changes = CHANGES
    if config.at_most:
        drawn = rng.sample(range(len(CHANGES)), rng.randint(1, min(config.at_most, len(CHANGES))))
        changes = [CHANGES[place] for place in sorted(drawn)]
    for change in changes:
        image = change(image, config, fill, rng)
    return image


def _flip(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    return ImageOps.mirror(image) if rng.random() < config.flip else image


def _upside_down(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    return ImageOps.flip(image) if _happens(config.upside_down, rng) else image


def _rotate(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    if config.rotate <= 0 or not _happens(config.rotate_share, rng):
        return image
    angle = rng.uniform(-config.rotate, config.rotate)
    return image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill)


def _affine(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    """A turn, a shift and a zoom about the middle, in one resampling."""
    if not _happens(config.affine, rng):
        return image
    angle = math.radians(rng.uniform(-config.affine_turn, config.affine_turn))
    right, down = (rng.uniform(-config.affine_shift, config.affine_shift) * side for side in image.size)
    size = 1 + rng.uniform(-config.affine_zoom, config.affine_zoom)
    middle_x, middle_y = image.width / 2, image.height / 2
    cos, sin = math.cos(angle) / max(size, 1e-3), math.sin(angle) / max(size, 1e-3)
    x0, y0 = middle_x + right, middle_y + down  # where the middle of the image comes to be
    source = (cos, sin, middle_x - cos * x0 - sin * y0, -sin, cos, middle_y + sin * x0 - cos * y0)
    return image.transform(image.size, Image.Transform.AFFINE, source, Image.Resampling.BILINEAR, fillcolor=fill)


def _perspective_view(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    if config.perspective <= 0 or not _happens(config.perspective_share, rng):
        return image
    return _shift_corners(image, config.perspective, fill, rng)


def _colour(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    if config.colour > 0 and _happens(config.colour_share, rng):
        for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhancer(image).enhance(1 + rng.uniform(-config.colour, config.colour))
    return image


def _blur(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    if rng.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * max(image.size) / 224))
    return image


CHANGES = (_flip, _upside_down, _rotate, _affine, _perspective_view, _colour, _blur)
"""In the order in which they are made."""


def _happens(share: float, rng: random.Random) -> bool:
    """Nothing is drawn for what never or always happens, so that settings of their own leave all other draws alone."""
    return share >= 1 or (share > 0 and rng.random() < share)


def _shift_corners(image: Image.Image, share: float, fill: tuple[int, ...], rng: random.Random) -> Image.Image:
    """A perspective view: each corner of the result is taken from beside the image's own, by at most `share` of half a
    side."""
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
