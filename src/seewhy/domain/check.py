"""Find what is wrong, or worth knowing, with a data set before a run: the lint behind `seewhy data check`.

`load_domain` stops a run at what cannot be used. This looks at everything and continues: broken files, copies across
splits and classes, imbalance, labels inside other labels, how images are stored, the concept bank.

    error      a run stops there, or its figures would be wrong
    warning    a run continues and may be the worse for it
    note       to know

Near-duplicates are candidates by perceptual hash (pHash, ImageHash library: 64 bits of an image's low frequencies),
confirmed by thumbnails: photographs of one kind, chest X-rays for example, can agree in most bits. So a pair is a
near-duplicate if its hashes differ in at most `RADIUS` bits *and* its grey thumbnails, after normalising brightness and
contrast, differ little. Scaled, recompressed and slightly retouched copies are found; turned, flipped and strongly
cropped ones are not. Shapes: N images, 64-bit hashes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import imagehash
import numpy as np
from PIL import Image

from seewhy.config import DataConfig
from seewhy.domain.concepts import ConceptBank, fit_concepts, unused_classes
from seewhy.domain.domain import class_problems, example_ids, read_bank, with_aliases
from seewhy.domain.images import Inspected
from seewhy.domain.inspection import inspect_images
from seewhy.domain.loaders import SPLITS, Dataset, Row
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.loaders.truth import load_truth
from seewhy.domain.notes import left_out_notes, spoken_notes
from seewhy.domain.problems import Size, size_problems
from seewhy.domain.questions import Questions
from seewhy.domain.text import name_key
from seewhy.errors import SeeWhyError
from seewhy.records import Example

BITS = 64
RADIUS = 6
"""Bits in which the hashes of a copy may differ."""
SIDE = 16
"""Pixels of a thumbnail's side."""
MOST_DIFFERENCE = 0.15
"""Root mean square difference of two thumbnails, each brought to mean 0 and standard deviation 1."""
_LEAST_CONTRAST = 2.0
"""Standard deviation, in grey levels, below which an image is flat and looks like every other flat one."""
_BLOCK = 2**22
"""Pairs compared at a time."""


def signature(image: Image.Image) -> tuple[int, np.ndarray]:
    """Return (perceptual hash, grey thumbnail of SIDE x SIDE as uint8) of an RGB image."""
    bits = np.packbits(imagehash.phash(image).hash.flatten())
    thumbnail = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return int.from_bytes(bits.tobytes(), "big"), np.asarray(thumbnail, dtype=np.uint8)


def near_duplicates(hash_N: np.ndarray, thumbnail_NSS: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (i, j), i < j, of images that look alike, in order. Flat images are like none."""
    flat_NP = thumbnail_NSS.reshape(len(thumbnail_NSS), -1).astype(np.float32)
    contrast_N = flat_NP.std(axis=1)
    known_M = np.flatnonzero(contrast_N >= _LEAST_CONTRAST)
    if len(known_M) < 2:
        return []
    look_MP = flat_NP[known_M] - flat_NP[known_M].mean(axis=1, keepdims=True)
    look_MP /= contrast_N[known_M, None]
    found: set[tuple[int, int]] = set()
    for i_K, j_K in close_pairs(hash_N[known_M]):
        difference_K = np.sqrt(np.mean((look_MP[i_K] - look_MP[j_K]) ** 2, axis=1))
        alike_K = difference_K <= MOST_DIFFERENCE
        found.update(zip(known_M[i_K[alike_K]].tolist(), known_M[j_K[alike_K]].tolist(), strict=True))
    return sorted(found)


def close_pairs(hash_N: np.ndarray, radius: int = RADIUS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of pairs (i, j), i < j, whose hashes (uint64) differ in at most `radius` bits, some more than once.

    The 64 bits are cut into radius + 1 bands. Two hashes that close agree in one band entirely, so only images with the
    same value of a band are compared: for 50,000 images some million pairs in place of a billion.
    """
    hash_N = hash_N.astype(np.uint64)
    cuts = np.linspace(0, BITS, radius + 2).astype(int)
    for low, high in pairwise(cuts.tolist()):
        band_N = (hash_N >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order_N = np.argsort(band_N, kind="stable")
        starts = np.flatnonzero(np.diff(band_N[order_N], prepend=band_N[order_N[0]] + np.uint64(1)))
        for members in np.split(order_N, starts[1:]):
            if len(members) > 1:
                yield from _close_in(hash_N, np.sort(members), radius)


def _close_in(hash_N: np.ndarray, members: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _BLOCK // len(members))
    for first in range(0, len(members), step):
        some = members[first : first + step]
        distance = np.bitwise_count(hash_N[some, None] ^ hash_N[None, members])
        row, column = np.nonzero(distance <= radius)
        later = members[column] > some[row]
        if later.any():
            yield some[row[later]], members[column[later]]


FEW_IMAGES = 10
"""Train images below which a class is reported."""
MOST_UNEQUAL = 10.0
"""Train images of the largest class for each of the smallest from which on imbalance is told."""
SMALL_SIDE = 64
"""Pixels of the shorter side below which an image is reported."""
_GREY = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A finding. `items` are all files, rows, classes or phrases that it concerns."""

    level: Level
    kind: str
    message: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataCheck:
    """The number of images of each class in each split, and the findings, errors first."""

    name: str
    counts: Mapping[str, Mapping[str, int]]
    """label -> split -> images"""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        splits = {split: sum(of.get(split, 0) for of in self.counts.values()) for split in SPLITS}
        return {
            "name": self.name,
            "images": splits,
            "classes": {label: dict(of) for label, of in self.counts.items()},
            "errors": self.errors,
            "findings": [
                {"level": f.level, "kind": f.kind, "message": f.message, "items": list(f.items)} for f in self.findings
            ],
        }


@dataclass(frozen=True)
class Look:
    """An image without its pixels."""

    sha256: str
    mode: str
    is_transparent: bool
    shorter_side: int
    size: Size
    """Width and height as `load_image` gives it."""
    hash: int
    thumbnail_SS: np.ndarray


def check_data(
    data: DataConfig,
    evaluated: str = "test",
    cache: Path | None = None,
    refused_sizes: Callable[[Iterable[Size]], Mapping[Size, str]] | None = None,
) -> DataCheck:
    """Look at all of a data set. Raises SeeWhyError if it cannot be read at all (no folder, no index file).

    `evaluated` is the split that is measured on. `refused_sizes` says which image sizes the model's processor refuses,
    and why; it may raise SeeWhyError where the model is not at hand. Without it, sizes are not looked at.
    """
    dataset = read_data(data, cache)
    rows = dataset.rows
    findings = [Finding("warning", "layout", note) for note in dataset.notes]
    if dataset.problems:
        findings.append(Finding("error", "layout", "the data set as it lies on disk", tuple(dataset.problems)))
    seen = list(inspect_images(dataset, _look))
    looks = [None if isinstance(look, str) else look for look in seen]
    broken = [f"{row.where}{look}" for row, look in zip(rows, seen, strict=True) if isinstance(look, str)]
    if broken:
        findings.append(Finding("error", "broken files", "files that are no whole image", tuple(broken)))
    found, bank = _text_findings(data, dataset)
    findings += found
    findings += copy_findings(rows, looks, published=dataset.is_published)
    findings += group_findings(rows)
    findings += mode_findings(rows, looks)
    if refused_sizes is not None:
        findings += size_findings(rows, looks, refused_sizes)
    findings += balance_findings(rows, evaluated)
    findings += label_findings(rows, bank)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row.label][row.split] += 1
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.level))
    return DataCheck(dataset.name or Path(data.source).stem, dict(sorted(counts.items())), tuple(findings))


def _look(image: Inspected) -> Look:
    phash, thumbnail_SS = signature(image.image)
    side = min(image.width, image.height)
    return Look(image.sha256, image.mode, image.is_transparent, side, image.image.size, phash, thumbnail_SS)


def _text_findings(data: DataConfig, dataset: Dataset) -> tuple[list[Finding], ConceptBank]:
    """Noun and questions, the truth file, and the concept bank against the classes; and that bank."""
    findings: list[Finding] = []
    labels = sorted({row.label for row in dataset.rows})
    examples, root, phrases = _examples(dataset.rows), dataset.root, _phrases(data, dataset)
    for kind, read in (
        ("questions", lambda: Questions.for_noun(data.noun, data.questions)),
        ("truth", lambda: load_truth(Path(data.truth), examples, root, phrases) if data.truth else None),
    ):
        try:
            read()
        except SeeWhyError as error:
            findings.append(Finding("error", kind, str(error)))
    if data.truth and not any(finding.kind == "truth" for finding in findings):
        findings += [Finding("note", "truth", note) for note in left_out_notes(data.truth, root, examples)]
    if not dataset.is_published:
        findings += [Finding("note", "spoken labels", note) for note in spoken_notes(labels)]
    bank = ConceptBank({})
    path = Path(data.concepts) if data.concepts is not None else None
    if (path and not path.exists()) or (path is None and dataset.bank is None):
        where = f" at {path}" if path else "; set data.concepts"
        message = f"there is no concept bank yet{where} (`seewhy concepts draft` writes one)"
        findings.append(Finding("warning", "concepts", message))
    else:
        try:
            written, problems = read_bank(data, dataset)
            bank, misfits = fit_concepts(written, labels)
            if unused := unused_classes(written, labels):
                message = "the bank has concepts of classes without images, which are passed over"
                findings.append(Finding("note", "unused concepts", message, tuple(unused)))
        except SeeWhyError as error:
            problems, misfits = [str(error)], []
        if problems or misfits:
            findings.append(Finding("error", "concepts", "the concept bank", (*problems, *misfits)))
    known = ConceptBank({label: bank.get(label, ()) for label in labels}, bank.aliases)
    return findings, with_aliases(known, dataset.aliases)


def _phrases(data: DataConfig, dataset: Dataset) -> tuple[str, ...] | None:
    """Return the phrases of the concept bank; None if it cannot be read, which is said elsewhere."""
    try:
        return read_bank(data, dataset)[0].all_concepts
    except SeeWhyError:
        return None


def _examples(rows: Sequence[Row]) -> list[Example]:
    return [Example(i, row.image, "", row.label, row.split) for i, row in zip(example_ids(rows), rows, strict=True)]


def copy_findings(rows: Sequence[Row], looks: Sequence[Look | None], *, published: bool) -> Iterator[Finding]:
    """Return copies and near-copies, by what they put at risk.

    In a published data set's own splits they are warnings.
    """
    first: dict[str, int] = {}
    pairs: list[tuple[int, int, bool]] = []
    for index, look in enumerate(looks):
        if look and (other := first.setdefault(look.sha256, index)) != index:
            pairs.append((other, index, True))
    unique = sorted(first.values())
    seen = [look for index in unique if (look := looks[index])]
    if seen:
        hash_N = np.array([look.hash for look in seen], dtype=np.uint64)
        alike = near_duplicates(hash_N, np.stack([look.thumbnail_SS for look in seen]))
        pairs += [(unique[i], unique[j], False) for i, j in alike]
    found: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for i, j, same in pairs:
        where = "splits" if rows[i].split != rows[j].split else "classes" if rows[i].label != rows[j].label else ""
        found[where, same].append(f"{rows[j].where} and {rows[i].where}")
    remedy = {
        "splits": "across splits: what is measured was trained on; remove one of each",
        "classes": "across classes: one of the labels is wrong; remove one of each",
        "": "within one class and split: they count twice",
    }
    for (where, same), items in sorted(found.items(), key=lambda pair: (pair[0][0] == "", pair[0])):
        refused = where and same and not published
        level: Level = "error" if refused else "warning" if where else "note"
        kind = f"{'copies' if same else 'near-copies'}{f' across {where}' if where else ''}"
        what = "the same file twice, " if same else "images that look alike, "
        yield Finding(level, kind, what + remedy[where], tuple(items))


def group_findings(rows: Sequence[Row]) -> Iterator[Finding]:
    """Return groups (lesions, patients, leaves) of which images lie in more than one split."""
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group:
            splits[row.group].add(row.split)
    if leaks := [f"{group}: {', '.join(s for s in SPLITS if s in of)}" for group, of in splits.items() if len(of) > 1]:
        message = "images of one lesion, patient or leaf in several splits: what is measured was in part trained on"
        yield Finding("warning", "groups across splits", message, tuple(leaks))


def mode_findings(rows: Sequence[Row], looks: Sequence[Look | None]) -> Iterator[Finding]:
    """Return how images are stored, where that is not plain RGB or grey; and very small ones."""
    stored: dict[str, list[str]] = defaultdict(list)
    small = []
    for row, look in zip(rows, looks, strict=True):
        if look is None:
            continue
        kind = _stored_as(look)
        if kind:
            stored[kind].append(row.where)
        if look.shorter_side < SMALL_SIDE:
            small.append(f"{row.where}: {look.shorter_side} pixels")
    for kind, items in sorted(stored.items()):
        yield Finding("note", "image modes", f"images with {kind}", tuple(items))
    if small:
        yield Finding("warning", "small images", f"images with a side under {SMALL_SIDE} pixels", tuple(small))
    seen = [(row.where, look.mode in _GREY) for row, look in zip(rows, looks, strict=True) if look]
    grey = [where for where, is_grey in seen if is_grey]
    colour = [where for where, is_grey in seen if not is_grey]
    if grey and colour:
        rarer, others = ("grey", "colour") if len(grey) <= len(colour) else ("colour", "grey")
        message = f"{rarer} images among {others} ones: a shortcut, where classes differ in it"
        yield Finding("note", "image modes", message, tuple(grey if rarer == "grey" else colour))


def _stored_as(look: Look) -> str:
    """Return what is unusual about an image's pixels, and how they are read; nothing for RGB and 8-bit grey."""
    if look.mode.startswith("I;16"):
        return "16 bits a pixel, read as 8"
    if look.mode in ("I", "F"):
        return "32 bits a pixel, stretched to 8"
    if look.is_transparent:
        return "transparency, read as on white"
    if look.mode == "P":
        return "a palette, read as RGB"
    if look.mode in ("CMYK", "YCCK"):
        return "CMYK colours, read as RGB"
    return "" if look.mode in (*_GREY, "RGB") else f"mode {look.mode}, read as RGB"


def size_findings(
    rows: Sequence[Row], looks: Sequence[Look | None], refused_sizes: Callable[[Iterable[Size]], Mapping[Size, str]]
) -> Iterator[Finding]:
    """Return images of a size that the model's processor refuses; a note where it cannot be asked."""
    images = [(row.where, look.size) for row, look in zip(rows, looks, strict=True) if look]
    if not images:
        return
    try:
        refused = refused_sizes({size for _, size in images})
    except SeeWhyError as error:
        yield Finding("note", "image sizes", f"sizes were not held against the model's processor: {error}")
        return
    if items := size_problems(images, refused):
        yield Finding("error", "image sizes", "images of a size that the model's processor refuses", tuple(items))


def balance_findings(rows: Sequence[Row], evaluated: str) -> Iterator[Finding]:
    """Empty splits, classes with few train images, and unequal classes."""
    splits = Counter(row.split for row in rows)
    for split in SPLITS:
        if not splits[split]:
            stops = split in ("train", evaluated)
            remedy = "add images" if split != "val" else "data.val_share takes some from train, to choose settings by"
            yield Finding("error" if stops else "note", "splits", f"there is no {split} image; {remedy}")
    labels = sorted({row.label for row in rows})
    train = Counter(row.label for row in rows if row.split == "train")
    few = [f"{label}: {train[label]}" for label in labels if 0 < train[label] < FEW_IMAGES]
    if few:
        yield Finding("warning", "imbalance", f"classes with fewer than {FEW_IMAGES} train images", tuple(few))
    if train and max(train.values()) > MOST_UNEQUAL * min(train.values()):
        (most, many), (least, little) = train.most_common()[0], train.most_common()[-1]
        message = f"'{most}' has {many:,} train images and '{least}' {little:,}; accuracy is mostly that of the large"
        yield Finding("warning", "imbalance", message)
    if splits[evaluated]:
        measured = {row.label for row in rows if row.split == evaluated}
        absent = [label for label in labels if label not in measured]
        if absent:
            message = f"classes without {evaluated} images: nothing is measured of them"
            yield Finding("warning", "imbalance", message, tuple(absent))


def label_findings(rows: Sequence[Row], bank: ConceptBank) -> Iterator[Finding]:
    """Return labels that cannot be told apart or said, and labels inside others."""
    if problems := class_problems(rows, bank):
        yield Finding("error", "labels", "labels and classes", tuple(problems))
    keys = {name_key(label): label for label in sorted({row.label for row in rows})}
    inside = [
        f"'{keys[part]}' in '{label}'"
        for key, label in keys.items()
        for length in range(1, len(key))
        for start in range(len(key) - length + 1)
        if (part := key[start : start + length]) in keys
    ]
    if inside:
        message = "labels inside others: an answer counts as the longest label that it names"
        yield Finding("note", "labels", message, tuple(inside))
