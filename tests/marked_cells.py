"""Made-up WBCAtt folders: classes whose images differ in their marks, as the published tables say it."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from published_sets import draw, write
from seewhy.domain.loaders.wbcatt import CLASSES, MARKS

IMAGES = {"train": 24, "val": 8, "test": 8}
"""Images of a class in each split."""
USUAL = {
    "Basophil": {"granule_type": "coarse", "granule_colour": "purple"},
    "Neutrophil": {"granule_type": "small", "granule_colour": "pink"},
    "Monocyte": {"granule_type": "nil", "granule_colour": "nil"},
}
"""Class -> the marks that all its images have; the others are drawn."""


def make_wbcatt(
    root: Path, images: Mapping[str, int] = IMAGES, labels: Mapping[str, Mapping[str, str]] = USUAL, *, side: int = 16
) -> Path:
    """Write tables and images of random pixels; marks follow from an image's name. A split of 0 images has no table."""
    assert set(labels) <= set(CLASSES)
    columns = ["img_name", "label", *MARKS, "granularity", "path"]
    for split, number in images.items():
        lines = [",".join(columns)]
        for label, usual in labels.items():
            for i in range(number):
                name = f"{label[:2].upper()}_{split}{i}.jpg"
                random = Random(name)
                marks = {a: usual.get(a) or random.choice(list(values)) for a, values in MARKS.items()}
                path = f"PBC_dataset_normal_DIB/{label.lower()}/{name}"
                lines.append(",".join([name, label, *marks.values(), "no", path]))
                draw(root / path, name=path, side=side)
        if number:
            write(root / f"pbc_attr_v1_{split}.csv", lines)
    return root
