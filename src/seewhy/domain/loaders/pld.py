"""Plant leaf diseases (PLD): photographs of single leaves in class folders called <Plant>___<condition>.

    New Plant Diseases Dataset(Augmented)/New Plant Diseases Dataset(Augmented)/train/<class>/*, valid/<class>/*
    raw/color/<class>/*            PlantVillage, of which the former is an augmented copy
    Images/<class>/*               PLD as the research code lays it out

The paper trains on one tenth (5,279) and tests on the rest (47,523) of the photographs of 37 classes, and its lists
are not published. So here, whatever folders an image came in:
1. Copies that were turned, flipped or altered are left out: of the images of one photograph (the name up to "___", or
   without an ending such as _90deg or _flipLR) the one with the shortest name stays. New Plant Diseases has copies of
   one leaf in both train/ and valid/, so its own division measures memory.
2. In each class, a tenth of the photographs in the order of the SHA-256 of their names is train, the rest is test
   (`splitting.hold_out`).

A label is what follows "This is a ...": "apple leaf with apple scab", "healthy corn leaf".
"""

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from seewhy.domain.loaders import Reading
from seewhy.domain.loaders.folder import image_files
from seewhy.domain.loaders.published import Listing, Published
from seewhy.domain.loaders.splitting import hold_out
from seewhy.domain.problems import clean
from seewhy.errors import SeeWhyError

PLD = Published(
    name="PLD (plant leaf diseases)",
    home="the New Plant Diseases Dataset page of Kaggle, or PlantVillage's on GitHub",
    archives="the data set's one archive",
    train=5_279,
    test=47_523,
    classes=37,
)
TRAIN_SHARE = 5_279 / (5_279 + 47_523)
_NESTED = "New Plant Diseases Dataset(Augmented)"
_BASES = ("", _NESTED, f"{_NESTED}/{_NESTED}", "color", "raw/color", "Images")
_ALTERED = re.compile(r"_(?:(?:new)?\d+deg(?:FlipLR)?|flip(?:LR|TB)|newPixel\d+)$", re.IGNORECASE)
_PHOTOGRAPH = re.compile(r"^[0-9a-f]{8}-[0-9a-f-]{20,}(?=___)")
_NAMES = {
    "cherry (including sour)": "cherry",
    "corn (maize)": "corn",
    "pepper, bell": "bell pepper",
    "cercospora leaf spot gray leaf spot": "gray leaf spot",
    "haunglongbing (citrus greening)": "citrus greening",
    "leaf blight (isariopsis leaf spot)": "leaf blight",
    "esca (black measles)": "esca",
    "spider mites two-spotted spider mite": "spider mites",
    "tomato yellow leaf curl virus": "yellow leaf curl virus",
    "tomato mosaic virus": "mosaic virus",
}
_FURTHER = {
    "gray leaf spot": ("cercospora leaf spot",),
    "citrus greening": ("huanglongbing",),
    "leaf blight": ("isariopsis leaf spot",),
    "esca": ("black measles",),
    "spider mites": ("two-spotted spider mite",),
}


def read_pld(source: Path) -> Reading:
    """The photographs of every class folder, a tenth of them train. `source` is the unpacked archive."""
    base, folders = _class_folders(source)
    listing = Listing(PLD, base)
    photographs: dict[tuple[str, str], PurePosixPath] = {}
    for folder in folders:
        for path in image_files(folder):
            image = PurePosixPath(path.relative_to(base).as_posix())
            key = (folder.name, photograph_of(path.name))
            photographs[key] = min(photographs.get(key, image), image, key=lambda p: (len(p.name), str(p)))
    for (folder, photograph), image in sorted(photographs.items()):
        listing.add(str(image), leaf_label(folder), "test", folder, f"{folder}/{photograph}")
    listing.rows = hold_out(listing.rows, TRAIN_SHARE, source="test", target="train")
    notes = PLD.size_notes(listing.rows)
    return Reading(base, listing.rows, listing.problems(), notes, PLD.name, leaf_aliases({f.name for f in folders}))


def _class_folders(source: Path) -> tuple[Path, list[Path]]:
    """The folder to read, and the class folders in it or in its train/ and valid/."""
    for base in (source / name for name in _BASES):
        places = [base / "train", base / "valid"] if (base / "train").is_dir() else [base]
        missing = [place.name for place in places if not place.is_dir()]
        folders = [f for place in places if place.is_dir() for f in sorted(place.glob("*___*")) if f.is_dir()]
        if folders and missing:
            raise SeeWhyError(f"{PLD.name}: {base / missing[0]} is not there. {PLD.remedy}; unpack it again.")
        if folders:
            return base, folders
    raise SeeWhyError(
        f"{PLD.name}: {source} has no class folders <Plant>___<condition>, nor have train/ and valid/, color/ or "
        f"Images/ in it. {PLD.remedy}; unpack it again, or correct data.source."
    )


def photograph_of(name: str) -> str:
    """What the images of one photograph have in common in their file names."""
    stem = PurePosixPath(name).stem
    if found := _PHOTOGRAPH.match(stem.lower()):
        return found.group()
    return _ALTERED.sub("", stem)


def _parts(folder: str) -> tuple[str, str]:
    """(plant, condition) of a class folder, in the words of a label."""
    plant, _, condition = (clean(part.replace("_", " ")).casefold() for part in folder.partition("___"))
    return _NAMES.get(plant, plant), _NAMES.get(condition, condition)


def leaf_label(folder: str) -> str:
    """'Pepper,_bell___Bacterial_spot' -> 'bell pepper leaf with bacterial spot'."""
    plant, condition = _parts(folder)
    return f"healthy {plant} leaf" if condition == "healthy" else f"{plant} leaf with {condition}"


def leaf_aliases(folders: set[str]) -> dict[str, tuple[str, ...]]:
    """'<condition> on/of a plant' said otherwise; the condition alone where only one plant of `folders` has it."""
    parts = {leaf_label(folder): _parts(folder) for folder in sorted(folders)}
    plants = Counter(condition for _, condition in parts.values())
    aliases = {}
    for label, (plant, condition) in parts.items():
        if condition == "healthy":
            aliases[label] = (f"healthy {plant}",)
            continue
        names = (condition, *_FURTHER.get(condition, ()))
        said = [f"{plant} {name}" for name in names if not name.startswith(plant)]
        aliases[label] = (*said, *(names if plants[condition] == 1 else ()))
    return aliases
