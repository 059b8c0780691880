"""HAM10000: 10,015 dermatoscopic images of 7,470 pigmented skin lesions, seven diagnoses.

    HAM10000_metadata (or .csv, .tab)                         lesion_id, image_id, dx, ...
    HAM10000_images_part_1/ISIC_0027419.jpg, HAM10000_images_part_2/...

It comes without splits. Here each diagnosis is halved by lesion: in the order of the SHA-256 of `lesion_id`, a lesion
goes to the half that has fewer images of the diagnosis so far, test first (`splitting.halve`). So no lesion is in two
splits, every machine makes the same halves, and they come to about the paper's 5,007 and 5,008. The paper's own
division is not published, so figures on it and on this one are not those of the same images.
"""

import csv
from pathlib import Path

from seewhy.domain.loaders import Reading
from seewhy.domain.loaders.published import Listing, Published, base_of, empty_splits
from seewhy.domain.loaders.splitting import halve
from seewhy.domain.problems import clean
from seewhy.errors import SeeWhyError

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


def read_ham10000(source: Path) -> Reading:
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
    return Reading(base, listing.rows, listing.problems(), _notes(listing), HAM10000.name, aliases)


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
