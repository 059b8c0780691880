"""The cards of the page: images with what each model said of them, and the pairs of classes that are confused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.proof.heatmaps import Heat
from seewhy.report.figures import is_controls, model_name
from seewhy.report.pictures import Picture, Pictures, veil, where
from seewhy.results import Card, CardAnswer, ConfusedPair, Confusion, StatedConcept

PAIRS = 12
"""Confused pairs on the page; the rest are counted."""
CONCEPTS = 6
"""Separating concepts of one list that are shown; the rest are counted."""
LONGEST = 2000
"""Characters of one answer that are shown."""


@dataclass(frozen=True)
class Layer:
    """Where the model looks for a reason: a veil over an image of `width` x `height` pixels, and the true box."""

    uri: str
    width: int
    height: int
    box: tuple[float, float, float, float] | None
    where: str
    """The place of the maximum, in words."""


@dataclass(frozen=True)
class Reason:
    """A stated concept, its verdict, and where the model looks for it."""

    concept: str
    verdict: str
    layer: Layer | None


@dataclass(frozen=True)
class Said:
    """One model's answer."""

    model: str
    name: str
    text: str
    correct: bool
    reasons: tuple[Reason, ...]

    @property
    def verdicts(self) -> str:
        """The verdicts of its reasons, each once, for the filter; 'none' where it states no reason."""
        return " ".join(sorted({reason.verdict for reason in self.reasons})) or "none"


@dataclass(frozen=True)
class Shown:
    """An image with its answers, the last model's first."""

    label: str
    question: str
    picture: Picture
    answers: tuple[Said, ...]


def last_model(gallery: Sequence[Card]) -> str:
    """Return the name, in the gallery, of the method's last model; empty where there is none."""
    models = [answer.model for card in gallery for answer in card.answers if not is_controls(answer.model)]
    return models[-1] if models else ""


def cards(gallery: Sequence[Card], heats: Mapping[str, Heat], pictures: Pictures) -> list[Shown]:
    """Return the images of the gallery with their answers and, for the last model, where it looks."""
    last = last_model(gallery)
    photos = [pictures.photo(card.image) for card in gallery]
    return [
        _shown(card, last, heats.get(card.image), photo, pictures) for card, photo in zip(gallery, photos, strict=True)
    ]


def models(found: Sequence[Shown]) -> dict[str, str]:
    """Return model -> name of all models that answered, the last model first."""
    return {said.model: said.name for card in found for said in card.answers}


def _shown(card: Card, last: str, heat: Heat | None, photo: Picture, pictures: Pictures) -> Shown:
    own = [answer for answer in card.answers if not is_controls(answer.model)]
    others = [answer for answer in card.answers if is_controls(answer.model)]

    def said(answer: CardAnswer) -> Said:
        looked = heat if answer.model == last and photo.uri else None
        reasons = tuple(
            Reason(r.concept, r.verdict, _layer(r, looked, pictures) if looked else None) for r in answer.stated
        )
        return Said(answer.model, model_name(answer.model), clip(answer.text), answer.correct, reasons)

    return Shown(card.label, card.question, photo, tuple(map(said, [*reversed(own), *others])))


def _layer(reason: StatedConcept, heat: Heat, pictures: Pictures) -> Layer | None:
    heat_RK = heat.concepts.get(reason.concept)
    if heat_RK is None or not heat_RK.any():
        return None
    picture = pictures.png(veil(heat.size, heat_RK, heat.region))
    place = where(heat_RK, heat.size, heat.region)
    return Layer(picture.uri, *heat.size, reason.box, place) if picture.uri else None


def confused(mistakes: Confusion, pictures: Pictures) -> dict[str, Any]:
    """Return what the section on confused pairs shows."""
    return {
        "found": mistakes,
        "model": model_name(mistakes.model).lower(),
        "pairs": [_pair(pair, pictures) for pair in mistakes.pairs[:PAIRS]],
        "more": mistakes.pairs_in_all - len(mistakes.pairs[:PAIRS]),
    }


def _pair(pair: ConfusedPair, pictures: Pictures) -> dict[str, Any]:
    said = {reason.concept for reason in pair.stated}

    def concepts(of: Sequence[str]) -> dict[str, Any]:
        first = sorted(of, key=lambda concept: concept not in said)
        return {
            "shown": [{"text": concept, "said": concept in said} for concept in first[:CONCEPTS]],
            "more": len(first[CONCEPTS:]),
        }

    return {
        "found": pair,
        "text": clip(pair.text),
        "picture": pictures.photo(pair.image),
        "only_label": concepts(pair.only_label),
        "only_named": concepts(pair.only_named),
    }


def clip(text: str) -> str:
    """Return a text of at most `LONGEST` characters."""
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
