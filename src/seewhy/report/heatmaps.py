"""Where the last model looks when it states a reason: found once for the images of the page, and kept in RUN/heatmaps.

A file an image, named after what it was made from (the model, the question, the answer), so that a model made anew is
never shown with an old heat, and a stopped search goes on where it was. The heat is that of vlm/attribution.py.

    heats, why_not = find_heats(Path("runs/fieldguide"), gallery, "round 3")
    heats[item["image"]].concepts["red crown"]    # (R, K), 0 to 255
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.interventions import mention, peak
from seewhy.report.pictures import Region
from seewhy.run.finished import FinishedRun, model_path
from seewhy.run.folder import read_manifest
from seewhy.run.progress import progress
from seewhy.run.stages import ModelKey, StageKey
from seewhy.run.storage import digest, write_atomically

MOST = 8
"""Concepts of one answer that are looked for; the rest have no picture."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Heat:
    """The heats of one answer about one image. `size` is its (width, height), `region` what the patches cover of it."""

    size: tuple[int, int]
    region: Region
    concepts: Mapping[str, np.ndarray]
    """Concept -> (R, K), 0 to 255; the greatest of each is 255, unless nothing counted at all."""


def find_heats(
    run: Path, gallery: Sequence[Item], model: str, *, compute: bool, trust_remote_code: bool | None = None
) -> tuple[dict[str, Heat], str]:
    """Image path -> its heats, and why there are no more; `model` is the last one's name in the gallery ('round 3').

    Without `compute` only what was found before. An image that cannot be read has none.
    """
    stage = StageKey("model", ModelKey.parse(model)) if model else None
    made_from = read_manifest(run).get("stages", {}).get(str(stage), {}).get("fingerprint")
    wanted = {item["image"]: (item, answer) for item in gallery if (answer := _answer(item, model))["stated"]}
    if not made_from or not wanted:
        return {}, ""
    places = {image: run / "heatmaps" / f"{_key(made_from, *pair)}.json" for image, pair in wanted.items()}
    found = {image: heat for image, place in places.items() if (heat := _read(place))}
    missing = {image: wanted[image] for image in wanted if image not in found}
    if not missing or not compute:
        return found, ""
    try:
        made = _make(FinishedRun.open(run, trust_remote_code=trust_remote_code), model, missing, places)
    except SeeWhyError as error:
        return found, str(error)
    return found | made, ""


def where(heat_RK: np.ndarray, size: tuple[int, int], region: Region) -> str:
    """In which part of the image the greatest heat is, in words: 'top left', 'middle', 'bottom'."""
    row, column = peak(heat_RK)
    x = region[0] + (column + 0.5) / heat_RK.shape[1] * (region[2] - region[0])
    y = region[1] + (row + 0.5) / heat_RK.shape[0] * (region[3] - region[1])
    down = ("top", "", "bottom")[min(2, int(3 * y / size[1]))]
    across = ("left", "", "right")[min(2, int(3 * x / size[0]))]
    return " ".join(filter(None, (down, across))) or "middle"


def _make(
    run: FinishedRun, model: str, missing: Mapping[str, tuple[Item, Item]], places: Mapping[str, Path]
) -> dict[str, Heat]:
    """Find the heats of these images with the model of the run, and keep each as it is found."""
    from seewhy.vlm.attribution import can_attribute, gradient, seen_region

    if (key := ModelKey.parse(model)) not in run.models:
        raise SeeWhyError(f"{model_path(run.path, key)} is gone, so where the model looks cannot be found.")
    made: dict[str, Heat] = {}
    vlm = run.load(key)
    with progress("finding where the model looks", total=len(missing), done=0) as advance:
        for image, (item, answer) in missing.items():
            advance(1)
            try:
                picture = load_image(image)
            except SeeWhyError:
                continue
            if problem := can_attribute(vlm, picture):
                raise SeeWhyError(problem)
            concepts = [reason["concept"] for reason in answer["stated"]]
            spans = {c: found for c in concepts if (found := mention(c, answer["text"]))}
            chosen = list(spans)[:MOST]
            heat_CRK = gradient(vlm, item["question"], picture, answer["text"], [spans[c] for c in chosen])
            heat = Heat(
                picture.size, seen_region(vlm, picture.size), dict(zip(chosen, map(_scaled, heat_CRK), strict=True))
            )
            write_atomically(places[image], _json(heat).encode())
            made[image] = heat
    return made


def _answer(item: Item, model: str) -> Item:
    none = {"text": "", "stated": ()}
    return next((answer for answer in item["answers"] if answer["model"] == model), none)


def _key(made_from: str, item: Item, answer: Item) -> str:
    return digest([made_from, item.get("id", item["image"]), item["question"], answer["text"], MOST])[:16]


def _scaled(heat_RK: np.ndarray) -> np.ndarray:
    return (heat_RK / (float(heat_RK.max()) or 1.0) * 255).round().astype(np.uint8)


def _json(heat: Heat) -> str:
    concepts = {concept: heat_RK.tolist() for concept, heat_RK in heat.concepts.items()}
    return json.dumps({"size": heat.size, "region": heat.region, "concepts": concepts}, ensure_ascii=False)


def _read(path: Path) -> Heat | None:
    """What is kept, or None where there is nothing or it is damaged: it is then made again."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        concepts = {
            concept: np.asarray(rows, np.uint8).reshape(len(rows), -1) for concept, rows in kept["concepts"].items()
        }
        (width, height), (left, top, right, bottom) = kept["size"], kept["region"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Heat((width, height), (left, top, right, bottom), concepts)
