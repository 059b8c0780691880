"""The training images that are nearest to a photo among those of which a concept was selected.

Near is by the model that is asked: the cosine of mean image tokens (vlm/embedding.py), less their mean over the images
compared, since all photos of a kind have most of it in common.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.explanation.asking import Asker
from seewhy.records import Selection
from seewhy.run.stages import ModelKey, StageKey
from seewhy.vlm.embedding import embed_images

SHOWN = 6
COMPARED = 150
"""Images that are compared at most: those with the highest scores of the concept."""
KEPT = 20_000
"""Embeddings that are kept."""


@dataclass(frozen=True)
class Neighbour:
    """A training image of which the concept was selected. `similarity` is a cosine."""

    example_id: str
    label: str
    picture: Image.Image
    similarity: float


class Neighbours:
    """Finds training images by a reason. What the models see of an image is kept, so that it is computed once."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self._with: dict[str, list[tuple[float, str]]] | None = None
        self._seen: dict[tuple[ModelKey, str], np.ndarray] = {}

    def of(self, concept: str, photo: Image.Image, model: ModelKey, count: int = SHOWN) -> list[Neighbour]:
        """Return the nearest ones, nearest first; empty where the concept was selected for none.

        Raises SeeWhyError where the run has not selected concepts yet, or its images are gone.
        """
        run = self.asker.run
        names = [name for _, name in self._examples(concept)[:COMPARED]]
        rows = run.examples
        paths = {name: run.image_folder / rows[name].image for name in names if name in rows}
        pictures = {name: picture for name, path in paths.items() if (picture := _picture(path))}
        if names and not pictures:
            raise SeeWhyError(f"The training images of {run.path} are not at hand: {run.image_folder} lacks them.")
        if not pictures:
            return []
        new = [name for name in pictures if (model, name) not in self._seen]
        if len(self._seen) + len(new) > KEPT:
            self._seen.clear()
            new = list(pictures)
        vlm = self.asker.model(model)
        embedded_NE = embed_images(vlm, [photo, *(pictures[name] for name in new)])
        self._seen |= {(model, name): row_E for name, row_E in zip(new, embedded_NE[1:], strict=True)}
        similar_N = similarities(embedded_NE[0], np.stack([self._seen[model, name] for name in pictures]))
        order = np.argsort(-similar_N, kind="stable")[:count]
        chosen = [(list(pictures)[place], float(similar_N[place])) for place in order]
        return [Neighbour(name, rows[name].label, pictures[name], similar) for name, similar in chosen]

    def _examples(self, concept: str) -> list[tuple[float, str]]:
        """Return score and id of the training images of which a concept was selected, highest score first."""
        if self._with is None:
            found: dict[str, list[tuple[float, str]]] = {}
            for record in self.asker.run.records(StageKey("select"), Selection):
                if record.selected:
                    found.setdefault(record.concept, []).append((record.score, record.example_id))
            if not found:
                raise SeeWhyError(f"{self.asker.run.path} has not selected concepts of its training images yet.")
            self._with = {name: sorted(pairs, key=lambda pair: (-pair[0], pair[1])) for name, pairs in found.items()}
        return self._with.get(concept, [])


def similarities(photo_E: np.ndarray, others_NE: np.ndarray) -> np.ndarray:
    """Return the cosine of a photo's embedding and of each other's, (N,), less the mean over all of them."""
    centre_E = np.vstack([photo_E, others_NE]).mean(0)
    photo_E, others_NE = photo_E - centre_E, others_NE - centre_E
    lengths_N = np.linalg.norm(others_NE, axis=1) * np.linalg.norm(photo_E)
    return (others_NE @ photo_E) / np.maximum(lengths_N, 1e-12)


def _picture(path: Path) -> Image.Image | None:
    """Return an image, or None where it is gone or broken."""
    try:
        return load_image(path)
    except SeeWhyError:
        return None
