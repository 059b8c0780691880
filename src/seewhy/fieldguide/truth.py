"""What of a look can be seen in a drawing, in the expert's words: the ground truth of the field guide."""

from collections.abc import Iterator

from seewhy.fieldguide.draw import PART, VISIBLE_SHARE, Drawing
from seewhy.fieldguide.world import Attribute, Look

_PART_OF = {"bill_shape": "bill", "bill_colour": "bill", "wings": "wing", "tail_shape": "tail", "tail_colour": "tail",
            "shape": "body", "skin": "body", "surface": "body"}  # fmt: skip
_ABSENT = {"crest": "crown", "eye_ring": "eye", "collar": "collar", "wing_bar": "wing", "stem": "body",
           "leaves": "body", "flesh": "body", "marks": "body"}  # fmt: skip
"""Where one looks to see that something is not there."""
_PRESENT = {"marks": "mark"}


def part_of(attribute: Attribute, look: Look) -> str:
    """The part that shows the value `look` has of an attribute."""
    name = attribute.name
    if look[name] == "none":
        return _ABSENT[name]
    return _PART_OF.get(name) or _PRESENT.get(name, name)


def is_visible(part: str, drawing: Drawing) -> bool:
    """Whether enough of a part is seen: at least 35 % of its pixels, and never fewer than 12."""
    number = PART[part]
    seen = drawing.seen_P[number]
    return bool(seen >= 12 and seen >= VISIBLE_SHARE * drawing.full_P[number])


def look_in(drawing: Drawing, look: Look, attributes: tuple[Attribute, ...]) -> Iterator[tuple[Attribute, str, bool]]:
    """Each attribute with the part that shows it and whether that part can be seen."""
    for attribute in attributes:
        part = part_of(attribute, look)
        yield attribute, part, is_visible(part, drawing)
