"""FGVC-Aircraft at the level of variants: 10,000 photographs of 100 variants.

    data/images/0034309.jpg
    data/images_variant_trainval.txt, data/images_variant_test.txt                 "0034309 737-300"
    data/images_manufacturer_trainval.txt, data/images_manufacturer_test.txt       "0034309 Boeing"

The authors' train and val together (trainval, 6,667) are the train split, as in the paper; `data.val_share` takes
validation images out of it. A label is the manufacturer's short name and the variant, "Boeing 737-300"; the variant
alone is an alias. The line of credits at the foot of each photograph is left in.
"""

import re
from pathlib import Path

from seewhy.domain.loaders import Reading, Split
from seewhy.domain.loaders.published import Listing, Published, base_of

FGVC = Published(
    name="FGVC-Aircraft",
    home="the FGVC-Aircraft page of Oxford's Visual Geometry Group",
    archives="fgvc-aircraft-2013b.tar.gz",
    train=6_667,
    test=3_333,
    classes=100,
)
_LISTS: tuple[tuple[str, Split], ...] = (("trainval", "train"), ("test", "test"))
_COMPANY = re.compile(r" (?:Aircraft Company|Aircraft|Corporation|Aviation|(?<!British )Aerospace)$")


def read_fgvc(source: Path) -> Reading:
    """The rows of both lists. `source` is the unpacked archive, or the folder that it was unpacked in."""
    base = base_of(source, "data", "fgvc-aircraft-2013b/data", marker="images_variant_*.txt")
    listing = Listing(FGVC, base)
    aliases: dict[str, tuple[str, ...]] = {}
    for part, split in _LISTS:
        makers = {words[0]: " ".join(words[1:]) for _, words in FGVC.lines(base, f"images_manufacturer_{part}.txt")}
        for where, (image, *words) in FGVC.lines(base, f"images_variant_{part}.txt"):
            variant = " ".join(words)
            if not variant:
                listing.wrong(where, f"image {image} has no variant; {FGVC.remedy}")
            elif not makers.get(image):
                listing.wrong(where, f"image {image} is not in images_manufacturer_{part}.txt; {FGVC.remedy}")
            else:
                label = aircraft_label(makers[image], variant)
                if label != variant:
                    aliases[label] = (variant,)
                listing.add(f"images/{image}.jpg", label, split, where)
    notes = FGVC.size_notes(listing.rows)
    return Reading(base, listing.rows, listing.problems(), notes, FGVC.name, aliases)


def aircraft_label(manufacturer: str, variant: str) -> str:
    """The manufacturer's short name before the variant, unless the variant's first word says it: 'Boeing 737-300'."""
    maker = _COMPANY.sub("", manufacturer)
    first = re.split(r"[ -]", variant, maxsplit=1)[0]
    says_it = [first.casefold()] == maker.casefold().split()[:1] or (maker, first) == ("British Aerospace", "BAE")
    return variant if says_it or not maker else f"{maker} {variant}"
