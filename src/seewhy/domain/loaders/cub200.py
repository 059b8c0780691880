"""CUB-200-2011: 11,788 photographs of 200 bird species, with attributes and part locations an image.

    CUB_200_2011/images.txt, image_class_labels.txt, classes.txt, train_test_split.txt, bounding_boxes.txt
    CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
    CUB_200_2011/parts/parts.txt, part_locs.txt
    CUB_200_2011/attributes/image_attribute_labels.txt, class_attribute_labels_continuous.txt
    attributes.txt                                   beside CUB_200_2011/, in it, or in its attributes/

The split is the authors'. Species have their common names: the folder's underscore before a small letter was a hyphen,
and lost possessives are restored ("Brewer's Blackbird"). The 312 attributes in 28 groups ("has_bill_shape::hooked"),
marked by paid annotators image by image with a certainty (1 not visible, 2 guessing, 3 probably, 4 definitely), become
the truth and, if the user has no concept bank, the bank.

Truth. An attribute is visible if it is marked present with certainty 3 or 4. It is hidden if it is marked present with
less, or if it is in its class's list below and either is marked not visible or none of its parts is visible in
part_locs.txt. The box of a visible attribute is the smallest one around squares at its visible parts, of a quarter
(eyes: an eighth) of the geometric mean of the bird's bounding box's sides, cut to that bounding box; size, shape and
overall colour have the bounding box itself. Truth measures and never feeds the method.

Bank. A class's list has the attributes that class_attribute_labels_continuous.txt gives at least 50 % (the share of the
class's images, train and test, that were marked so), and never fewer than its three most common. That file is the
published description of a species; no image's own marks enter the bank.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.loaders import Dataset
from seewhy.domain.loaders.published import CUB, Listing, Published, base_of
from seewhy.domain.problems import clean, raise_problems
from seewhy.domain.text import read_words
from seewhy.errors import SeeWhyError
from seewhy.records import Example, Truth

ATTRIBUTES = "attributes/image_attribute_labels.txt"
CLASS_SHARE = 50.0
"""Per cent of a class's images from which on an attribute is in its list."""
_LEAST = 3
_PROBABLY = 3

Box = tuple[int, int, int, int]
Mark = Literal["visible", "unsure", "not visible"]

_DATA = read_words("loaders/published.yaml")


def phrase(attribute: str) -> str:
    """Return 'has_bill_shape::hooked' -> 'hooked bill': an attribute's name as a concept phrase."""
    group, _, value = attribute.removeprefix("has_").partition("::")
    if written := _DATA["cub_phrases"].get(f"{group}::{value}"):
        return written
    value = re.sub(r"_?\(.*?\)", "", value).replace("_", " ").strip()
    thing, _, kind = group.rpartition("_")
    if group in ("size", "shape"):
        return f"{value} {group}"
    if group == "primary_color":
        return f"mainly {value} plumage"
    if kind == "shape":  # the value of a tail or wing says which thing it is of: forked_tail, rounded-wings
        value = re.sub(r"[ -](?:tail|wings)$", "", value)
    if kind == "pattern" and value == "solid":
        value = "solid-colored"
    return f"{value} {_DATA['cub_nouns'].get(thing, thing)}"


def parts_of(attribute: str) -> tuple[str, ...]:
    """Return the parts that show an attribute; none where the whole bird does."""
    return tuple(_DATA["cub_parts"].get(attribute.removeprefix("has_").partition("::")[0].rpartition("_")[0], ()))


@dataclass(frozen=True)
class Attributes:
    """What the attribute, part and box files say, by the numbers that they use."""

    published: Published
    base: Path
    image_of: Mapping[str, str]
    """image id -> path below the data folder"""
    names: Mapping[str, str]
    """attribute id -> name"""
    common: Mapping[str, tuple[str, ...]]
    """class id -> ids of the attributes in its list, in the file's order"""

    @property
    def phrases(self) -> dict[str, str]:
        """Return attribute id -> concept phrase"""
        return {number: phrase(name) for number, name in self.names.items()}

    def bank(self, labels: Mapping[str, str]) -> ConceptBank:
        """Return the concept bank; `labels` is class id -> label."""
        phrases = self.phrases
        return ConceptBank({labels[c]: tuple(phrases[a] for a in ids) for c, ids in self.common.items() if c in labels})

    def truth(self, examples: Sequence[Example]) -> dict[str, Truth]:
        """Return example id -> what is true of it. Raises SeeWhyError for damaged files."""
        try:
            return self._truth(examples)
        except (ValueError, KeyError) as error:
            remedy = f"{self.published.remedy}; unpack it again."
            raise SeeWhyError(f"{self.base}: its part or box files are damaged ({error!r}). {remedy}") from error

    def _truth(self, examples: Sequence[Example]) -> dict[str, Truth]:
        by_path = {path: image for image, path in self.image_of.items()}
        by_image = {by_path[example.image]: example for example in examples if example.image in by_path}
        class_of = {words[0]: words[1] for _, words in self.published.lines(self.base, "image_class_labels.txt")}
        marks, boxes, locations = self._marks(by_image.keys()), self._bounding_boxes(), self._part_locations()
        phrases = self.phrases
        truth = {}
        for image, example in by_image.items():
            marked, located, box = marks.get(image, {}), locations.get(image, {}), boxes[image]
            visible = {a for a, mark in marked.items() if mark == "visible"}
            hidden = {a for a, mark in marked.items() if mark == "unsure"}
            for a in self.common.get(class_of[image], ()):
                parts = parts_of(self.names[a])
                out_of_sight = parts and not any(part in located for part in parts)
                if a not in visible and (marked.get(a) == "not visible" or out_of_sight):
                    hidden.add(a)
            placed = {a: attribute_box(self.names[a], located, box) for a in visible}
            truth[example.id] = Truth(
                example.id,
                tuple(phrases[a] for a in sorted(visible, key=int)),
                tuple(phrases[a] for a in sorted(hidden, key=int)),
                {phrases[a]: found for a in sorted(visible, key=int) if (found := placed[a])},
            )
        return truth

    def _marks(self, images: Iterable[str]) -> dict[str, dict[str, Mark]]:
        """Return image id -> attribute id -> how it was marked; absent and visible ones left out. Millions of lines."""
        marks: dict[str, dict[str, Mark]] = {image: {} for image in images}
        path, problems = self.published.need(self.base, ATTRIBUTES), []
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                words = line.split(None, 4)  # some lines have more words than the five that they should
                if len(words) < 4 or words[2] not in ("0", "1") or words[3] not in ("1", "2", "3", "4"):
                    problems.append(f"line {number} is not image, attribute, present, certainty, time; {_AGAIN}")
                elif (words[2] == "1" or words[3] == "1") and words[0] in marks:
                    marks[words[0]][words[1]] = _mark(words[2] == "1", int(words[3]))
        raise_problems(path, problems)
        return marks

    def _bounding_boxes(self) -> dict[str, tuple[float, ...]]:
        """Return image id -> (left, top, width, height) of the bird, pixels"""
        lines = self.published.lines(self.base, "bounding_boxes.txt")
        return {words[0]: tuple(map(float, words[1:5])) for _, words in lines}

    def _part_locations(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return image id -> name of a visible part -> (x, y), pixels"""
        parts = {words[0]: " ".join(words[1:]) for _, words in self.published.lines(self.base, "parts/parts.txt")}
        located: dict[str, dict[str, tuple[float, float]]] = {}
        for _, (image, part, x, y, visible, *_) in self.published.lines(self.base, "parts/part_locs.txt"):
            if visible == "1":
                located.setdefault(image, {})[parts[part]] = (float(x), float(y))
        return located


_AGAIN = "unpack the archive again"


def _mark(present: bool, certainty: int) -> Mark:  # noqa: FBT001 - two columns of a file
    if present:
        return "visible" if certainty >= _PROBABLY else "unsure"
    return "not visible"


def attribute_box(attribute: str, located: Mapping[str, tuple[float, float]], bird: tuple[float, ...]) -> Box | None:
    """Return the box of an attribute, by the rule above: (left, top, right, bottom) in pixels; None if none is seen."""
    left, top, width, height = bird
    right, bottom = left + width, top + height
    parts = parts_of(attribute)
    if parts:
        points = [located[part] for part in parts if part in located]
        if not points:
            return None
        half = (width * height) ** 0.5 / (16 if "eye" in parts[0] else 8)
        xs, ys = zip(*points, strict=True)
        left, top = max(left, min(xs) - half), max(top, min(ys) - half)
        right, bottom = min(right, max(xs) + half), min(bottom, max(ys) + half)
    box = (round(left), round(top), round(right), round(bottom))
    return box if box[0] < box[2] and box[1] < box[3] else None


def read_attributes(published: Published, base: Path, image_of: Mapping[str, str]) -> Attributes:
    """Return the attributes' names and the classes' lists. Raises SeeWhyError for files that are missing or damaged."""
    found = (
        base if (base / "attributes.txt").is_file() or (base / "attributes/attributes.txt").is_file() else base.parent
    )
    lines = published.lines(found, "attributes.txt", "attributes/attributes.txt")
    names = {words[0]: " ".join(words[1:]) for _, words in lines}
    common = {}
    rows = published.lines(base, "attributes/class_attribute_labels_continuous.txt")
    for number, (where, words) in enumerate(rows, 1):
        if len(words) != len(names):
            raise SeeWhyError(
                f"{base}: {where} of class_attribute_labels_continuous.txt has {len(words)} shares for {len(names)} "
                f"attributes. {published.remedy}; unpack it again."
            )
        with published.reading(base, "attributes/class_attribute_labels_continuous.txt"):
            share = {attribute: float(word) for attribute, word in zip(names, words, strict=True)}
        most = sorted(share, key=lambda a: -share[a])[:_LEAST]
        common[str(number)] = tuple(a for a in share if share[a] >= CLASS_SHARE or a in most)
    return Attributes(published, base, image_of, names, common)


_POSSESSIVE = re.compile(
    r"^(Anna|Baird|Bewick|Brandt|Brewer|Clark|Forster|Harris|Heermann|Henslow|Le Conte|Lincoln|Nelson|Scott|Swainson|"
    r"Wilson)s? (?=\S)"
)
_SPELT = {"Chuck-will Widow": "Chuck-will's-widow", "Whip-poor Will": "Whip-poor-will", "Artic Tern": "Arctic Tern"}


def read_cub200(source: Path) -> Dataset:
    """Return the rows of images.txt. `source` is CUB_200_2011, or the folder that the archive was unpacked in."""
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
    read = partial(Dataset, base, listing.rows, listing.problems(), notes, CUB.name)
    if not (base / ATTRIBUTES).is_file():
        notes.append(f"{CUB.name}: {base / ATTRIBUTES} is not there, so nothing is known of what each image shows.")
        return read()
    attributes: Attributes = read_attributes(
        CUB, base, {image: f"images/{path}" for image, (_, path) in images.items()}
    )
    bank = attributes.bank(labels)
    return read(bank=bank, vocabulary=frozenset(attributes.phrases.values()), truth=attributes.truth)


def species(folder: str) -> str:
    """Return '001.Black_footed_Albatross' -> 'Black-footed Albatross'."""
    name = re.sub(r"^\d+\.", "", folder)
    name = clean(re.sub(r"_(?=[a-z])", "-", name).replace("_", " "))
    name = _POSSESSIVE.sub(r"\1's ", name)
    return _SPELT.get(name, name)


def _table(listing: Listing, base: Path, file: str) -> dict[str, tuple[str, str]]:
    """Return number -> (how errors name the line, its second word)."""
    found = {}
    for where, words in CUB.lines(base, file):
        if len(words) != 2:
            listing.wrong(where, f"is not a number and a value; {CUB.remedy}")
        else:
            found[words[0]] = (where, words[1])
    return found
