"""An explanation with its photo: as text, as HTML in a notebook or a page, as values for JSON, as pictures in a folder.

`print(explanation)` gives what `seewhy explain` prints. In a notebook, or on a page, the photo stands beside the answer
and the overlay of each reason can be switched; that needs no script.
"""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.proof.heatmaps import Region
from seewhy.report.pictures import captioned, data_uri, heat_box, overlay, veil, where
from seewhy.results import Box, Explained, Reason
from seewhy.run.progress import console
from seewhy.run.storage import disk

SIDE = 640
"""Longest side of the photo in HTML, in pixels."""
WIDTH = 120
"""Columns of the text."""


@dataclass(frozen=True)
class Explanation:
    """What a model says of one photo, and where it looks. `heats` is concept -> its attribution map (R, K).

    Example:
        >>> explanation = seewhy.FinishedRun.open("runs/birds").explain("photo.png", samples=2)
        >>> explanation.label, explanation.boxes
        (None, {})
    """

    said: Explained
    model: str
    """The model's name: "round 2", "nl/round 2", "base"."""
    question: str
    picture: Image.Image
    heats: Mapping[str, np.ndarray]
    region: Region
    """What the patches cover, in pixels of `picture`."""

    @property
    def label(self) -> str | None:
        """The label that the greedy answer names; None where it names none of the run's labels, or several."""
        return self.said.label

    @property
    def confidence(self) -> float:
        """The share of sampled answers that name the label: how steady the model is, not how often it is right."""
        return self.said.confidence

    @property
    def answer(self) -> str:
        """The greedy answer."""
        return self.said.answer

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The concepts that the answer states, each with its support."""
        return self.said.reasons

    @property
    def boxes(self) -> dict[str, Box]:
        """Concept -> the rectangle around the patches that counted most, in pixels of `picture`."""
        return {concept: box for concept, heat in self.heats.items() if (box := heat_box(heat, self.region))}

    def as_values(self) -> dict[str, Any]:
        """Return the fields of `seewhy explain --json`, with model, question, size of the photo, and each reason's box
        and place."""
        values, boxes = asdict(self.said), self.boxes
        for reason in values["reasons"]:
            del reason["overlay"]
            concept = reason["concept"]
            reason["box"] = [round(side, 1) for side in boxes[concept]] if concept in boxes else None
            reason["where"] = self._where(concept) if concept in boxes else None
        size = {"width": self.picture.width, "height": self.picture.height}
        return {**values, "model": self.model, "question": self.question, "size": size}

    def saved(self, folder: Path) -> Explained:
        """Write a PNG of each reason and return what is said, with their paths. Raises SeeWhyError where it cannot."""
        written: dict[str, str] = {}
        for concept, heat_RK in self.heats.items():
            path = folder / f"{slug(concept)}.png"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with disk(path):
                    captioned(overlay(self.picture, heat_RK, self.region), concept).save(path)
            except OSError as error:
                raise SeeWhyError(f"{path} cannot be written ({error.strerror}): set --output to a folder.") from error
            written[concept] = str(path)
        reasons = tuple(replace(reason, overlay=written.get(reason.concept)) for reason in self.said.reasons)
        return replace(self.said, reasons=reasons)

    def html(self, *, styled: bool = True) -> str:
        """Return a fragment of HTML: photo, label, confidence, reasons and their overlays. All text is escaped."""
        picture = self.picture.copy()
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        drawn, boxes = sum(self.said.sampled.values()), self.boxes
        reasons = [
            {
                "concept": reason.concept,
                "support": round(reason.support * drawn),
                "where": self._where(reason.concept) if reason.concept in boxes else "",
                "veil": self._veil(reason.concept) if reason.concept in self.heats else "",
                "box": boxes.get(reason.concept),
            }
            for reason in self.said.reasons
        ]
        return _templates().get_template("explained.html").render(
            said=self.said, model=self.model, reasons=reasons, drawn=drawn, photo=data_uri(picture),
            key=uuid4().hex[:8], agreed=round(self.said.confidence * drawn), size=self.picture.size,
            style=Markup(STYLE) if styled else "",
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return self.html()

    def __str__(self) -> str:
        from seewhy.report.terminal import print_explained

        text = io.StringIO()
        print_explained([self.said], console(file=text, width=WIDTH))
        return text.getvalue().rstrip()

    def __repr__(self) -> str:
        return f"<Explanation of {self.said.image} by {self.model}: {self.label or 'no single class'}>"

    def _where(self, concept: str) -> str:
        return where(self.heats[concept], self.picture.size, self.region)

    def _veil(self, concept: str) -> str:
        png = veil(self.picture.size, self.heats[concept], self.region)
        return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def slug(text: str) -> str:
    """Return a name for a file."""
    return re.sub(r"\W+", "-", text.lower()).strip("-")[:80] or "photo"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("seewhy.explanation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


STYLE = (Path(__file__).parent / "templates" / "explained.css").read_text(encoding="utf-8")
"""The style of the fragment, for a page that shows several."""
