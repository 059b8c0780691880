"""Where the last model looks when it states a reason: computed once for the images of the report, kept in RUN/heatmaps.

There is one file per image, named after what it was made from (model, question, answer), so that a model made again is
never shown with an old map, and a stopped computation continues. The maps are those of vlm/attribution.py.

    heats, problem = find_heats(Path("runs/fieldguide"), gallery.cards, "round 3")
    heats[card.image].concepts["red crown"]    # (R, K), 0 to 255
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.interventions import mention
from seewhy.results import Card, CardAnswer
from seewhy.run.checksums import sealed_json, unsealed_json
from seewhy.run.finished import FinishedRun, model_path
from seewhy.run.folder import read_manifest
from seewhy.run.progress import progress
from seewhy.run.stages import ModelKey, StageKey
from seewhy.run.storage import digest, write_atomically

MOST = 8
"""Concepts per answer that get a map."""

Region = tuple[float, float, float, float]
"""(left, top, right, bottom) of what the patches cover, in pixels of the image."""


@dataclass(frozen=True)
class Heat:
    """The attribution maps of one answer. `size` is the image's (width, height), `region` what the patches cover."""

    size: tuple[int, int]
    region: Region
    concepts: Mapping[str, np.ndarray]
    """Concept -> (R, K), 0 to 255. The maximum of each map is 255, or 0 where nothing counted."""


def find_heats(
    run: Path, cards: Sequence[Card], model: str, *, compute: bool, trust_remote_code: bool | None = None
) -> tuple[dict[str, Heat], str]:
    """Return image path -> its maps, and a message why there are no more (empty where all is well).

    `model` is the last model's name in the gallery ("round 3"). Without `compute` only the kept maps are returned. An
    image that cannot be read has none.
    """
    stage = StageKey("model", ModelKey.parse(model)) if model else None
    made_from = read_manifest(run).get("stages", {}).get(str(stage), {}).get("fingerprint")
    answers = {card: answer for card in cards for answer in card.answers if answer.model == model and answer.stated}
    if not made_from or not answers:
        return {}, ""
    places = {
        card.image: run / "heatmaps" / f"{_key(made_from, card, answer)}.json" for card, answer in answers.items()
    }
    found = {image: heat for image, place in places.items() if (heat := _read(place))}
    missing = {card: answer for card, answer in answers.items() if card.image not in found}
    if not missing or not compute:
        return found, ""
    try:
        opened = FinishedRun.open(run, trust_remote_code=trust_remote_code)
        return found | _compute(opened, ModelKey.parse(model), missing, places), ""
    except SeeWhyError as error:
        return found, str(error)


def _compute(
    run: FinishedRun, model: ModelKey, missing: Mapping[Card, CardAnswer], places: Mapping[str, Path]
) -> dict[str, Heat]:
    """Compute and write the maps of these images."""
    from seewhy.vlm.attribution import can_attribute, gradient, seen_region

    if model not in run.models:
        raise SeeWhyError(f"{model_path(run.path, model)} is gone, so where the model looks cannot be computed.")
    made: dict[str, Heat] = {}
    vlm = run.load(model)
    with progress("finding where the model looks", total=len(missing), done=0) as advance:
        for card, answer in missing.items():
            advance(1)
            try:
                picture = load_image(card.image)
            except SeeWhyError:
                continue
            if problem := can_attribute(vlm, picture):
                raise SeeWhyError(problem)
            spans = {s.concept: found for s in answer.stated if (found := mention(s.concept, answer.text))}
            chosen = list(spans)[:MOST]
            heat_CRK = gradient(vlm, card.question, picture, answer.text, [spans[concept] for concept in chosen])
            maps = dict(zip(chosen, map(_scaled, heat_CRK), strict=True))
            made[card.image] = heat = Heat(picture.size, seen_region(vlm, picture.size), maps)
            write_atomically(places[card.image], _json(heat))
    return made


def _key(made_from: str, card: Card, answer: CardAnswer) -> str:
    return digest([made_from, card.id, card.question, answer.text, MOST])[:16]


def _scaled(heat_RK: np.ndarray) -> np.ndarray:
    return (heat_RK / (float(heat_RK.max()) or 1.0) * 255).round().astype(np.uint8)


def _json(heat: Heat) -> bytes:
    concepts = {concept: heat_RK.tolist() for concept, heat_RK in heat.concepts.items()}
    return sealed_json({"size": heat.size, "region": heat.region, "concepts": concepts})


def _read(path: Path) -> Heat | None:
    """Return a kept file's maps, or None where it is missing or damaged: it is then computed again."""
    try:
        kept = unsealed_json(path.read_bytes())
        concepts = {
            concept: np.asarray(rows, np.uint8).reshape(len(rows), -1) for concept, rows in kept["concepts"].items()
        }
        (width, height), (left, top, right, bottom) = kept["size"], kept["region"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Heat((width, height), (left, top, right, bottom), concepts)
