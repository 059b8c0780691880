"""A drawing of the field guide again, with one attribute changed and all else as it was: evidence that differs in one
thing."""

import hashlib
import random

from seewhy.fieldguide.birds import draw_bird
from seewhy.fieldguide.draw import Drawing
from seewhy.fieldguide.world import BIRD, Attribute, Species

_DRAWN_ANYWAY = ("crest",)
"""Attributes of which 'none' takes as many random numbers as any other value."""


def attribute_of(phrase: str) -> tuple[Attribute, str] | None:
    """The attribute and value that an expert's phrase speaks of."""
    return next(((a, value) for a in BIRD for value, phrases in a.values.items() if phrase in phrases), None)


def other_values(attribute: Attribute, value: str) -> tuple[str, ...]:
    """The values to which one can be changed without moving anything else in the drawing.

    A part that is not drawn takes no random numbers, so 'none' turns into nothing else and nothing else into it.
    """
    if value == "none" and attribute.name not in _DRAWN_ANYWAY:
        return ()
    none_too = attribute.name in _DRAWN_ANYWAY
    return tuple(other for other in attribute.values if other != value and (none_too or other != "none"))


def redraw(bird: Species, split: str, number: int, changed: dict[str, str]) -> tuple[dict[str, str], Drawing]:
    """The look and the drawing of `guide.draw_example` with the values in `changed` in place of its own."""
    seed = hashlib.sha256(f"{split}/{bird.name}/{number}".encode()).digest()
    rng = random.Random(int.from_bytes(seed[:8], "big"))
    look = {**rng.choice(bird.plumages), **changed}
    return look, draw_bird(look, rng)
