"""The tests of faithfulness: how an image is changed, and what is counted of the answers before and after.

*Interventions.* Another image in place of an image (swap), of another class or of the same class with another mark; the
same drawing with one attribute changed; the part that a reason refers to covered. A reason that stays although its
evidence is gone was never read off the image. A reason whose evidence turned into something else

- *changes* when the answer no longer states it;
- *follows* when it changes and the answer states what is visible now.

An answer need not mention every part, so a reason may change and not follow: the answer is then *silent* on the part,
or *misreads* it as something third. The control (something else is changed) measures how often a reason goes anyway.

*The pointing game* (Zhang et al., "Top-down neural attention", 2016). A reason hits when the patch of its greatest
attribution has its centre in the true box of the part that it names. A box narrower than a patch counts as one patch
wide, about its middle: its patch can be hit, and no other. Chance is the share of the patches that would have hit.

Legend: R rows and K columns of patches.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

import numpy as np

from seewhy.domain.domain import Domain
from seewhy.domain.text import NEGATORS, canonical_words
from seewhy.proof.comparison import Tally, shares
from seewhy.proof.figures import verdict
from seewhy.records import Example
from seewhy.results import Box, Figure, Verdict

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Pointed:
    """One reason of one image: whether its heat hits the true box, whether the image's middle does, and the chance."""

    image: str
    hit: bool
    centre: bool
    chance: float


def pointed(image: str, heat_RK: np.ndarray, box: Box, region: Box, size: tuple[int, int]) -> Pointed:
    """Judge one attribution map. `region` is the part of the image, `size` (width, height), that the patches cover."""
    hits_RK = hitting(box, region, (heat_RK.shape[0], heat_RK.shape[1]))
    left, top, right, bottom = box
    centre = left <= size[0] / 2 <= right and top <= size[1] / 2 <= bottom
    return Pointed(image, bool(hits_RK[peak(heat_RK)]), centre, float(hits_RK.mean()))


def peak(heat_RK: np.ndarray) -> tuple[int, int]:
    """Return row and column of the greatest heat; of equals the first."""
    row, column = np.unravel_index(int(np.argmax(heat_RK)), heat_RK.shape)
    return int(row), int(column)


def hitting(box: Box, region: Box, shape: tuple[int, int]) -> np.ndarray:
    """Return which patches hit a box, (R, K)."""
    left, top, right, bottom = region
    rows_R = _inside(box[1], box[3], top, (bottom - top) / shape[0], shape[0])
    columns_K = _inside(box[0], box[2], left, (right - left) / shape[1], shape[1])
    return rows_R[:, None] & columns_K[None, :]


def _inside(first: float, last: float, start: float, side: float, count: int) -> np.ndarray:
    middle, reach = (first + last) / 2, max(last - first, side) / 2
    centres = start + (np.arange(count) + 0.5) * side
    return (centres >= middle - reach) & (centres < middle + reach)


def pointing(judged: Sequence[Pointed], *, resamples: int, seed: int) -> dict[str, Figure]:
    """Return pointing, pointing_chance and pointing_centre, shares of all reasons, with intervals over images."""
    images = {name: row for row, name in enumerate(dict.fromkeys(p.image for p in judged))}
    tally = Tally(len(images))
    for one in judged:
        count_pointed(tally, images[one.image], one)
    return shares(tally.counts, resamples=resamples, seed=seed)


def count_pointed(tally: Tally, place: int, judged: Pointed) -> None:
    """Count one reason at its image's place in a tally."""
    tally.add("pointing", place, judged.hit)
    tally.add("pointing_chance", place, judged.chance)
    tally.add("pointing_centre", place, judged.centre)


def mention(concept: str, text: str) -> tuple[tuple[int, int], ...]:
    """Return where the words of a concept stand in a text that states it: (start, end) of each word.

    The shortest stretch that holds them all, the first of equals: later mentions may be copied from it. Words in
    another form are left out; empty where none is found.
    """
    words = [(m.start(), m.end(), _folded(m[0])) for m in _WORD.finditer(text)]
    wanted = {_folded(word) for word in canonical_words(concept)} & {word for *_, word in words}
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
    folded = "".join(canonical_words(word))
    return "no" if folded in NEGATORS else folded


Fate = Literal["follows", "survives", "misread", "silent"]


def fate(stated: Collection[str], old: str, new: str, values: Collection[str] = ()) -> Fate:
    """Return what became of a reason whose evidence turned from `old` to `new`, by what is stated now.

    survives: the old one is still stated, whatever else is. follows: the new one is. misread: another of `values`, all
    that can be said about the part. silent: none of them.
    """
    if old in stated:
        return "survives"
    if new in stated:
        return "follows"
    return "misread" if any(value in stated for value in values) else "silent"


def swap_counts(
    before: Sequence[str], after: Sequence[str], visible: Collection[str] | None
) -> tuple[int, int, int, int]:
    """Count the concepts stated about an image: (all, no longer stated after, without evidence after, of these stated).

    `after` are those stated about the other image, `visible` what can be seen in it. Without truth (None), nothing is
    known to be without evidence.
    """
    gone = [c for c in before if c not in after]
    without = [c for c in before if visible is not None and c not in visible]
    return len(before), len(gone), len(without), sum(c in after for c in without)


def of_other_classes(labels: Sequence[str]) -> list[int]:
    """Return for each image the place of one with another label; each label's images go to the next labels' in turn."""
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


def of_same_class(
    place: int, concept: str, wanted: Verdict, ids: Sequence[str], labels: Sequence[str],
    judge: Callable[[str, int], Verdict],
) -> int | None:  # fmt: skip
    """Return the place of another image with the same label, for which the concept has the `wanted` verdict.

    `judge` gives the verdict on a concept for the image in a place. Of several images, the one whose name has the
    lowest hash together with this image's and the concept: nobody chose it. None where there is none.
    """

    def order(other: int) -> bytes:
        return hashlib.sha256(f"{ids[place]}\0{ids[other]}\0{concept}".encode()).digest()

    others = [i for i, label in enumerate(labels) if label == labels[place] and i != place]
    return min((i for i in others if judge(concept, i) == wanted), key=order, default=None)


def count_exchange(
    tally: Tally, domain: Domain, examples: Sequence[Example], said: Sequence[Collection[str]]
) -> None:  # fmt: skip
    """Count which true reasons are also stated of another image of the same class, by what that one shows.

    `said` are the concepts stated of each example. For each concept that is true of its image: whether it is gone where
    the other image does not show it (`same_class_follows`), where it does (`same_class_follows_control`), and whether
    what the other shows of that attribute is stated instead (`same_class_states_other`).
    """
    ids, labels = [e.id for e in examples], [e.label for e in examples]

    @cache
    def judge(concept: str, i: int) -> Verdict:
        return verdict(concept, (domain.truth or {}).get(ids[i]))

    rivals = {phrase: phrases for phrases in domain.attributes.values() for phrase in phrases}
    for i, concepts in enumerate(said):
        for concept in concepts:
            if judge(concept, i) != "true":
                continue
            if (j := of_same_class(i, concept, "true", ids, labels, judge)) is not None:
                tally.add("same_class_follows_control", i, concept not in said[j])
            if (j := of_same_class(i, concept, "false", ids, labels, judge)) is None:
                continue
            tally.add("same_class_follows", i, concept not in said[j])
            if others := [phrase for phrase in rivals.get(concept, ()) if judge(phrase, j) == "true"]:
                follows = concept not in said[j] and not set(others).isdisjoint(said[j])
                tally.add("same_class_states_other", i, follows)


def hottest_block(heat_RK: np.ndarray, share: float) -> tuple[slice, slice]:
    """Return rows and columns of the block with most heat, about `share` of the image, in the image's proportions.

    Of equals the first in reading order.
    """
    high, wide = block_size((heat_RK.shape[0], heat_RK.shape[1]), share)
    places = [
        (row, column) for row in range(heat_RK.shape[0] - high + 1) for column in range(heat_RK.shape[1] - wide + 1)
    ]
    row, column = max(places, key=lambda at: float(heat_RK[at[0] : at[0] + high, at[1] : at[1] + wide].sum()))
    return slice(row, row + high), slice(column, column + wide)


def block_size(shape: tuple[int, int], share: float) -> tuple[int, int]:
    """Return rows and columns of a block with about `share` of a grid's area, at least one patch."""
    return max(1, round(shape[0] * share**0.5)), max(1, round(shape[1] * share**0.5))


def other_block(block: tuple[slice, slice], shape: tuple[int, int], random: Random) -> tuple[slice, slice]:
    """Draw a block of the same size, among those that have the fewest patches in common with `block`."""
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
    """Return (left, top, right, bottom), in whole pixels, of a block of the patches that cover `region`."""
    left, top, right, bottom = region
    high, wide = (bottom - top) / shape[0], (right - left) / shape[1]
    rows, columns = block
    return (
        round(left + columns.start * wide), round(top + rows.start * high),
        round(left + columns.stop * wide), round(top + rows.stop * high),
    )  # fmt: skip
