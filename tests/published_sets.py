"""Small stand-ins of the published data sets, in their official layouts: a few images of a few pixels.

PUBLISHED["cub200"].make(folder)   # -> what data.source is to be
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def draw(path: Path, *, name: str = "", side: int = 8) -> Path:
    """A picture that no other path (or `name`) has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256((name or path.as_posix()).encode()).digest()[:4], "big")
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def write(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


BIRDS = ("001.Black_footed_Albatross", "009.Brewer_Blackbird", "029.American_Crow")
ATTRIBUTES = (
    "has_bill_shape::hooked",
    "has_bill_shape::cone",
    "has_wing_color::black",
    "has_eye_color::yellow",
    "has_tail_shape::forked_tail",
    "has_size::small_(5_-_9_in)",
)
PARTS = ("beak", "left eye", "right eye", "left wing", "right wing", "tail")
SHARES = {1: (80, 5, 60, 10, 49.9, 50), 2: (1, 90, 95, 70, 20, 30), 3: (3, 2, 1, 0, 0, 0)}
"""Class -> per cent of its images with each attribute."""


def make_cub200(root: Path) -> Path:
    """Three species, images 1-12: the first two of each train, the rest test. Returns CUB_200_2011."""
    base = root / "CUB_200_2011"
    images = {}
    for folder in BIRDS:
        for number in range(4):
            images[len(images) + 1] = f"{folder}/{folder[4:]}_{number:04d}_{len(images) + 1}.jpg"
    class_of = {image: 1 + (image - 1) // 4 for image in images}
    for path in images.values():
        draw(base / "images" / path)
    write(base / "images.txt", (f"{i} {path}" for i, path in images.items()))
    write(base / "classes.txt", (f"{number} {folder}" for number, folder in enumerate(BIRDS, 1)))
    write(base / "image_class_labels.txt", (f"{i} {c}" for i, c in class_of.items()))
    write(base / "train_test_split.txt", (f"{i} {int((i - 1) % 4 < 2)}" for i in images))
    write(base / "bounding_boxes.txt", (f"{i} 10.0 20.0 64.0 64.0" for i in images))
    write(base / "parts/parts.txt", (f"{n} {part}" for n, part in enumerate(PARTS, 1)))
    # image 1: beak at (12, 40), both eyes, no wing, tail at the bird's edge; the others show their beak alone
    seen = {1: {1: (12, 40), 2: (30, 30), 3: (34, 30), 6: (74, 84)}}
    located = {i: seen.get(i, {1: (40, 40)}) for i in images}
    write(
        base / "parts/part_locs.txt",
        (
            f"{i} {part} {x}.0 {y}.0 {int(part in located[i])}"
            for i in images
            for part in range(1, len(PARTS) + 1)
            for x, y in [located[i].get(part, (0, 0))]
        ),
    )
    # present and certainty by attribute; image 1 as told in test_cub200.py
    marks = {1: ((1, 4), (0, 4), (0, 1), (1, 3), (1, 4), (1, 2))}
    write(
        base / "attributes/image_attribute_labels.txt",
        (
            f"{i} {a} {marks.get(i, ((0, 4),) * 6)[a - 1][0]} {marks.get(i, ((0, 4),) * 6)[a - 1][1]} 2.1"
            + (" 0.4" if (i, a) == (3, 2) else "")  # the official file has such lines
            for i in images
            for a in range(1, len(ATTRIBUTES) + 1)
        ),
    )
    write(base / "attributes/class_attribute_labels_continuous.txt", (" ".join(map(str, s)) for s in SHARES.values()))
    write(root / "attributes.txt", (f"{n} {name}" for n, name in enumerate(ATTRIBUTES, 1)))
    return base


def make_dogs(root: Path) -> Path:
    """Two breeds, three train and two test images each; the lists as lists.tar has them, in the folder itself."""
    files = {"train": [], "test": []}
    for folder in ("n02085620-Chihuahua", "n02113624-toy_poodle"):
        for number in range(5):
            file = f"{folder}/{folder[:9]}_{number}.jpg"
            draw(root / "Images" / file)
            files["train" if number < 3 else "test"].append(file)
    for split, names in files.items():
        cells = np.array([[np.array([name])] for name in names], dtype=object)
        savemat(root / f"{split}_list.mat", {"file_list": cells, "labels": np.ones((len(names), 1))})
    return root


AIRCRAFT = (("Boeing", "737-300"), ("British Aerospace", "BAE 146-200"), ("Douglas Aircraft Company", "DC-3"))


def make_fgvc(root: Path) -> Path:
    """Three variants, one image each in the authors' train, val and test."""
    data = root / "fgvc-aircraft-2013b" / "data"
    lists: dict[str, list[tuple[str, str, str]]] = {"train": [], "val": [], "test": []}
    for number, (split, (maker, variant)) in enumerate((s, a) for s in lists for a in AIRCRAFT):
        image = f"{number:07d}"
        draw(data / "images" / f"{image}.jpg")
        lists[split].append((image, maker, variant))
    lists["trainval"] = lists["train"] + lists["val"]
    for split, entries in lists.items():
        write(data / f"images_variant_{split}.txt", (f"{image} {variant}" for image, _, variant in entries))
        write(data / f"images_manufacturer_{split}.txt", (f"{image} {maker}" for image, maker, _ in entries))
    return root / "fgvc-aircraft-2013b"


LEAVES = ("Apple___Apple_scab", "Apple___healthy", "Corn_(maize)___Northern_Leaf_Blight")
_TURNED = ("", "_90deg", "_new30degFlipLR", "_flipTB")


def make_pld(root: Path) -> Path:
    """New Plant Diseases: twenty photographs a class, each with copies, spread over train/ and valid/."""
    base = root / "New Plant Diseases Dataset(Augmented)" / "New Plant Diseases Dataset(Augmented)"
    for folder in LEAVES:
        for number in range(20):
            leaf = f"{number:08x}-68a3-4f2a-9b4b-5f4b1f0b5c2e___FREC_Scab {3000 + number}"
            if number == 0:
                leaf = "RS_HL 5"  # some names have no such number
            for turn, ending in enumerate(_TURNED[: 1 + number % 4]):
                split = "valid" if (number + turn) % 5 == 0 else "train"
                draw(base / split / folder / f"{leaf}{ending}.JPG", name=f"{folder}{leaf}{ending}")
    return root


def make_ham10000(root: Path) -> Path:
    """Forty images of 22 lesions of two diagnoses, in both folders of images."""
    lines = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    number = 0
    for dx, lesions in (("mel", 10), ("nv", 12)):
        for lesion in range(lesions):
            for _ in range(1 + (lesion % 3 == 0) + (lesion % 5 == 0) * 2):
                image = f"ISIC_{24306 + number:07d}"
                draw(root / f"HAM10000_images_part_{1 + number % 2}" / f"{image}.jpg")
                lines.append(f"HAM_{dx}{lesion:05d},{image},{dx},histo,60.0,male,back")
                number += 1
    write(root / "HAM10000_metadata.csv", lines)
    return root


def make_chest_xray(root: Path) -> Path:
    """Patients with two X-rays each, in the three splits of both classes."""
    for split, patients in (("train", 8), ("val", 1), ("test", 3)):
        for patient in range(patients):
            name = f"{split}{patient}"
            for take in (1, 2):
                sick = f"person{100 * len(split) + patient}_bacteria_{take}.jpeg"
                well = f"IM-{100 * len(split) + patient:04d}-{take:04d}.jpeg"
                draw(root / "chest_xray" / split / "PNEUMONIA" / sick, name=f"sick {name} {take}")
                draw(root / "chest_xray" / split / "NORMAL" / well, name=f"well {name} {take}")
    return root / "chest_xray"


@dataclass(frozen=True)
class StandIn:
    make: Callable[[Path], Path]
    labels: tuple[str, ...]
    sizes: tuple[int, int, int]
    """Train, val and test images."""
    index: str
    """A file or folder below the source without which nothing can be read."""
    home: str
    """A part of the name of where it is to be had."""


PUBLISHED = {
    "cub200": StandIn(
        make_cub200, ("American Crow", "Black-footed Albatross", "Brewer's Blackbird"), (6, 0, 6),
        "train_test_split.txt", "Caltech",
    ),
    "dogs": StandIn(make_dogs, ("Chihuahua", "toy poodle"), (6, 0, 4), "test_list.mat", "Stanford Dogs Dataset page"),
    "fgvc": StandIn(
        make_fgvc, ("BAE 146-200", "Boeing 737-300", "Douglas DC-3"), (6, 0, 3),
        "data/images_variant_test.txt", "Oxford",
    ),
    "pld": StandIn(
        make_pld,
        ("apple leaf with apple scab", "corn leaf with northern leaf blight", "healthy apple leaf"), (6, 0, 54),
        "New Plant Diseases Dataset(Augmented)/New Plant Diseases Dataset(Augmented)/valid", "Kaggle",
    ),
    "ham10000": StandIn(
        make_ham10000, ("melanocytic nevus", "melanoma"), (18, 0, 22), "HAM10000_metadata.csv", "Harvard Dataverse",
    ),
    "chest_xray": StandIn(
        make_chest_xray, ("chest X-ray with pneumonia", "normal chest X-ray"), (32, 4, 12), "test/NORMAL", "Kaggle",
    ),
}  # fmt: skip


def write_concepts(path: Path, labels: Iterable[str]) -> Path:
    """A bank that says something of every label."""
    return write(path, (f'"{label}": [dark patches, pale edge, form {n}]' for n, label in enumerate(labels)))
