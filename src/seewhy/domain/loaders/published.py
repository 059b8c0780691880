"""Published data sets: what is known of each, the checks that their readers share, and the readers.

The expected sizes are those of docs/method.md. Another size is a note and not an error: a user may work on a part on
purpose. An index file or a listed image that is missing is an error that names the archive it is part of.
"""

import csv
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from seewhy.domain.loaders import Dataset, Row, Split
from seewhy.domain.loaders.folder import halve, hold_out, image_files, label_of, read_folder
from seewhy.domain.problems import clean, path_problem
from seewhy.domain.text import read_words
from seewhy.errors import SeeWhyError


@dataclass(frozen=True)
class Published:
    """A data set as its authors and the paper describe it."""

    name: str
    home: str
    """Where to get it, in words."""
    archives: str
    """What to unpack into the data folder."""
    train: int
    test: int
    classes: int

    @property
    def remedy(self) -> str:
        return f"It is part of {self.archives}, from {self.home}"

    def error(self, what: str) -> SeeWhyError:
        """Return an error about files that are missing or damaged."""
        return SeeWhyError(f"{what}. {self.remedy}; unpack it again.")

    def missing(self, path: Path, where: str = "is not there") -> SeeWhyError:
        return SeeWhyError(f"{self.name}: {path} {where}. {self.remedy}; unpack it again, or correct data.source.")

    def need(self, base: Path, *names: str) -> Path:
        """Return the first of `names` that exists as a file. Raises SeeWhyError if none does."""
        found = next((base / name for name in names if (base / name).is_file()), None)
        if found is None:
            raise self.missing(base / names[0])
        return found

    @contextmanager
    def reading(self, base: Path, name: str) -> Iterator[None]:
        """Raise SeeWhyError for a line of an index file that lacks a number, a word or a known id."""
        try:
            yield
        except (ValueError, LookupError) as error:
            raise self.error(f"{base / name} is damaged ({error})") from error

    def read_text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise self.error(f"{path} cannot be read ({error})") from error

    def lines(self, base: Path, *names: str) -> list[tuple[str, list[str]]]:
        """Return (how errors name it, its words) for each non-empty line of an index file."""
        path = self.need(base, *names)
        numbered = enumerate(self.read_text(path).splitlines(), 1)
        return [(f"{path.name} line {number}", line.split()) for number, line in numbered if line.strip()]

    def records(self, path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
        """Return (how errors name it, the values of `columns`) for each line of a table with commas or tabs.

        Raises SeeWhyError if the table cannot be read or lacks one of the columns.
        """
        lines = self.read_text(path).splitlines()
        reader = csv.DictReader(lines, delimiter="\t" if "\t" in (lines or [""])[0] else ",")
        try:
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise self.error(f"{path} lacks the column '{missing[0]}'")
            return [
                (f"{path.name} line {reader.line_num}", {column: record[column] or "" for column in columns})
                for record in reader
            ]
        except csv.Error as error:
            raise self.error(f"{path} line {reader.line_num + 1} cannot be read ({error})") from error

    def empty_splits(self, rows: Iterable[Row], needed: Sequence[Split] = ("train", "test")) -> list[str]:
        """Return a problem for each of the `needed` splits that has no image."""
        filled = {row.split for row in rows}
        empty = (split for split in needed if split not in filled)
        return [f"{self.name} has no {split} image here. {self.remedy}; unpack it again." for split in empty]

    def size_notes(self, rows: Iterable[Row]) -> list[str]:
        """Return a note if the data set has another size than the paper's."""
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


_DATA = read_words("loaders/published.yaml")
SETS = {layout: Published(**record) for layout, record in _DATA["sets"].items()}
"""The data sets by their `data.layout`."""
CUB, DOGS, FGVC = SETS["cub200"], SETS["dogs"], SETS["fgvc"]
PLD, HAM10000, CHEST_XRAY, WBCATT = SETS["pld"], SETS["ham10000"], SETS["chest_xray"], SETS["wbcatt"]


@dataclass
class Listing:
    """Collects the rows of an index and what is wrong with them. Missing images are counted, not listed."""

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

    def problems(self, needed: Sequence[Split] = ("train", "test")) -> list[str]:
        """Return everything that is wrong, including `needed` splits that are empty."""
        problems = list(self._problems)
        if self._missing:
            listed = len(self._missing) + len(self.rows)
            problems.append(
                f"{len(self._missing):,} of {listed:,} listed images are not there, the first is {self._missing[0]}: "
                f"the download is partial. {self.published.remedy}; unpack it again."
            )
        return problems + self.published.empty_splits(self.rows, needed)

    def dataset(self, aliases: Mapping[str, tuple[str, ...]] | None = None, notes: list[str] | None = None) -> Dataset:
        """Return the data set; `notes` are those on its size by default."""
        notes = self.published.size_notes(self.rows) if notes is None else notes
        return Dataset(self.root, self.rows, self.problems(), notes, self.published.name, aliases or {})


def base_of(source: Path, *inside: str, marker: str) -> Path:
    """Return the folder that holds `marker` (a name or a pattern): `source`, or one of the folders `inside` it.

    `source` if none does, so that errors name what is missing where the user would look for it.
    """
    bases = (source, *(source / name for name in inside))
    return next((base for base in bases if base.is_dir() and any(base.glob(marker))), source)


# Stanford Dogs -------------------------------------------------------------------------------------------------------

_READ_ERRORS = (OSError, ValueError, TypeError, LookupError, NotImplementedError, AttributeError, zlib.error)
"""What SciPy raises on a damaged file, depending on where it is damaged, besides its own error."""
_DOG_LISTS: tuple[tuple[str, Split], ...] = (("train_list.mat", "train"), ("test_list.mat", "test"))


def read_dogs(source: Path) -> Dataset:
    """Read Stanford Dogs: 20,580 photographs of 120 breeds, with the authors' train and test lists.

        Images/n02085620-Chihuahua/n02085620_5927.jpg      images.tar
        train_list.mat, test_list.mat                      lists.tar; in the folder itself, or in lists/

    `source` holds these, or a folder stanford_dogs that does. A breed's name is that of its folder without the WordNet
    number: "Chihuahua", "toy poodle". The boxes of Annotation/ are not read.
    """
    base = base_of(source, "stanford_dogs", "StanfordDogs", marker="Images")
    listing = Listing(DOGS, base)
    for name, split in _DOG_LISTS:
        path = DOGS.need(base, name, f"lists/{name}")
        for number, file in enumerate(_dog_files(path), 1):
            listing.add(f"Images/{file}", label_of(PurePosixPath(file).parent.name), split, f"{name} entry {number}")
    return listing.dataset()


def _dog_files(path: Path) -> list[str]:
    """Return the image paths of a list, below Images/."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return [str(cell.item()) for cell in loadmat(path)["file_list"].ravel()]
    except (MatReadError, *_READ_ERRORS) as error:
        raise DOGS.error(f"{path} is no list of Stanford Dogs ({error})") from error


# FGVC-Aircraft -------------------------------------------------------------------------------------------------------

_AIRCRAFT_LISTS: tuple[tuple[str, Split], ...] = (("trainval", "train"), ("test", "test"))
_COMPANY = re.compile(r" (?:Aircraft Company|Aircraft|Corporation|Aviation|(?<!British )Aerospace)$")


def read_fgvc(source: Path) -> Dataset:
    """Read FGVC-Aircraft at the level of variants: 10,000 photographs of 100 variants.

        data/images/0034309.jpg
        data/images_variant_trainval.txt, data/images_variant_test.txt                 "0034309 737-300"
        data/images_manufacturer_trainval.txt, data/images_manufacturer_test.txt       "0034309 Boeing"

    `source` is the unpacked archive, or the folder that it was unpacked in. The authors' trainval (6,667) is the train
    split, as in the paper; `data.val_share` takes validation images out of it. A label is the manufacturer's short name
    and the variant, "Boeing 737-300"; the variant alone is an alias. The line of credits on each photograph stays.
    """
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
    return listing.dataset(aliases)


def aircraft_label(manufacturer: str, variant: str) -> str:
    """Return 'Boeing 737-300': the maker's short name and the variant; the variant alone if its first word has it."""
    maker = _COMPANY.sub("", manufacturer)
    first = re.split(r"[ -]", variant, maxsplit=1)[0]
    says_it = [first.casefold()] == maker.casefold().split()[:1] or (maker, first) == ("British Aerospace", "BAE")
    return variant if says_it or not maker else f"{maker} {variant}"


# Plant leaf diseases -------------------------------------------------------------------------------------------------

TRAIN_SHARE = PLD.train / (PLD.train + PLD.test)
_NESTED = "New Plant Diseases Dataset(Augmented)"
_BASES = ("", _NESTED, f"{_NESTED}/{_NESTED}", "color", "raw/color", "Images")
_ALTERED = re.compile(r"_(?:(?:new)?\d+deg(?:FlipLR)?|flip(?:LR|TB)|newPixel\d+)$", re.IGNORECASE)
_PHOTOGRAPH = re.compile(r"^[0-9a-f]{8}-[0-9a-f-]{20,}(?=___)")


def read_pld(source: Path) -> Dataset:
    """Read plant leaf diseases: photographs of single leaves in class folders called <Plant>___<condition>.

        New Plant Diseases Dataset(Augmented)/New Plant Diseases Dataset(Augmented)/train/<class>/*, valid/<class>/*
        raw/color/<class>/*            PlantVillage, of which the former is an augmented copy
        Images/<class>/*               as the research code lays it out

    The paper trains on a tenth (5,279) and tests on the rest (47,523) of the photographs of 37 classes; its lists are
    not published. So here, whatever folder an image was in:

    1. Turned, flipped or altered copies are left out: of the images of one photograph (`photograph_of`) the one with
       the shortest name stays. New Plant Diseases has copies of one leaf in both train/ and valid/, so its own
       division measures memory.
    2. In each class, a tenth of the photographs in the order of the SHA-256 of their names is train (`hold_out`).

    A label is what follows "This is a ...": "apple leaf with apple scab", "healthy corn leaf".
    """
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
    return listing.dataset(leaf_aliases({folder.name for folder in folders}))


def _class_folders(source: Path) -> tuple[Path, list[Path]]:
    """Return the folder to read, and the class folders in it or in its train/ and valid/."""
    for base in (source / name for name in _BASES):
        places = [base / "train", base / "valid"] if (base / "train").is_dir() else [base]
        missing = [place.name for place in places if not place.is_dir()]
        folders = [f for place in places if place.is_dir() for f in sorted(place.glob("*___*")) if f.is_dir()]
        if folders and missing:
            raise PLD.missing(base / missing[0])
        if folders:
            return base, folders
    where = "has no class folders <Plant>___<condition>, nor have train/ and valid/, color/ or Images/ in it"
    raise PLD.missing(source, where)


def photograph_of(name: str) -> str:
    """Return what the file names of one photograph's images share: up to "___", or without an ending like _90deg."""
    stem = PurePosixPath(name).stem
    if found := _PHOTOGRAPH.match(stem.lower()):
        return found.group()
    return _ALTERED.sub("", stem)


def _parts(folder: str) -> tuple[str, str]:
    """Return (plant, condition) of a class folder, in the words of a label."""
    plant, _, condition = (clean(part.replace("_", " ")).casefold() for part in folder.partition("___"))
    return (names := _DATA["leaf_names"]).get(plant, plant), names.get(condition, condition)


def leaf_label(folder: str) -> str:
    """Return 'Pepper,_bell___Bacterial_spot' -> 'bell pepper leaf with bacterial spot'."""
    plant, condition = _parts(folder)
    return f"healthy {plant} leaf" if condition == "healthy" else f"{plant} leaf with {condition}"


def leaf_aliases(folders: set[str]) -> dict[str, tuple[str, ...]]:
    """Return other names of each label; the condition alone if only one plant of `folders` has it."""
    parts = {leaf_label(folder): _parts(folder) for folder in sorted(folders)}
    plants = Counter(condition for _, condition in parts.values())
    aliases = {}
    for label, (plant, condition) in parts.items():
        if condition == "healthy":
            aliases[label] = (f"healthy {plant}",)
            continue
        names = (condition, *_DATA["leaf_aliases"].get(condition, ()))
        said = [f"{plant} {name}" for name in names if not name.startswith(plant)]
        aliases[label] = (*said, *(names if plants[condition] == 1 else ()))
    return aliases


# HAM10000 ------------------------------------------------------------------------------------------------------------

DIAGNOSES = {dx: (label, tuple(aliases)) for dx, (label, *aliases) in _DATA["diagnoses"].items()}
"""dx -> label and aliases."""
_SIZE_NOTE_SLACK = 30
"""Images by which the halves may differ from the paper's without a note."""
_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "ham10000_images_part_1", "ham10000_images_part_2", "")


def read_ham10000(source: Path) -> Dataset:
    """Read HAM10000: 10,015 dermatoscopic images of 7,470 pigmented skin lesions, seven diagnoses.

        HAM10000_metadata (or .csv, .tab)                         lesion_id, image_id, dx, ...
        HAM10000_images_part_1/ISIC_0027419.jpg, HAM10000_images_part_2/...

    It has no splits of its own. Here each diagnosis is halved by lesion (`halve`), so that no lesion is in two splits
    and every machine makes the same halves, of about the paper's 5,007 and 5,008. The paper's own division is not
    published, so its figures are not those of the same images.
    """
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
    columns = ("lesion_id", "image_id", "dx")
    for where, record in HAM10000.records(path, columns):
        lesion, image, dx = (clean(record[column]) for column in columns)
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
    train = sum(row.split == "train" for row in listing.rows)
    whole = len(listing.rows) == HAM10000.train + HAM10000.test
    as_expected = whole and abs(train - HAM10000.train) <= _SIZE_NOTE_SLACK and not HAM10000.empty_splits(listing.rows)
    return listing.dataset(dict(DIAGNOSES.values()), [] if as_expected else None)


# Chest X-ray ---------------------------------------------------------------------------------------------------------

LABELS = {folder: label for folder, (label, *_) in _DATA["chest_xray"].items()}
ALIASES = {label: tuple(aliases) for label, *aliases in _DATA["chest_xray"].values()}
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")


def read_chest_xray(source: Path) -> Dataset:
    """Read Chest X-ray images (pneumonia): 5,856 children's X-rays, normal or with pneumonia.

        chest_xray/train/NORMAL/IM-0115-0001.jpeg
        chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg
        chest_xray/val/..., chest_xray/test/...

    `source` is the folder chest_xray, or the one that it was unpacked in. The splits are the authors'. Their val split
    has 16 images, too few to choose by; `data.val_share` adds to it from train, and keeps the X-rays of one patient (by
    their file names) together.
    """
    base = base_of(source, "chest_xray", "chest_xray/chest_xray", marker="train/NORMAL")
    for folder in (f"{split}/{name}" for split in ("train", "test") for name in LABELS):
        if not (base / folder).is_dir():
            raise CHEST_XRAY.missing(base / folder)
    rows, problems = read_folder(base)
    listing = Listing(CHEST_XRAY, base, _problems=problems)
    for row in rows:
        _, folder, file = PurePosixPath(row.image).parts[:3]
        if folder not in LABELS:
            listing.wrong(row.where, f"is in neither of {' and '.join(LABELS)}; move or remove it")
            continue
        patient = _PATIENT.match(file)
        listing.rows.append(replace(row, label=LABELS[folder], group=f"{folder}/{patient.group()}" if patient else ""))
    return listing.dataset(ALIASES)
