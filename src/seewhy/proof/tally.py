"""Counts by image, from which shares and their intervals follow: figure -> (hits, of), each with a number an image."""

from collections.abc import Sequence

from seewhy.proof.bootstrap import estimate
from seewhy.proof.compare import Counts, difference


class Tally:
    """Adds up hits and what they are hits of. Images keep their places, so that tallies of two models are paired."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._counts: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, figure: str, image: int, hits: float, of: float = 1) -> None:
        """`hits` of `of` more in one figure at the image in this place."""
        counted = self._counts.setdefault(figure, ([0.0] * self.images, [0.0] * self.images))
        counted[0][image] += hits
        counted[1][image] += of

    @property
    def counts(self) -> dict[str, tuple[list[float], list[float]]]:
        """Figure -> (hits, of); what was counted nowhere is left out."""
        return {name: counted for name, counted in self._counts.items() if any(counted[1])}


def shares(counts: Counts, *, resamples: int, seed: int) -> dict[str, float | list[float]]:
    """{figure: share, figure_interval: [low, high]} of every figure, intervals over images."""
    found: dict[str, float | list[float]] = {}
    for name, (hits, of) in counts.items():
        found |= estimate(name, hits, of, resamples=resamples, seed=seed)
    return found


def differences(
    figures: Sequence[str], ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> dict[str, list[float]]:
    """figure -> [difference, low, high] of `ours` less `other` where both have it, paired by image, mean over seeds."""
    found = {}
    for name in figures:
        if all(name in counts for counts in (*ours, *other)):
            value = difference(name, ours, other, resamples=resamples, seed=seed)
            if value:
                found[name] = list(value)
    return found
