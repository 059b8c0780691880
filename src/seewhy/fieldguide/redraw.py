"""Tests of a reason: a drawing of the field guide with one attribute changed and all else equal, or one part hidden."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

from seewhy.fieldguide.guide import draw_example, is_visible, part_of
from seewhy.fieldguide.world import BIRD, Attribute, Species

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels."""

LEAF = (60, 120, 50)
_DRAWN_ANYWAY = ("crest",)
"""Attributes of which 'none' takes as many random numbers as any other value."""
_GROWN = 0.21
"""By which an ellipse must outgrow a box on each side to hold its corners: (sqrt(2) - 1) / 2."""
_TRIES = 50


@dataclass(frozen=True)
class Tampered:
    """A reason of one drawing, with its evidence changed and hidden, each beside its control."""

    old: str
    new: str
    """The phrase that is true once the attribute has changed."""
    values: tuple[str, ...]
    """All that an expert can say of the attribute."""
    changed: Image.Image
    other_changed: Image.Image | None
    """Another part has changed instead; None where no other can."""
    hidden: Image.Image
    """A leaf lies on the part."""
    elsewhere: Image.Image
    """The leaf lies elsewhere in the picture."""


def tamper(
    bird: Species, split: str, number: int, reason: str, boxes: Mapping[str, Box], rng: random.Random
) -> Tampered | None:
    """Return what to test a reason of `guide.draw_example` with; None if its evidence cannot be changed.

    `boxes`: phrase -> where it is seen, for all phrases that are visible.
    """
    found = attribute_of(reason)
    if found is None or reason not in boxes:
        return None
    attribute, value = found
    look, own = draw_example(bird, split, number, {})
    part = part_of(attribute, look)
    for new in rng.sample(others := other_values(attribute, value), len(others)):
        look, drawing = draw_example(bird, split, number, {attribute.name: new})
        if is_visible(part_of(attribute, look), drawing):
            values = tuple(phrases[0] for phrases in attribute.values.values())
            box = boxes[reason]
            return Tampered(
                reason, attribute.values[new][0], values, drawing.image,
                _other_changed(bird, split, number, part, boxes, rng),
                covered(own.image, box), covered(own.image, elsewhere(box, own.image.size, rng)),
            )  # fmt: skip
    return None


def attribute_of(phrase: str) -> tuple[Attribute, str] | None:
    """Return the attribute and value that an expert's phrase speaks of."""
    return next(((a, value) for a in BIRD for value, phrases in a.values.items() if phrase in phrases), None)


def other_values(attribute: Attribute, value: str) -> tuple[str, ...]:
    """Return the values to which one can be changed without moving anything else in the drawing.

    A part that is not drawn takes no random numbers, so 'none' turns into nothing else and nothing else into it.
    """
    if value == "none" and attribute.name not in _DRAWN_ANYWAY:
        return ()
    none_too = attribute.name in _DRAWN_ANYWAY
    return tuple(other for other in attribute.values if other != value and (none_too or other != "none"))


def covered(image: Image.Image, box: Box) -> Image.Image:
    """Return the image with a leaf-green ellipse around the box, so that nothing in it can be seen."""
    left, top, right, bottom = box
    grow_x, grow_y = _GROWN * (right - left), _GROWN * (bottom - top)
    hidden = image.copy()
    ImageDraw.Draw(hidden).ellipse((left - grow_x, top - grow_y, right + grow_x, bottom + grow_y), fill=LEAF)
    return hidden


def elsewhere(box: Box, size: tuple[int, int], rng: random.Random) -> Box:
    """Return a random box of the same size in the image, such that leaves on the two do not meet; if none is
    found, in the corner farthest from it."""
    wide, high = box[2] - box[0], box[3] - box[1]
    for _ in range(_TRIES):
        x, y = rng.randint(0, size[0] - wide), rng.randint(0, size[1] - high)
        apart_x = abs(x - box[0]) / ((1 + 2 * _GROWN) * wide)
        apart_y = abs(y - box[1]) / ((1 + 2 * _GROWN) * high)
        if apart_x**2 + apart_y**2 >= 1:
            return x, y, x + wide, y + high
    x = 0 if box[0] + box[2] > size[0] else size[0] - wide
    y = 0 if box[1] + box[3] > size[1] else size[1] - high
    return x, y, x + wide, y + high


def _other_changed(
    bird: Species, split: str, number: int, part: str, boxes: Mapping[str, Box], rng: random.Random
) -> Image.Image | None:
    """Return the drawing with another visible part changed than this one."""
    look, _ = draw_example(bird, split, number, {})
    choices = [
        (attribute.name, other)
        for attribute in BIRD
        if attribute.values[look[attribute.name]][0] in boxes and part_of(attribute, look) != part
        for other in other_values(attribute, look[attribute.name])
    ]
    return draw_example(bird, split, number, dict([rng.choice(choices)]))[1].image if choices else None
