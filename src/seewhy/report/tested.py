"""The page's section on whether the reasons hang on the image, from RUN/faithfulness.json (`seewhy faithfulness`).

Its examples are of the method's model (or the first one tested): one of each fate, the one whose name has the lowest
hash, so that nobody chose them. Drawings are drawn again, where they are the very ones that were tested.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import draw_example, truth_of
from seewhy.fieldguide.redraw import attribute_of, covered
from seewhy.fieldguide.world import BIRD, make_species
from seewhy.proof.interventions import mention
from seewhy.proof.stated import StatedConcepts
from seewhy.report.cards import clip
from seewhy.report.figures import model_name, of_group
from seewhy.report.pictures import Picture, Pictures
from seewhy.report.sections import Model, mapping, models_of, number, over_seeds, read, table, text

FILE, VERB = "faithfulness.json", "faithfulness"
FATES = {
    "follows": "The attribute is drawn with another value, and the new one is stated",
    "survives": "The attribute is drawn with another value, and the old one is stated all the same",
    "hidden": "A leaf lies on the part, and the reason is stated all the same",
    "silent": "The attribute is drawn with another value, and nothing is said of it",
    "misread": "The attribute is drawn with another value, and a third one is stated",
}
EXAMPLES = 4
BUDGET = 200_000
"""Characters of the examples' drawings."""
VERDICTS = {"follows": "right", "survives": "wrong", "hidden": "wrong"}
"""Whether a reason was read off the image; of another fate that remains open."""

Span = tuple[str, bool]
"""Part of an answer, and whether it is what the example is about."""


@dataclass(frozen=True)
class Trial:
    """One entry of the file's log."""

    example: str
    reason: str
    new: str
    fate: str
    answer: str
    changed: str
    hidden: str


@dataclass(frozen=True)
class Tested:
    """What one file holds."""

    split: str
    images: int
    reasons: int
    resamples: int
    models: Mapping[str, Model]
    notes: tuple[str, ...]
    shown: str
    """The model whose tests are the examples."""
    tests: tuple[Trial, ...]


def read_tested(run: Path) -> Tested | None:
    """None where nothing was tested. Raises SeeWhyError for a file that cannot be used."""
    return read(run, FILE, VERB, _parsed)


def tested_values(found: Sequence[Tested], drawings: Path) -> dict[str, Any]:
    """What the section shows of one run, or of the seeds of a comparison, which were all tested in the same way.

    `drawings` is the folder of the field guide's images, where there is one. Raises SeeWhyError where the seeds were
    tested in different ways.
    """
    first = found[0]
    ways = {(of.split, of.images, of.reasons) for of in found}
    if len(ways) > 1:
        raise SeeWhyError(
            "The seeds were tested in different ways and cannot be averaged. Give `seewhy faithfulness` each of their"
            " folders with the same --split, --images and --reasons."
        )
    models = over_seeds([of.models for of in found], first.resamples)
    pictures = Pictures(BUDGET)
    return {
        "images": first.images,
        "split": first.split,
        "reasons": first.reasons,
        "table": table(of_group("faithfulness", detail=False), models),
        "own": models[first.shown].figures if first.shown in models else {},
        "notes": sorted({note for of in found for note in of.notes}),
        "model": model_name(first.shown).replace("Round", "round"),
        "fates": _fates(first.tests),
        "tests": len(first.tests),
        "examples": [_shown(kind, test, drawings, pictures) for kind, test in examples(first.tests)],
    }


def examples(tests: Sequence[Trial]) -> list[tuple[str, Trial]]:
    """(fate, trial) of up to four fates, no reason of one image twice; a rare fate has the first choice."""
    found: dict[str, Trial] = {}
    for kind in sorted(FATES, key=lambda kind: VERDICTS.get(kind) != "wrong"):
        of = [t for t in tests if (t.reason in _stated()(t.hidden) if kind == "hidden" else t.fate == kind)]
        taken = {(t.example, t.reason) for t in found.values()}
        left = [t for t in of if (t.example, t.reason) not in taken]
        if left and len(found) < EXAMPLES:
            found[kind] = min(left, key=lambda t: hashlib.sha256(f"{t.example}\0{t.reason}".encode()).digest())
    return [(kind, found[kind]) for kind in FATES if kind in found]


def _parsed(found: dict[str, Any]) -> Tested:
    models = models_of(found)
    entries = [mapping(of) for of in found["models"].values()]
    own = mapping(found["models"].get("rounds", entries[0] if entries else {}))
    tests = own.get("tests", ())
    return Tested(
        text(found["split"]),
        int(number(found["images"])),
        int(number(found["reasons"])),
        int(number(found["resamples"])),
        models,
        tuple(text(note) for of in entries for note in of.get("notes", ())),
        text(own.get("model", "")),
        tuple(Trial(**{name: text(mapping(test)[name]) for name in Trial.__dataclass_fields__}) for test in tests),
    )


def _fates(tests: Sequence[Trial]) -> str:
    """'76 state the new value, 14 say nothing of it, 3 state a third one, 3 the old one'."""
    told = {"follows": "state the new value", "silent": "nothing of the attribute", "misread": "a third value",
            "survives": "still the old one"}  # fmt: skip
    counts = Counter(test.fate for test in tests)
    return ", ".join(f"{counts[fate]} {words}" for fate, words in told.items() if counts[fate])


@cache
def _stated() -> StatedConcepts:
    """Finds what the field guide's experts say of a bird."""
    return StatedConcepts([phrases[0] for attribute in BIRD for phrases in attribute.values.values()])


def _shown(kind: str, test: Trial, drawings: Path, pictures: Pictures) -> dict[str, Any]:
    after = test.hidden if kind == "hidden" else test.changed
    verdict = VERDICTS.get(kind, "open")
    marked = {"right": [test.new], "wrong": [test.reason], "open": _third(test, after)}[verdict]
    drawn = _drawings(kind, test, drawings / f"{test.example}.png")
    before_after = [pictures.drawing(image) if image else Picture("") for image in drawn]
    return {
        "title": FATES[kind], "verdict": verdict, "reason": test.reason, "label": test.example.split("/")[-2:][0],
        "id": test.example, "new": "" if kind == "hidden" else test.new,
        "before": _marked(test.answer, [test.reason]), "after": _marked(after, marked),
        "pictures": before_after if all(picture.uri for picture in before_after) else [],
    }  # fmt: skip


def _third(test: Trial, after: str) -> list[str]:
    """What a misread attribute is said to be."""
    if test.fate != "misread" or not (found := attribute_of(test.reason)):
        return []
    return [said for said in _stated()(after) if any(said in phrases for phrases in found[0].values.values())]


def _marked(answer: str, concepts: Sequence[str]) -> list[Span]:
    """An answer cut where the words of these concepts begin and end."""
    shown = clip(answer)
    spans = sorted(span for concept in concepts for span in mention(concept, shown))
    parts: list[Span] = []
    at = 0
    for start, end in spans:
        if start >= at:
            parts += [(shown[at:start], False), (shown[start:end], True)]
            at = end
    return [part for part in (*parts, (shown[at:], False)) if part[0]]


def _drawings(kind: str, test: Trial, path: Path) -> tuple[Image.Image | None, Image.Image | None]:
    """The drawing as it was and as it was changed; nothing where it is no longer the one that was tested."""
    split, _, rest = test.example.partition("/")
    label, _, digits = rest.rpartition("/")
    bird = next((species for species in make_species() if species.name == label), None)
    old, new = attribute_of(test.reason), attribute_of(test.new)
    if bird is None or old is None or new is None or not digits.isdecimal():
        return None, None
    try:
        own = load_image(str(path))
    except SeeWhyError:
        return None, None
    look, drawing = draw_example(bird, split, int(digits))
    if drawing.image.tobytes() != own.tobytes():
        return None, None
    if kind != "hidden":
        return own, draw_example(bird, split, int(digits), {old[0].name: new[1]})[1].image
    boxes: Any = truth_of(bird, look, drawing)["boxes"]
    return own, covered(own, boxes[test.reason]) if test.reason in boxes else None
