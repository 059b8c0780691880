"""Do the reasons point at what they speak of? The pointing game (Zhang et al., "Top-down neural attention", 2016).

A reason hits when the patch of its greatest heat has its centre in the true box of the part it names. A box narrower
than a patch counts as one patch wide, about its middle: its patch can be hit, and no other. Chance is the share of the
patches that would have hit, which is the box's share of the area.

Where a concept's words stand in an answer (`mention`) is decided here too, since it is their heat that is looked at.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seewhy.proof.bootstrap import estimate
from seewhy.proof.wording import NEGATORS, words_of

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Pointed:
    """One reason of one image: whether its heat hits, whether the middle of the image does, and the chance to."""

    image: str
    hit: bool
    centre: bool
    chance: float


def pointed(image: str, heat_RK: np.ndarray, box: Box, region: Box, size: tuple[int, int]) -> Pointed:
    """Judge one heat. `region` is the part of the image, `size` (width, height), that the patches cover."""
    hits_RK = hitting(box, region, (heat_RK.shape[0], heat_RK.shape[1]))
    left, top, right, bottom = box
    centre = left <= size[0] / 2 <= right and top <= size[1] / 2 <= bottom
    return Pointed(image, bool(hits_RK[peak(heat_RK)]), centre, float(hits_RK.mean()))


def peak(heat_RK: np.ndarray) -> tuple[int, int]:
    """Row and column of the greatest heat; of equals the first."""
    row, column = np.unravel_index(int(np.argmax(heat_RK)), heat_RK.shape)
    return int(row), int(column)


def hitting(box: Box, region: Box, shape: tuple[int, int]) -> np.ndarray:
    """Which patches hit a box, (R, K)."""
    left, top, right, bottom = region
    rows_R = _inside(box[1], box[3], top, (bottom - top) / shape[0], shape[0])
    columns_K = _inside(box[0], box[2], left, (right - left) / shape[1], shape[1])
    return rows_R[:, None] & columns_K[None, :]


def _inside(first: float, last: float, start: float, side: float, count: int) -> np.ndarray:
    middle, reach = (first + last) / 2, max(last - first, side) / 2
    centres = start + (np.arange(count) + 0.5) * side
    return (centres >= middle - reach) & (centres < middle + reach)


def pointing(judged: Sequence[Pointed], *, resamples: int, seed: int) -> dict[str, float | list[float]]:
    """pointing, pointing_chance and pointing_centre, shares of all reasons, with intervals over images; and how many
    reasons of how many images were judged."""
    images = {name: row for row, name in enumerate(dict.fromkeys(p.image for p in judged))}

    def share(name: str, values: Iterable[float]) -> dict[str, float | list[float]]:
        hits, ones = np.zeros(len(images)), np.zeros(len(images))
        for p, value in zip(judged, values, strict=True):
            hits[images[p.image]] += value
            ones[images[p.image]] += 1
        return estimate(name, hits.tolist(), ones.tolist(), resamples=resamples, seed=seed)

    return {
        "reasons": len(judged),
        "images": len(images),
        **share("pointing", [p.hit for p in judged]),
        **share("pointing_chance", [p.chance for p in judged]),
        **share("pointing_centre", [p.centre for p in judged]),
    }


def mention(concept: str, text: str) -> tuple[tuple[int, int], ...]:
    """Where the words of a concept stand in a text that states it: (first character, one after the last) of each.

    The shortest stretch that holds them all, the first of equals: later mentions may be copied from it. Words that
    stand in another form are left out; empty where not one is found.
    """
    words = [(m.start(), m.end(), _folded(m[0])) for m in _WORD.finditer(text)]
    wanted = {_folded(word) for word in words_of(concept)} & {word for *_, word in words}
    best: list[tuple[int, int]] = []
    shortest = len(text) + 1
    for first, (start, _, word) in enumerate(words):
        if word not in wanted:
            continue
        missing, found = set(wanted), []
        for begin, end, other in words[first:]:
            if other in missing:
                missing.discard(other)
                found.append((begin, end))
            if not missing:
                if end - start < shortest:
                    best, shortest = found, end - start
                break
    return tuple(best)


def _folded(word: str) -> str:
    folded = "".join(words_of(word))
    return "no" if folded in NEGATORS else folded
