"""WBCAtt (NeurIPS 2023): 10,298 micrographs of single white blood cells, five classes, eleven attributes an image.

    pbc_attr_v1_train.csv, pbc_attr_v1_val.csv, pbc_attr_v1_test.csv      label, path and a column for each attribute
    PBC_dataset_normal_DIB/neutrophil/BNE_7323.jpg                        the PBC images of Barcelona

The splits are the authors'. `published.yaml` gives the phrase of each mark; a mark without one (no vacuoles, the colour
of no granules) is known too.

Truth. Every attribute is marked in every image, so the truth is complete: the phrases of an image's marks are visible,
and all others of the table absent. Truth measures and never feeds the method.

Bank. A class's list has the phrases of the marks that at least 5 % of its images in the train file carry. Only these
shares enter the bank: no single image's marks, and nothing of val or test.

Copies. A test image that is byte for byte an image of train or val is left out, and a note names it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.loaders import SPLITS, Dataset, Row, Split
from seewhy.domain.loaders.published import WBCATT, Listing, base_of
from seewhy.domain.problems import clean
from seewhy.domain.text import read_words
from seewhy.records import Example, Truth

CLASS_SHARE = 0.05
"""Share of a class's train images from which on a mark is in its list."""
_DATA = read_words("loaders/published.yaml")
CLASSES: tuple[str, ...] = tuple(_DATA["wbcatt_classes"])
MARKS: Mapping[str, Mapping[str, str]] = _DATA["wbcatt_marks"]
"""Attribute -> value -> phrase, which is empty where there is none."""
PHRASES = tuple(phrase for values in MARKS.values() for phrase in values.values() if phrase)
ATTRIBUTE_WORDS: Mapping[str, str] = _DATA["wbcatt_words"]
"""Attribute -> what a question calls it."""
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    ATTRIBUTE_WORDS[name]: tuple(filter(None, values.values())) for name, values in MARKS.items()
}


def read_wbcatt(source: Path) -> Dataset:
    """Return the rows of the three CSV files, without test images that are copies of train or val images.

    A folder with the test file alone is read too, to measure a finished model on; it brings no concept bank.
    """
    base = base_of(source, "wbcatt", marker="pbc_attr_v1_*.csv")
    files = {split: f"pbc_attr_v1_{split}.csv" for split in SPLITS}
    present: list[Split] = [split for split in SPLITS if (base / files[split]).is_file()]
    to_train = present != ["test"]
    listing = Listing(WBCATT, base)
    visible: dict[str, tuple[str, ...]] = {}
    first: dict[str, str] = {}
    for split in SPLITS if to_train else present:
        path = WBCATT.need(base, files[split])
        for where, record in WBCATT.records(path, ("label", "path", *MARKS)):
            label, image = clean(record["label"]), record["path"].strip()
            wrong = [(column, record[column].strip()) for column in MARKS]
            wrong = [(column, value) for column, value in wrong if value not in MARKS[column]]
            if label not in CLASSES:
                listing.wrong(where, f"label '{label}' is none of {', '.join(CLASSES)}; correct it")
            elif not image:
                listing.wrong(where, "'path' is empty; fill it in")
            elif wrong:
                column, value = wrong[0]
                listing.wrong(where, f"{column} '{value}' is none of {', '.join(MARKS[column])}; correct it")
            elif first.setdefault(image, where) != where:
                listing.wrong(where, f"{image} is listed in {first[image]} already; keep one")
            else:
                listing.add(image, label, split, where)
                visible[image] = tuple(p for c in MARKS if (p := MARKS[c][record[c].strip()]))
    rows, copies = without_copies(base, listing.rows)
    return Dataset(
        base,
        rows,
        listing.problems(("train", "test") if to_train else ("test",)),
        [*WBCATT.size_notes(listing.rows), *copies],
        WBCATT.name,
        bank=class_bank(listing.rows, visible) if to_train else None,
        vocabulary=frozenset(PHRASES),
        truth=lambda examples: truth_of(examples, visible),
        attributes=ATTRIBUTES,
    )


def class_bank(rows: Sequence[Row], visible: Mapping[str, tuple[str, ...]]) -> ConceptBank:
    """Return each class's phrases that are marked in at least `CLASS_SHARE` of its train images, in the table's order.

    `visible` is image -> its phrases. Rows of other splits are not looked at.
    """
    images: Counter[str] = Counter()
    marked: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.split == "train":
            images[row.label] += 1
            marked[row.label].update(visible[row.image])
    return ConceptBank(
        {
            label: tuple(phrase for phrase in PHRASES if marked[label][phrase] >= CLASS_SHARE * images[label])
            for label in sorted(images)
        }
    )


def truth_of(examples: Sequence[Example], visible: Mapping[str, tuple[str, ...]]) -> dict[str, Truth]:
    """Return example id -> its truth: the phrases of its marks, and every other phrase as absent."""
    truth = {}
    for example in examples:
        seen = visible[example.image]
        absent = tuple(phrase for phrase in PHRASES if phrase not in seen)
        truth[example.id] = Truth(example.id, seen, (), {}, absent)
    return truth


def without_copies(root: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows without test images that have the bytes of a train or val image, and a note that names these."""
    trained: dict[bytes, Row] = {}
    kept, copies = [], []
    for row in sorted(rows, key=lambda row: row.split == "test"):
        digest = hashlib.sha256((root / row.image).read_bytes()).digest()
        if row.split != "test":
            trained.setdefault(digest, row)
        elif other := trained.get(digest):
            labels = "" if other.label == row.label else f", labelled {row.label} and {other.label}"
            copies.append(f"{Path(row.image).name} ({other.split} has {Path(other.image).name}{labels})")
            continue
        kept.append(row)
    if not copies:
        return kept, []
    many = "1 test image is a copy" if len(copies) == 1 else f"{len(copies)} test images are copies"
    note = f"{WBCATT.name}: {many}, byte for byte, of train or val images and left out: {'; '.join(copies)}."
    return kept, [note]
