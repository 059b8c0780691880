"""CUB-200-2011: 11,788 photographs of 200 bird species, with attributes and part locations an image.

    CUB_200_2011/images.txt, image_class_labels.txt, classes.txt, train_test_split.txt, bounding_boxes.txt
    CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    CUB_200_2011/parts/parts.txt, part_locs.txt
    CUB_200_2011/attributes/image_attribute_labels.txt, class_attribute_labels_continuous.txt
    attributes.txt                                   beside CUB_200_2011/, in it, or in its attributes/

The split is the authors'. Species are called what birders call them: the folder's underscore before a small letter was
a hyphen, and the possessives that it lost are put back ("Brewer's Blackbird"). Attributes become `Truth` and, where
the user has no concept bank, the bank (`cub200_attributes.py`).
"""

import re
from functools import partial
from pathlib import Path

from seewhy.domain.loaders import Reading
from seewhy.domain.loaders.cub200_attributes import ATTRIBUTES, Attributes, read_attributes
from seewhy.domain.loaders.published import Listing, Published, base_of
from seewhy.domain.problems import clean

CUB = Published(
    name="CUB-200-2011",
    home="the Caltech-UCSD Birds-200-2011 page (Caltech Vision Lab, CaltechDATA)",
    archives="CUB_200_2011.tgz",
    train=5_994,
    test=5_794,
    classes=200,
)
_POSSESSIVE = re.compile(
    r"^(Anna|Baird|Bewick|Brandt|Brewer|Clark|Forster|Harris|Heermann|Henslow|Le Conte|Lincoln|Nelson|Scott|Swainson|"
    r"Wilson)s? (?=\S)"
)
_SPELT = {"Chuck-will Widow": "Chuck-will's-widow", "Whip-poor Will": "Whip-poor-will", "Artic Tern": "Arctic Tern"}


def read_cub200(source: Path) -> Reading:
    """The rows of images.txt. `source` is CUB_200_2011, or the folder that the archive was unpacked in."""
    base = base_of(source, "CUB_200_2011", marker="images.txt")
    listing = Listing(CUB, base)
    images = _table(listing, base, "images.txt")
    labels = {number: species(name) for number, (_, name) in _table(listing, base, "classes.txt").items()}
    class_of, is_train = _table(listing, base, "image_class_labels.txt"), _table(listing, base, "train_test_split.txt")
    for image, (where, path) in images.items():
        label = labels.get(class_of.get(image, ("", ""))[1])
        if label is None or image not in is_train:
            listing.wrong(where, f"image {image} has no class or no split; {CUB.remedy}")
        else:
            listing.add(f"images/{path}", label, "train" if is_train[image][1] == "1" else "test", where)
    notes = CUB.size_notes(listing.rows)
    read = partial(Reading, base, listing.rows, listing.problems(), notes, CUB.name)
    if not (base / ATTRIBUTES).is_file():
        notes.append(f"{CUB.name}: {base / ATTRIBUTES} is not there, so nothing is known of what each image shows.")
        return read()
    attributes: Attributes = read_attributes(
        CUB, base, {image: f"images/{path}" for image, (_, path) in images.items()}
    )
    bank = attributes.bank(labels)
    return read(bank=bank, vocabulary=frozenset(attributes.phrases.values()), truth=attributes.truth)


def species(folder: str) -> str:
    """'001.Black_footed_Albatross' -> 'Black-footed Albatross'."""
    name = re.sub(r"^\d+\.", "", folder)
    name = clean(re.sub(r"_(?=[a-z])", "-", name).replace("_", " "))
    name = _POSSESSIVE.sub(r"\1's ", name)
    return _SPELT.get(name, name)


def _table(listing: Listing, base: Path, file: str) -> dict[str, tuple[str, str]]:
    """number -> (how errors name the line, its second word)."""
    found = {}
    for where, words in CUB.lines(base, file):
        if len(words) != 2:
            listing.wrong(where, f"is not a number and a value; {CUB.remedy}")
        else:
            found[words[0]] = (where, words[1])
    return found
