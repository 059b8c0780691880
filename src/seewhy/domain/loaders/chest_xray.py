"""Chest X-ray images (pneumonia): 5,856 children's X-rays, normal or with pneumonia.

    chest_xray/train/NORMAL/IM-0115-0001.jpeg
    chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg
    chest_xray/val/..., chest_xray/test/...

The splits are the authors'. Their val split has 16 images, too few to choose by; `data.val_share` adds to it from
train, and keeps the X-rays of one patient, as the file names tell them, together.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from seewhy.domain.loaders import Reading
from seewhy.domain.loaders.folder import read_folder
from seewhy.domain.loaders.published import Published, base_of, empty_splits
from seewhy.errors import SeeWhyError

CHEST_XRAY = Published(
    name="Chest X-ray (pneumonia)",
    home="the 'Chest X-Ray Images (Pneumonia)' page of Kaggle (after Kermany and others, Mendeley Data)",
    archives="the data set's one archive",
    train=5_216,
    test=624,
    classes=2,
)
LABELS = {"NORMAL": "normal chest X-ray", "PNEUMONIA": "chest X-ray with pneumonia"}
"""Class folder -> label: what follows "This is a ..."."""
ALIASES = {
    "normal chest X-ray": (
        "normal X-ray",
        "normal lungs",
        "healthy lungs",
        "no pneumonia",
        "no evidence of pneumonia",
        "no signs of pneumonia",
    ),
    "chest X-ray with pneumonia": ("pneumonia",),
}
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")


def read_chest_xray(source: Path) -> Reading:
    """The rows of the three splits. `source` is the folder chest_xray, or the one that it was unpacked in."""
    base = base_of(source, "chest_xray", "chest_xray/chest_xray", marker="train/NORMAL")
    for folder in (f"{split}/{name}" for split in ("train", "test") for name in LABELS):
        if not (base / folder).is_dir():
            raise SeeWhyError(f"{CHEST_XRAY.name}: {base / folder} is not there. {CHEST_XRAY.remedy}; unpack it again.")
    rows, problems = read_folder(base)
    named = []
    for row in rows:
        _, folder, file = PurePosixPath(row.image).parts[:3]
        if folder not in LABELS:
            problems.append(f"{row.where} is in neither of {' and '.join(LABELS)}; move or remove it.")
            continue
        patient = _PATIENT.match(file)
        group = f"{folder}/{patient.group()}" if patient else ""
        named.append(replace(row, label=LABELS[folder], group=group))
    problems += empty_splits(CHEST_XRAY, named)
    return Reading(base, named, problems, CHEST_XRAY.size_notes(named), CHEST_XRAY.name, ALIASES)
