"""Does what is said depend on what is seen? Answers before and after the evidence changed, counted.

Three ways to change it: another class's image in its place (swap), the same drawing with one attribute changed, the
part that a reason speaks of covered. A reason that stays although its evidence is gone was never read off the image.

What is counted of a reason whose evidence turned into something else:
- it *changes* when the answer no longer states it;
- it *follows* when it changes and the answer states what is to be seen now.
An answer need not speak of every part, so a reason may change and not follow: the answer is then *silent* on the part,
or *misreads* it as something third. The control (something else is changed) says how often a reason goes for nothing.
"""

from collections.abc import Collection, Sequence
from random import Random
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Fate = Literal["follows", "survives", "misread", "silent"]


def fate(stated: Collection[str], old: str, new: str, values: Collection[str] = ()) -> Fate:
    """What became of a reason whose evidence turned from `old` to `new`, by what is stated now.

    survives: the old one is still stated, whatever else is. follows: the new one is. misread: another of `values`, all
    that one can say of the part. silent: none of them.
    """
    if old in stated:
        return "survives"
    if new in stated:
        return "follows"
    return "misread" if any(value in stated for value in values) else "silent"


def swap_counts(
    before: Sequence[str], after: Sequence[str], visible: Collection[str] | None
) -> tuple[int, int, int, int]:
    """Of the concepts stated of one image, given those stated of another and what can be seen in that one: (all, no
    longer stated, without evidence in the other, of these still stated).

    Without truth (`visible` is None), nothing is known to be without evidence.
    """
    gone = [c for c in before if c not in after]
    without = [c for c in before if visible is not None and c not in visible]
    return len(before), len(gone), len(without), sum(c in after for c in without)


def of_other_classes(labels: Sequence[str]) -> list[int]:
    """For each image the place of another whose label differs: every label's images go to the next labels' in turn."""
    order = sorted(range(len(labels)), key=lambda i: (labels[i], i))
    partners = [0] * len(labels)
    for place, i in enumerate(order):
        step = next((s for s in range(1, len(order)) if labels[order[(place + s) % len(order)]] != labels[i]), None)
        if step is None:
            raise ValueError("a swap needs two classes")
        first = (place + step) % len(order)
        same = [k for k in range(len(order)) if labels[order[k]] == labels[order[first]]]
        partners[i] = order[same[place % len(same)]]
    return partners


def hottest_block(heat_RK: np.ndarray, share: float) -> tuple[slice, slice]:
    """Rows and columns of the block of patches with most heat; it has about `share` of the image and its proportions.

    Of equals the first in reading order.
    """
    high, wide = block_size((heat_RK.shape[0], heat_RK.shape[1]), share)
    places = [
        (row, column) for row in range(heat_RK.shape[0] - high + 1) for column in range(heat_RK.shape[1] - wide + 1)
    ]
    row, column = max(places, key=lambda at: float(heat_RK[at[0] : at[0] + high, at[1] : at[1] + wide].sum()))
    return slice(row, row + high), slice(column, column + wide)


def block_size(shape: tuple[int, int], share: float) -> tuple[int, int]:
    """Rows and columns of a block that has about `share` of a grid's area, at least one patch."""
    return max(1, round(shape[0] * share**0.5)), max(1, round(shape[1] * share**0.5))


def other_block(block: tuple[slice, slice], shape: tuple[int, int], random: Random) -> tuple[slice, slice]:
    """A block of the same size at random, among those that have the fewest patches in common with `block`."""
    high, wide = (part.stop - part.start for part in block)
    places = [(row, column) for row in range(shape[0] - high + 1) for column in range(shape[1] - wide + 1)]

    def common(at: tuple[int, int]) -> int:
        rows = min(at[0] + high, block[0].stop) - max(at[0], block[0].start)
        columns = min(at[1] + wide, block[1].stop) - max(at[1], block[1].start)
        return max(0, rows) * max(0, columns)

    fewest = min(map(common, places))
    row, column = random.choice([at for at in places if common(at) == fewest])
    return slice(row, row + high), slice(column, column + wide)


def block_box(
    block: tuple[slice, slice], shape: tuple[int, int], region: tuple[float, float, float, float]
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), in whole pixels, of a block of the patches that cover `region`."""
    left, top, right, bottom = region
    high, wide = (bottom - top) / shape[0], (right - left) / shape[1]
    rows, columns = block
    return (
        round(left + columns.start * wide), round(top + rows.start * high),
        round(left + columns.stop * wide), round(top + rows.stop * high),
    )  # fmt: skip


def covered(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The image with its own mean colour all over a box: nothing is to be seen there, and nothing new is added."""
    red, green, blue = np.asarray(image).reshape(-1, 3).mean(0).round().astype(int).tolist()
    left, top, right, bottom = box
    hidden = image.copy()
    ImageDraw.Draw(hidden).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=(red, green, blue))
    return hidden
