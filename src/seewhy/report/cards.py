"""The cards of the page: images of the gallery with what each model said of them, and pairs of classes confused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.figures import is_controls, model_name
from seewhy.report.heatmaps import Heat, where
from seewhy.report.pictures import Picture, Pictures, veil

PAIRS = 12
"""Confused pairs on the page; the rest are counted."""
CONCEPTS = 6
"""Separating concepts of one list that are shown; the rest are counted."""
LONGEST = 2000
"""Characters of one answer that are shown."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """Where a reason is: a veil over an image of `width` x `height` pixels, the true box, and both in words."""

    uri: str
    width: int
    height: int
    box: tuple[float, float, float, float] | None
    where: str


@dataclass(frozen=True)
class Reason:
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
        """Those of its reasons, each once, for the filter; 'none' where it states no reason."""
        return " ".join(sorted({reason.verdict for reason in self.reasons})) or "none"


@dataclass(frozen=True)
class Card:
    label: str
    question: str
    picture: Picture
    answers: tuple[Said, ...]
    """The last model's first."""


def last_model(gallery: Sequence[Item]) -> str:
    """The name, in the gallery, of the method's last model; empty where there is none."""
    models = [answer["model"] for item in gallery for answer in item["answers"] if not is_controls(answer["model"])]
    return models[-1] if models else ""


def cards(gallery: Sequence[Item], heats: Mapping[str, Heat], pictures: Pictures) -> list[Card]:
    last = last_model(gallery)
    photos = [pictures.photo(item["image"]) for item in gallery]
    return [
        _card(item, last, heats.get(item["image"]), photo, pictures)
        for item, photo in zip(gallery, photos, strict=True)
    ]


def models(found: Sequence[Card]) -> dict[str, str]:
    """Model -> its name, of all that answered, the last model first."""
    return {said.model: said.name for card in found for said in card.answers}


def _card(item: Item, last: str, heat: Heat | None, photo: Picture, pictures: Pictures) -> Card:
    own = [answer for answer in item["answers"] if not is_controls(answer["model"])]
    others = [answer for answer in item["answers"] if is_controls(answer["model"])]

    def said(answer: Item) -> Said:
        shown = heat if answer["model"] == last and photo.uri else None
        reasons = tuple(
            Reason(r["concept"], r["verdict"], _layer(r, shown, pictures) if shown else None) for r in answer["stated"]
        )
        return Said(answer["model"], model_name(answer["model"]), clip(answer["text"]), answer["correct"], reasons)

    return Card(item["label"], item["question"], photo, tuple(map(said, [*reversed(own), *others])))


def _layer(reason: Item, heat: Heat, pictures: Pictures) -> Layer | None:
    heat_RK = heat.concepts.get(reason["concept"])
    if heat_RK is None or not heat_RK.any():
        return None
    picture = pictures.png(veil(heat.size, heat_RK, heat.region))
    box = reason.get("box")
    return Layer(picture.uri, *heat.size, box, where(heat_RK, heat.size, heat.region)) if picture.uri else None


def confused(mistakes: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    """The section on confused pairs, from confusion.json's value."""
    pairs: Sequence[Item] = mistakes["pairs"]
    return {
        **mistakes,
        "model": model_name(mistakes["model"]).lower(),
        "pairs": [_pair(pair, pictures) for pair in pairs[:PAIRS]],
        "more": mistakes["pairs_in_all"] - len(pairs[:PAIRS]),
    }


def _pair(pair: Item, pictures: Pictures) -> dict[str, Any]:
    said = {reason["concept"] for reason in pair["stated"]}

    def concepts(key: str) -> dict[str, Any]:
        first = sorted(pair[key], key=lambda concept: concept not in said)
        return {
            "shown": [{"text": concept, "said": concept in said} for concept in first[:CONCEPTS]],
            "more": len(first[CONCEPTS:]),
        }

    return {
        **{key: pair[key] for key in ("label", "named", "count", "of", "shared")},
        "text": clip(pair["text"]),
        "picture": pictures.photo(pair["image"]),
        "only_label": concepts("only_label"),
        "only_named": concepts("only_named"),
    }


def clip(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
