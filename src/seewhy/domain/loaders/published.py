"""What is known of a published data set, and the checks that its readers share.

Expected sizes are those of docs/method.md. Another size is told and not refused: a user may work on a part on purpose.
An index file or a listed image that is not there is an error that names the archive it is part of.

Stanford Dogs: 20,580 photographs of 120 breeds, with its own train and test lists.

    Images/n02085620-Chihuahua/n02085620_5927.jpg      images.tar
    train_list.mat, test_list.mat                      lists.tar; in the folder itself, or in lists/

The boxes of Annotation/ are not read. A breed's name is that of its folder without the WordNet number, underscores
being spaces, as in the research code: "Chihuahua", "toy poodle".

FGVC-Aircraft at the level of variants: 10,000 photographs of 100 variants.

    data/images/0034309.jpg
    data/images_variant_trainval.txt, data/images_variant_test.txt                 "0034309 737-300"
    data/images_manufacturer_trainval.txt, data/images_manufacturer_test.txt       "0034309 Boeing"

The authors' train and val together (trainval, 6,667) are the train split, as in the paper; `data.val_share` takes
validation images out of it. A label is the manufacturer's short name and the variant, "Boeing 737-300"; the variant
alone is an alias. The line of credits at the foot of each photograph is left in.

Plant leaf diseases (PLD): photographs of single leaves in class folders called <Plant>___<condition>.

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

HAM10000: 10,015 dermatoscopic images of 7,470 pigmented skin lesions, seven diagnoses.

    HAM10000_metadata (or .csv, .tab)                         lesion_id, image_id, dx, ...
    HAM10000_images_part_1/ISIC_0027419.jpg, HAM10000_images_part_2/...

It comes without splits. Here each diagnosis is halved by lesion: in the order of the SHA-256 of `lesion_id`, a lesion
goes to the half that has fewer images of the diagnosis so far, test first (`splitting.halve`). So no lesion is in two
splits, every machine makes the same halves, and they come to about the paper's 5,007 and 5,008. The paper's own
division is not published, so figures on it and on this one are not those of the same images.

Chest X-ray images (pneumonia): 5,856 children's X-rays, normal or with pneumonia.

    chest_xray/train/NORMAL/IM-0115-0001.jpeg
    chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg
    chest_xray/val/..., chest_xray/test/...

The splits are the authors'. Their val split has 16 images, too few to choose by; `data.val_share` adds to it from
train, and keeps the X-rays of one patient, as the file names tell them, together.
"""

import csv
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from seewhy.domain.loaders import Dataset, Row, Split
from seewhy.domain.loaders.folder import halve, hold_out, image_files, label_of, read_folder
from seewhy.domain.problems import clean, path_problem
from seewhy.errors import SeeWhyError


@dataclass(frozen=True)
class Published:
    """A data set as its authors and the paper describe it."""

    name: str
    home: str
    """Where it is to be had, in words."""
    archives: str
    """What to unpack into the data folder."""
    train: int
    test: int
    classes: int

    @property
    def remedy(self) -> str:
        return f"It is part of {self.archives}, from {self.home}"

    def need(self, base: Path, *names: str) -> Path:
        """The first of `names` that is there as a file. Raises SeeWhyError where none is."""
        for name in names:
            if (base / name).is_file():
                return base / name
        raise SeeWhyError(
            f"{self.name}: {base / names[0]} is not there. {self.remedy}; unpack it again, or correct data.source."
        )

    @contextmanager
    def reading(self, base: Path, name: str) -> Iterator[None]:
        """Say what to do where an index file does not hold what its lines should: a number, a word, a known id."""
        try:
            yield
        except (ValueError, LookupError) as error:
            raise SeeWhyError(f"{base / name} is damaged ({error}). {self.remedy}; unpack it again.") from error

    def lines(self, base: Path, *names: str) -> list[tuple[str, list[str]]]:
        """(how errors name it, its words) for each line of an index file that is not empty."""
        path = self.need(base, *names)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SeeWhyError(f"{path} cannot be read ({error}). {self.remedy}; unpack it again.") from error
        numbered = enumerate(text.splitlines(), 1)
        return [(f"{path.name} line {number}", line.split()) for number, line in numbered if line.strip()]

    def size_notes(self, rows: Iterable[Row]) -> list[str]:
        """A note where the data set has another size than the paper's."""
        rows = list(rows)
        found = Counter(row.split for row in rows)
        classes = len({row.label for row in rows})
        if (found["train"], found["test"], classes) == (self.train, self.test, self.classes):
            return []
        return [
            f"{self.name}: found {found['train']:,} train and {found['test']:,} test images of {classes} classes; the "
            f"paper has {self.train:,}, {self.test:,} and {self.classes}. The full set is {self.archives}, from "
            f"{self.home}."
        ]


@dataclass
class Listing:
    """Gathers the rows that an index lists, and what is wrong with them. Missing images are counted, not spelt out."""

    published: Published
    root: Path
    rows: list[Row] = field(default_factory=list)
    _problems: list[str] = field(default_factory=list)
    _missing: list[str] = field(default_factory=list)

    def add(self, image: str, label: str, split: Split, where: str, group: str = "") -> None:
        problem = path_problem(self.root, image)
        if problem is None:
            self.rows.append(Row(image, label, split, f"{where} ({image})", group))
        elif "is not there" in problem:
            self._missing.append(image)
        else:
            self._problems.append(f"{where}: image {image!r} {problem}.")

    def wrong(self, where: str, what: str) -> None:
        self._problems.append(f"{where}: {what}.")

    def problems(self) -> list[str]:
        """All that is wrong, an empty split included."""
        problems = list(self._problems)
        if self._missing:
            listed = len(self._missing) + len(self.rows)
            problems.append(
                f"{len(self._missing):,} of {listed:,} listed images are not there, the first is {self._missing[0]}: "
                f"the download is partial. {self.published.remedy}; unpack it again."
            )
        return problems + empty_splits(self.published, self.rows)


def empty_splits(published: Published, rows: Iterable[Row]) -> list[str]:
    """A problem for each of train and test without an image."""
    filled = {row.split for row in rows}
    return [
        f"{published.name} has no {split} image here. {published.remedy}; unpack it again."
        for split in ("train", "test")
        if split not in filled
    ]


def base_of(source: Path, *inside: str, marker: str) -> Path:
    """The folder that holds `marker` (a name, or a pattern): `source`, or one of the folders `inside` it.

    `source` where none does, so that what is missing is named as the user would look for it.
    """
    for base in (source, *(source / name for name in inside)):
        if base.is_dir() and any(base.glob(marker)):
            return base
    return source


DOGS = Published(
    name="Stanford Dogs",
    home="the Stanford Dogs Dataset page (Aditya Khosla and others)",
    archives="images.tar and lists.tar",
    train=12_000,
    test=8_580,
    classes=120,
)
_READ_ERRORS = (OSError, ValueError, TypeError, LookupError, NotImplementedError, AttributeError, zlib.error)
"""What SciPy raises on a damaged file, depending on where it is damaged, besides its own."""
_DOG_LISTS: tuple[tuple[str, Split], ...] = (("train_list.mat", "train"), ("test_list.mat", "test"))


def read_dogs(source: Path) -> Dataset:
    """The rows of both lists. `source` holds Images/ and the lists, or a folder stanford_dogs that does."""
    base = base_of(source, "stanford_dogs", "StanfordDogs", marker="Images")
    listing = Listing(DOGS, base)
    for name, split in _DOG_LISTS:
        path = DOGS.need(base, name, f"lists/{name}")
        for number, file in enumerate(_files(path), 1):
            listing.add(f"Images/{file}", label_of(PurePosixPath(file).parent.name), split, f"{name} entry {number}")
    return Dataset(base, listing.rows, listing.problems(), DOGS.size_notes(listing.rows), DOGS.name)


def _files(path: Path) -> list[str]:
    """The `file_list` of a list: image paths below Images/. Raises SeeWhyError where the file is no such list."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        cells = loadmat(path)["file_list"]
        return [str(cell.item()) for cell in cells.ravel()]
    except (MatReadError, *_READ_ERRORS) as error:
        raise SeeWhyError(f"{path} is no list of Stanford Dogs ({error}). {DOGS.remedy}; unpack it again.") from error


FGVC = Published(
    name="FGVC-Aircraft",
    home="the FGVC-Aircraft page of Oxford's Visual Geometry Group",
    archives="fgvc-aircraft-2013b.tar.gz",
    train=6_667,
    test=3_333,
    classes=100,
)
_AIRCRAFT_LISTS: tuple[tuple[str, Split], ...] = (("trainval", "train"), ("test", "test"))
_COMPANY = re.compile(r" (?:Aircraft Company|Aircraft|Corporation|Aviation|(?<!British )Aerospace)$")


def read_fgvc(source: Path) -> Dataset:
    """The rows of both lists. `source` is the unpacked archive, or the folder that it was unpacked in."""
    base = base_of(source, "data", "fgvc-aircraft-2013b/data", marker="images_variant_*.txt")
    listing = Listing(FGVC, base)
    aliases: dict[str, tuple[str, ...]] = {}
    for part, split in _AIRCRAFT_LISTS:
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
    return Dataset(base, listing.rows, listing.problems(), notes, FGVC.name, aliases)


def aircraft_label(manufacturer: str, variant: str) -> str:
    """The manufacturer's short name before the variant, unless the variant's first word says it: 'Boeing 737-300'."""
    maker = _COMPANY.sub("", manufacturer)
    first = re.split(r"[ -]", variant, maxsplit=1)[0]
    says_it = [first.casefold()] == maker.casefold().split()[:1] or (maker, first) == ("British Aerospace", "BAE")
    return variant if says_it or not maker else f"{maker} {variant}"


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


def read_pld(source: Path) -> Dataset:
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
    return Dataset(base, listing.rows, listing.problems(), notes, PLD.name, leaf_aliases({f.name for f in folders}))


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


HAM10000 = Published(
    name="HAM10000",
    home="the HAM10000 page of Harvard Dataverse (Tschandl, Rosendahl and Kittler)",
    archives="HAM10000_metadata, HAM10000_images_part_1.zip and HAM10000_images_part_2.zip",
    train=5_007,
    test=5_008,
    classes=7,
)
DIAGNOSES = {
    "akiec": ("actinic keratosis", ("Bowen's disease", "intraepithelial carcinoma")),
    "bcc": ("basal cell carcinoma", ()),
    "bkl": ("benign keratosis", ("seborrheic keratosis", "solar lentigo", "lichen planus-like keratosis")),
    "df": ("dermatofibroma", ()),
    "mel": ("melanoma", ()),
    "nv": ("melanocytic nevus", ("melanocytic naevus",)),
    "vasc": ("vascular lesion", ("angioma", "angiokeratoma", "pyogenic granuloma")),
}
"""dx -> label and, as aliases, the diagnoses that the class was made of (and how else it is spelt)."""
_SIZE_NOTE_SLACK = 30
"""Images by which the halves may differ from the paper's without a note."""
_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "ham10000_images_part_1", "ham10000_images_part_2", "")


def read_ham10000(source: Path) -> Dataset:
    """The rows of the metadata, in halves. `source` holds the metadata and both folders of images."""
    base = base_of(source, "HAM10000", "ham10000", marker="HAM10000_metadata*")
    path = HAM10000.need(base, "HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
    folder_of = {
        file.stem: folder
        for folder in reversed(_FOLDERS)
        if (base / folder).is_dir()
        for file in (base / folder).glob("*.jpg")
    }
    listing = Listing(HAM10000, base)
    diagnosis_of: dict[str, str] = {}
    for where, record in _records(path):
        image, lesion, dx = (clean(record.get(column) or "") for column in ("image_id", "lesion_id", "dx"))
        if not image or not lesion:
            listing.wrong(where, "'image_id' or 'lesion_id' is missing; fill it in")
        elif dx not in DIAGNOSES:
            listing.wrong(where, f"dx '{dx}' is none of {', '.join(DIAGNOSES)}; correct it")
        elif diagnosis_of.setdefault(lesion, dx) != dx:
            listing.wrong(where, f"lesion {lesion} has the diagnoses '{diagnosis_of[lesion]}' and '{dx}'; keep one")
        else:
            folder = folder_of.get(image, _FOLDERS[0])
            listing.add(f"{folder}/{image}.jpg".lstrip("/"), DIAGNOSES[dx][0], "train", where, lesion)
    listing.rows = halve(listing.rows)
    aliases = dict(DIAGNOSES.values())
    return Dataset(base, listing.rows, listing.problems(), _notes(listing), HAM10000.name, aliases)


def _notes(listing: Listing) -> list[str]:
    train = sum(row.split == "train" for row in listing.rows)
    whole = len(listing.rows) == HAM10000.train + HAM10000.test
    if whole and abs(train - HAM10000.train) <= _SIZE_NOTE_SLACK and not empty_splits(HAM10000, listing.rows):
        return []
    return HAM10000.size_notes(listing.rows)


def _records(path: Path) -> list[tuple[str, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SeeWhyError(f"{path} cannot be read ({error}). {HAM10000.remedy}.") from error
    lines = text.splitlines()
    reader = csv.DictReader(lines, delimiter="\t" if "\t" in (lines or [""])[0] else ",")
    missing = [column for column in ("lesion_id", "image_id", "dx") if column not in (reader.fieldnames or [])]
    if missing:
        raise SeeWhyError(f"{path} lacks the column '{missing[0]}'. {HAM10000.remedy}.")
    return [(f"{path.name} line {reader.line_num}", record) for record in reader]


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


def read_chest_xray(source: Path) -> Dataset:
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
    return Dataset(base, named, problems, CHEST_XRAY.size_notes(named), CHEST_XRAY.name, ALIASES)
