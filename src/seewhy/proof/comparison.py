"""How far two models are apart, and means over seeds, with intervals over images and seeds.

Two models answer about the same units (images, or clusters of them), so units are compared in pairs. A figure is a
ratio of sums, R = H / D. One unit adds to the difference of two models

    c = (h1 - R d1) / D1 - (h2 - R d2) / D2      (R: the ratio of both models together)

These sum to R1 - R2, and are 0 where both models did the same. For a figure with one answer per image, c is +1/N where
only the first is right, and -1/N where only the second is.

1. Many units differ: the bootstrap of the pairs, or Student's t of the linearised difference.
2. Few do: four flips in one direction say little, whether of 60 units or of 600, as four coins fall alike in one of
   eight throws. The direction has the exact interval of the sign test (McNemar's, for answers that are right or
   wrong), and the number of differing units has Clopper and Pearson's. So the interval excludes 0 just where the exact
   test does.

A mean over a few seeds errs in two ways: other images would have given another figure, and so would other seeds. The
reach of its interval is the root of two squares: Student's t over the seeds' figures, and the interval over images with
the seeds as they are. For one seed it is over images alone. `python -m bench.coverage` measures how often this and
other intervals hold the true value.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from seewhy.proof.statistics import (
    FEW,
    FLUENCY,
    Bounds,
    clopper_pearson,
    estimate,
    in_units,
    interval,
    standard_error,
    summed,
    t_reach,
)
from seewhy.results import Counts, Difference, Figure

Array = np.ndarray


@dataclass(frozen=True)
class Apart:
    """The difference of two models, a mean over seeds, with what its interval over units rests on."""

    value: float
    added_U: Array
    """What each unit adds to it, compared with two models that are alike; 0 where both did the same."""
    residuals_U: Array
    """What each unit adds to its error: these sum to 0."""
    share: bool
    """Whether the figure is a share, so that few units have an exact interval."""

    @property
    def few(self) -> bool:
        """Whether too few units differ, or there are too few, for a bootstrap."""
        return len(self.added_U) < FEW or (self.share and effective(self.added_U) < FEW)

    def interval(self, level: float = 0.95) -> Bounds:
        """Return the interval over units, with the seeds as they are."""
        if self.share and self.few:
            return self._exact(level)
        reach = t_reach(self.residuals_U, level)
        return self.value - reach, self.value + reach

    def p_below(self) -> float:
        """Return the one-sided p-value of the first model being worse: the level at which the interval excludes 0."""
        if self.share and self.few:
            differing = effective(self.added_U)
            better = self._upwards() * differing
            return float(stats.beta.sf(0.5, better + 1, differing - better)) if differing - better > 1e-9 else 1.0
        units = len(self.residuals_U)
        error = standard_error(self.residuals_U) if units > 1 else np.inf
        return float(stats.t.cdf(self.value / error, units - 1)) if error else float(self.value >= 0)

    def _exact(self, level: float) -> Bounds:
        units, differing = len(self.added_U), effective(self.added_U)
        fewest, most = clopper_pearson(differing, units, level)
        if not differing:
            return -most, most
        size = float(np.abs(self.added_U).sum())
        better = self._upwards() * differing
        least, greatest = (2 * share - 1 for share in clopper_pearson(better, differing, level))
        smaller, larger = (size * share * units / differing for share in (fewest, most))
        return least * (larger if least < 0 else smaller), greatest * (larger if greatest > 0 else smaller)

    def _upwards(self) -> float:
        """Return the share of all that differs in which the first model is better."""
        size = float(np.abs(self.added_U).sum())
        return float(self.added_U[self.added_U > 0].sum()) / size if size else 0.0


def effective(added_U: Array) -> float:
    """Return the effective number of units that differ: that of equal units with the same information (Kish)."""
    squares = float(np.square(added_U).sum())
    return float(np.abs(added_U).sum() ** 2 / squares) if squares else 0.0


def apart(name: str, ours: Sequence[Array], other: Sequence[Array]) -> Apart:
    """Return `ours` minus `other` in a figure; each is one (2, U) array of hits and totals per seed."""
    every = [_added(name, *pair) for pair in zip(ours, other, strict=True)]
    value, added_U, residuals_U = (np.mean(parts, axis=0) for parts in zip(*every, strict=True))
    return Apart(float(value), added_U, residuals_U, share=name != FLUENCY)


def alone(name: str, hits_U: Array, of_U: Array) -> tuple[float, Array]:
    """Return a figure's value, and what each unit adds to its error."""
    ratio = hits_U.sum() / of_U.sum()
    value = float(in_units(name, ratio))
    slope = value if name == FLUENCY else 1.0  # how fast the figure moves with its ratio
    return value, slope * (hits_U - ratio * of_U) / of_U.sum()


def _added(name: str, ours_2U: Array, other_2U: Array) -> tuple[float, Array, Array]:
    (hits, of), (other_hits, other_of) = ours_2U, other_2U
    together = (hits.sum() + other_hits.sum()) / (of.sum() + other_of.sum())
    added_U = (hits - together * of) / of.sum() - (other_hits - together * other_of) / other_of.sum()
    value, residuals_U = alone(name, hits, of)
    other_value, other_residuals_U = alone(name, other_hits, other_of)
    return value - other_value, added_U, residuals_U - other_residuals_U


def by_cluster(counts: Counts, clusters: Sequence[Hashable] | None) -> Counts:
    """Return counts summed over the images of each cluster; unchanged where there are no clusters."""
    if clusters is None:
        return counts
    return {
        name: (tuple(summed(hits, clusters).tolist()), tuple(summed(of, clusters).tolist()))
        for name, (hits, of) in counts.items()
    }


def arm_figures(seeds: Sequence[Counts], *, resamples: int = 2000, seed: int = 0) -> dict[str, Figure]:
    """Return an arm's figures as means over seeds, with the value of each seed; what was counted nowhere is left out.

    `n` is what was counted in all seeds together.
    """
    figures = {}
    for name in seeds[0]:
        there = [counts for counts in seeds if sum(counts[name][1])]
        if not there:
            continue
        values = [float(in_units(name, sum(counts[name][0]) / sum(counts[name][1]))) for counts in there]
        mean = mean_estimate(name, there, resamples=resamples, seed=seed)
        counted = round(sum(sum(counts[name][1]) for counts in there))
        figures[name] = Figure(float(np.mean(values)), mean[1] if mean else None, n=counted, seeds=tuple(values))
    return figures


def mean_estimate(
    name: str, seeds: Sequence[Counts], *, resamples: int, seed: int
) -> tuple[float, Bounds | None] | None:
    """Return a figure's mean over seeds, and its 95 % interval over seeds and images.

    None where a seed did not count it; the interval is None where there are too few images for one.
    """
    if not seeds or any(name not in counts or not sum(counts[name][1]) for counts in seeds):
        return None
    counts_S2N = np.array([counts[name] for counts in seeds], float)
    values_S = _figures(name, counts_S2N)
    value, share = float(values_S.mean()), name != FLUENCY
    hits_N, of_N = counts_S2N.mean(0)  # seeds have the same images, so that these are one sample of them, not several
    over_images = interval(hits_N, of_N, resamples=resamples, seed=seed, share=share)
    if over_images is None:
        return value, None
    middle = float(in_units(name, hits_N.sum() / of_N.sum()))
    low, high = (value + float(in_units(name, bound)) - middle for bound in over_images)
    low, high = with_seeds(value, (low, high), values_S)
    return value, (max(0.0, low), min(1.0, high)) if share else (low, high)


@dataclass(frozen=True)
class Contrast:
    """How far two arms are apart in a figure. `over_images` gives the interval over images alone, at any level."""

    value: float
    over_images: Callable[[float], Bounds]
    seeds: tuple[float, ...]
    """The difference of each seed."""

    def interval(self, level: float = 0.95) -> Bounds:
        """Return the interval over seeds and images."""
        return with_seeds(self.value, self.over_images(level), self.seeds, level)


def difference(
    name: str, ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> Difference | None:
    """Return `ours` minus `other` in a figure, mean over seeds, with its 95 % interval over seeds and images.

    None where either counted nothing, and for the perplexity of one image, which has no interval. Both have the same
    images in the same order, and the same seeds.
    """
    found = contrast(name, ours, other, resamples=resamples, seed=seed)
    if found is None:
        return None
    low, high = found.interval()
    return Difference(found.value, *((low, high) if name == FLUENCY else (max(-1.0, low), min(1.0, high))))


def differences(
    names: Iterable[str], ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> dict[str, Difference]:
    """Return the `difference` in each of the figures that both have."""
    shared = [name for name in names if all(name in counts for counts in (*ours, *other))]
    found = {name: difference(name, ours, other, resamples=resamples, seed=seed) for name in shared}
    return {name: value for name, value in found.items() if value}


def contrast(
    name: str, ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> Contrast | None:
    """Return the `difference` with an interval at any level: a bootstrapped one widens as the normal one does.

    Raises ValueError where the numbers of images differ.
    """
    ours_S2N, other_S2N = (np.array([counts[name] for counts in arm], float) for arm in (ours, other))
    images, others = ours_S2N.shape[2], other_S2N.shape[2]
    if images != others:
        raise ValueError(f"{images} and {others} images cannot be compared in pairs")
    if not all(of_S.all() for of_S in (ours_S2N[:, 1].sum(-1), other_S2N[:, 1].sum(-1))):
        return None
    counted_N = (ours_S2N[:, 1] + other_S2N[:, 1]).any(0)
    ours_S2N, other_S2N = ours_S2N[..., counted_N], other_S2N[..., counted_N]
    if name == FLUENCY and ours_S2N.shape[2] < 2:
        return None
    found = apart(name, list(ours_S2N), list(other_S2N))
    seeds = tuple((_figures(name, ours_S2N) - _figures(name, other_S2N)).tolist())
    if found.few:
        return Contrast(found.value, found.interval, seeds)
    return Contrast(found.value, widened(found.value, _resampled(name, ours_S2N, other_S2N, resamples, seed)), seeds)


def widened(value: float, bounds: Bounds) -> Callable[[float], Bounds]:
    """Return an interval at any level from its 95 % bounds, widening as the normal distribution's does."""

    def at(level: float) -> Bounds:
        factor = float(stats.norm.ppf((1 + level) / 2) / stats.norm.ppf(0.975))
        return value + factor * (bounds[0] - value), value + factor * (bounds[1] - value)

    return at


def with_seeds(value: float, over_images: Bounds, seeds: Sequence[float] | np.ndarray, level: float = 0.95) -> Bounds:
    """Widen an interval over images about a mean over seeds by the variation between seeds."""
    if len(seeds) < 2:
        return over_images
    reach = float(stats.t.ppf((1 + level) / 2, len(seeds) - 1) * np.std(seeds, ddof=1) / np.sqrt(len(seeds)))
    low, high = over_images
    return value - float(np.hypot(reach, value - low)), value + float(np.hypot(reach, high - value))


def _figures(name: str, counts_S2N: Array) -> Array:
    """Return the figure of each seed."""
    hits_S, of_S = counts_S2N.sum(-1).T
    return in_units(name, hits_S / of_S)


def _resampled(name: str, ours_S2N: Array, other_S2N: Array, resamples: int, seed: int) -> Bounds:
    """Return the 2.5th and 97.5th percentile of the mean difference over images drawn in pairs, the same for all seeds.

    By hand, as draws in which a seed counted nothing are left out, which scipy's bootstrap cannot do.
    """
    rng = np.random.default_rng(seed)
    images = ours_S2N.shape[2]
    drawn = (rng.integers(images, size=images) for _ in range(resamples))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = [
            float((_figures(name, ours_S2N[..., rows]) - _figures(name, other_S2N[..., rows])).mean()) for rows in drawn
        ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


class Tally:
    """Adds up hits and totals by figure and image. Images keep their places, so that two models' tallies are paired."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._counts: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, figure: str, image: int, hits: float, of: float = 1) -> None:
        """Add `hits` of `of` to a figure at the image in this place."""
        counted = self._counts.setdefault(figure, ([0.0] * self.images, [0.0] * self.images))
        counted[0][image] += hits
        counted[1][image] += of

    @property
    def counts(self) -> Counts:
        """The figures of which something was counted."""
        return {name: (tuple(hits), tuple(of)) for name, (hits, of) in self._counts.items() if any(of)}


def shares(
    counts: Counts, *, resamples: int, seed: int, clusters: Sequence[Hashable] | None = None
) -> dict[str, Figure]:
    """Return the figures of which something was counted, with intervals over images or their clusters."""
    settings = {"resamples": resamples, "seed": seed, "clusters": clusters}
    found = {name: estimate(name, hits, of, **settings) for name, (hits, of) in counts.items()}
    return {name: figure for name, figure in found.items() if figure}
