"""Copies of images in which a part is covered, for `tune.covered`: what they no longer show must not be said of them.

A copy is an `Example` like any other. Its `image` is the original's path with the covered place behind it, which
`open_view` obeys: no file is written, and whatever asks a model about a path can ask it about a copy.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from seewhy.domain.images import load_image
from seewhy.records import Example

COVERED = "covered"
"""The split of the copies."""
_VIEW = re.compile("(.*)\0covered at (\\S+) (\\S+), (\\S+) of each side", re.DOTALL)
"""No path on a disk has a NUL in it."""


def covered_copies(examples: Sequence[Example], each: float, area: float, seed: int) -> dict[Example, Example]:
    """Return copy -> the example that it shows, in the order of the examples.

    Each example has `each` copies; of a fraction, so large a share of them have one more. In a copy one block in the
    image's proportions is covered, `area` of it, at a random place. Both depend on the seed and the example's id alone.
    """
    copies: dict[Example, Example] = {}
    if not each:
        return copies
    for example in examples:
        random = Random(f"{seed}\0covered\0{example.id}")
        for number in range(math.floor(each) + (random.random() < each % 1)):
            side = math.sqrt(area)
            left, top = (random.uniform(0, 1 - side) for _ in range(2))
            image = f"{example.image}\0covered at {left:.4f} {top:.4f}, {side:.4f} of each side"
            copies[replace(example, id=f"{example.id}/{COVERED}/{number}", image=image, split=COVERED)] = example
    return copies


def image_of(copy_id: str) -> str:
    """Return the id of the example that a copy shows, from the copy's."""
    return copy_id.rpartition(f"/{COVERED}/")[0]


def covered_place(path: str) -> tuple[float, float, float] | None:
    """Return the left, the top and the extent of what a copy's `image` covers, as parts of the sides; else None."""
    found = _VIEW.fullmatch(path)
    return (float(found[2]), float(found[3]), float(found[4])) if found else None


def open_view(path: str) -> Image.Image:
    """Return the image at `path` as `load_image` does, with a copy's part covered."""
    if not (found := covered_place(path)):
        return load_image(path)
    image = load_image(path.partition("\0")[0])
    left, top, side = found
    return cover(
        image,
        (
            round(left * image.width), round(top * image.height),
            round((left + side) * image.width), round((top + side) * image.height),
        ),
    )  # fmt: skip


def cover(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return the image with a box filled with the image's mean colour, which adds nothing new to see."""
    red, green, blue = np.asarray(image).reshape(-1, 3).mean(0).round().astype(int).tolist()
    left, top, right, bottom = box
    hidden = image.copy()
    ImageDraw.Draw(hidden).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=(red, green, blue))
    return hidden
