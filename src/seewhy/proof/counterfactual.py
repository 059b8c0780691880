"""Does what is said depend on what is seen? Answers before and after the evidence changed, counted.

Three ways to change it: another class's image in its place (swap), the same drawing with one attribute changed, the
part that a reason speaks of covered. A reason that stays although its evidence is gone was never read off the image.
"""

from collections.abc import Collection, Sequence
from typing import Literal

Fate = Literal["follows", "survives", "dropped"]


def fate(stated: Collection[str], old: str, new: str) -> Fate:
    """What became of a reason whose evidence turned from `old` to `new`, by what is stated now.

    survives: the old one is still stated, whatever else is. follows: the new one is. dropped: neither.
    """
    return "survives" if old in stated else "follows" if new in stated else "dropped"


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
