"""The field guide as a data set: draw it into a folder, as any user's data set lies on disk, with its ground truth.

    <folder>/images/{train,val,test}/<species>/000.png
    <folder>/concepts.yaml      the expert's list of each species
    <folder>/truth.jsonl        what is true of each image, visible or hidden, and where

Train, val and test images come from different seeds. The folder is written atomically.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import yaml

from seewhy.config import DataConfig
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.birds import draw_bird
from seewhy.fieldguide.draw import PART, VISIBLE_SHARE, Drawing
from seewhy.fieldguide.world import BIRD, Attribute, Look, Species, make_species, phrase
from seewhy.run.checksums import check_folder, write_sums
from seewhy.run.progress import progress
from seewhy.run.storage import write_atomically

_PART_OF = {"bill_shape": "bill", "bill_colour": "bill", "wings": "wing", "tail_shape": "tail", "tail_colour": "tail",
            "shape": "body", "skin": "body", "surface": "body"}  # fmt: skip
_ABSENT = {"crest": "crown", "eye_ring": "eye", "collar": "collar", "wing_bar": "wing", "stem": "body",
           "leaves": "body", "flesh": "body", "marks": "body"}  # fmt: skip
"""Where one looks to see that something is not there."""
_PRESENT = {"marks": "mark"}


def part_of(attribute: Attribute, look: Look) -> str:
    """Return the part that shows the value `look` has of an attribute."""
    name = attribute.name
    if look[name] == "none":
        return _ABSENT[name]
    return _PART_OF.get(name) or _PRESENT.get(name, name)


def is_visible(part: str, drawing: Drawing) -> bool:
    """Return whether enough of a part is seen: at least 35 % of its pixels, and never fewer than 12."""
    number = PART[part]
    seen = drawing.seen_P[number]
    return bool(seen >= 12 and seen >= VISIBLE_SHARE * drawing.full_P[number])


def attribute_visibility(
    drawing: Drawing, look: Look, attributes: tuple[Attribute, ...]
) -> Iterator[tuple[Attribute, str, bool]]:
    """Return each attribute with the part that shows it and whether that part can be seen."""
    for attribute in attributes:
        part = part_of(attribute, look)
        yield attribute, part, is_visible(part, drawing)


IMAGES: Mapping[str, int] = {"train": 30, "val": 10, "test": 20}
"""Images a species in each split."""
BASE = Path(str(files("seewhy.fieldguide") / "base" / "model"))
ENCODER = Path(str(files("seewhy.fieldguide") / "base" / "encoder"))


def make_guide(folder: Path, images: Mapping[str, int] = IMAGES) -> DataConfig:
    """Draw the field guide into `folder`, unless it is there, and return the settings that read it."""
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _draw_all(unfinished, images)
            write_sums(unfinished)
            unfinished.rename(folder)
        except OSError as error:
            raise SeeWhyError(
                f"{folder} cannot be written: {error.strerror}. Free some space and run again."
            ) from error
    else:
        check_folder(folder, f"Delete the folder {folder} and start again: it is drawn anew, as it was.")
    _complete(folder / "truth.jsonl")
    return DataConfig(
        source=str(folder / "images"),
        concepts=str(folder / "concepts.yaml"),
        noun="bird",
        truth=str(folder / "truth.jsonl"),
    )


def _complete(path: Path) -> None:
    """Mark every record of a truth file as complete, which a guide drawn by an older version lacks."""
    with path.open(encoding="utf-8") as file:
        if '"complete"' in file.readline():
            return
    records = [json.loads(line) | {"complete": True} for line in path.read_text(encoding="utf-8").splitlines()]
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in records).encode())


def with_guide(data: DataConfig, folder: Path) -> DataConfig:
    """Return `data` unchanged or, if its source is 'fieldguide', settings that read the guide drawn into `folder`."""
    if data.source != "fieldguide":
        return data
    return replace(make_guide(folder), noun=data.noun, questions=data.questions, per_class=data.per_class)


def _draw_all(folder: Path, images: Mapping[str, int]) -> None:
    species = make_species()
    truths = []
    with progress("drawing the field guide", total=len(species) * sum(images.values()), done=0) as advance:
        for split, count in images.items():
            for bird in species:
                place = folder / "images" / split / bird.name
                place.mkdir(parents=True)
                for number in range(count):
                    look, drawing = draw_example(bird, split, number)
                    path = place / f"{number:03d}.png"
                    drawing.image.save(path)
                    truths.append({"image": f"{split}/{bird.name}/{path.name}", **truth_of(bird, look, drawing)})
                advance(count)
    concepts = {bird.name: list(bird.concepts) for bird in species}
    (folder / "concepts.yaml").write_text(yaml.safe_dump(concepts, sort_keys=False), encoding="utf-8")
    (folder / "truth.jsonl").write_text("".join(json.dumps(t) + "\n" for t in truths), encoding="utf-8")


def draw_example(
    bird: Species, split: str, number: int, changed: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, str], Drawing]:
    """Return the plumage and the drawing of the `number`-th image of a species in a split.

    The values in `changed` replace the plumage's own; everything else in the drawing stays as it was.
    """
    seed = hashlib.sha256(f"{split}/{bird.name}/{number}".encode()).digest()
    rng = random.Random(int.from_bytes(seed[:8], "big"))
    look = {**rng.choice(bird.plumages), **changed}
    return look, draw_bird(look, rng)


def truth_of(bird: Species, look: Look, drawing: Drawing) -> dict[str, object]:
    """Return what is true of an image: visible phrases with their boxes, and hidden ones (out of sight, or not visual).

    What is listed for the other plumage alone is in neither: it is false of this bird, as the record is complete.
    """
    seen = {phrase(a, look): part for a, part, visible in attribute_visibility(drawing, look, BIRD) if visible}
    hidden = [phrase(a, look) for a, _, visible in attribute_visibility(drawing, look, BIRD) if not visible]
    return {
        "visible": list(seen),
        "hidden": [*hidden, *bird.unseen],
        "boxes": {text: drawing.box(part) for text, part in seen.items()},
        "complete": True,
    }
