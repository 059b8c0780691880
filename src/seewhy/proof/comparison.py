"""How far two models are apart on the same units (images, or clusters of them), and how surely: units are paired.

A figure is a ratio of sums, R = H / D. What one unit adds to the difference of two models is

    c = (h1 - R d1) / D1 - (h2 - R d2) / D2      (R: the ratio of both models together)

which sums to R1 - R2, and is nothing where both models did the same. Of a figure with one answer an image it is +1/N
where only the first is right, and -1/N where only the second is.

1. Many units differ: Student's t of the linearised difference; or, in compare.py, the bootstrap of the pairs.
2. Few do: four flips in one direction, of 600, say little, as four coins fall alike in one of eight throws, whatever
   600 is. The direction has the exact interval of the sign test (McNemar's, for answers that are right or wrong), and
   how many units differ has Clopper and Pearson's. So the interval excludes 0 just where the exact test does.

Means over seeds, and how much better one arm is than another, with intervals that hold seeds *and* images.

A figure of a few seeds errs in two ways: other images would have given another one, and so would other seeds, which is
as great a part of it. The reach of the interval is the root of two squares: of Student's t over the seeds' figures, and
of the interval over images with the seeds as they are (paired.py, where two arms are compared on the same images, so
that what makes an image hard falls out). Of one seed it holds images alone. `python -m bench.coverage` shows how often
this and other intervals hold the truth, at three and five seeds.

Counts by image, from which shares and their intervals follow: figure -> (hits, of), each with a number an image.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from seewhy.proof.statistics import FEW, FLUENCY, clopper_pearson, estimate, in_units, interval, summed

Array = np.ndarray


@dataclass(frozen=True)
class Apart:
    """The difference of two models, a mean over seeds, with what its interval over units rests on."""

    value: float
    added_U: Array
    """What each unit adds to it, as against two models that are alike; nothing where both did the same."""
    residuals_U: Array
    """What each unit adds to its error: these sum to 0."""
    share: bool
    """Whether the figure is one, so that few units have an exact interval."""

    @property
    def few(self) -> bool:
        """Whether too few units differ, or there are too few, for their resampling to be trusted."""
        return len(self.added_U) < FEW or (self.share and effective(self.added_U) < FEW)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval over units, at any level, with the seeds as they are."""
        if self.share and self.few:
            return self._exact(level)
        units = len(self.residuals_U)
        error = np.sqrt(np.square(self.residuals_U).sum() * units / (units - 1))
        reach = float(stats.t.ppf((1 + level) / 2, units - 1) * error)
        return self.value - reach, self.value + reach

    def p_below(self) -> float:
        """The one-sided p-value of the first model being the worse one: the level at which the interval leaves 0."""
        if self.share and self.few:
            differing = effective(self.added_U)
            size = float(np.abs(self.added_U).sum())
            better = float(self.added_U[self.added_U > 0].sum()) / size * differing if size else 0.0
            return float(stats.beta.sf(0.5, better + 1, differing - better)) if differing - better > 1e-9 else 1.0
        units = len(self.residuals_U)
        error = np.sqrt(np.square(self.residuals_U).sum() * units / (units - 1)) if units > 1 else np.inf
        return float(stats.t.cdf(self.value / error, units - 1)) if error else float(self.value >= 0)

    def _exact(self, level: float) -> tuple[float, float]:
        units, differing = len(self.added_U), effective(self.added_U)
        fewest, most = clopper_pearson(differing, units, level)
        if not differing:
            return -most, most
        size = float(np.abs(self.added_U).sum())
        upwards = float(self.added_U[self.added_U > 0].sum()) / size
        least, greatest = (2 * share - 1 for share in clopper_pearson(upwards * differing, differing, level))
        smaller, larger = (size * share * units / differing for share in (fewest, most))
        return least * (larger if least < 0 else smaller), greatest * (larger if greatest > 0 else smaller)


def effective(added_U: Array) -> float:
    """The number of units that differ, as many equal ones as tell as much (Kish)."""
    squares = float(np.square(added_U).sum())
    return float(np.abs(added_U).sum() ** 2 / squares) if squares else 0.0


def apart(name: str, ours: Sequence[Array], other: Sequence[Array]) -> Apart:
    """`ours` less `other` in a figure, each a (2, U) array of hits and of what they are of, one a seed."""
    every = [_added(name, *pair) for pair in zip(ours, other, strict=True)]
    value, added_U, residuals_U = (np.mean(parts, axis=0) for parts in zip(*every, strict=True))
    return Apart(float(value), added_U, residuals_U, share=name != FLUENCY)


def alone(name: str, seeds: Sequence[Array]) -> tuple[float, Array]:
    """A figure's mean over seeds, and what each unit adds to its error; each seed a (2, U) array."""
    ratios = [hits.sum() / of.sum() for hits, of in seeds]
    residuals = [_slope(name, r) * (hits - r * of) / of.sum() for r, (hits, of) in zip(ratios, seeds, strict=True)]
    return float(np.mean(in_units(name, ratios))), np.mean(residuals, axis=0)


def _added(name: str, ours_2U: Array, other_2U: Array) -> tuple[float, Array, Array]:
    (hits, of), (other_hits, other_of) = ours_2U, other_2U
    together = (hits.sum() + other_hits.sum()) / (of.sum() + other_of.sum())
    added_U = (hits - together * of) / of.sum() - (other_hits - together * other_of) / other_of.sum()
    value, residuals_U = alone(name, [ours_2U])
    other_value, other_residuals_U = alone(name, [other_2U])
    return value - other_value, added_U, residuals_U - other_residuals_U


def _slope(name: str, ratio: float) -> float:
    """How fast the figure moves with its ratio: a perplexity is the exponential of one."""
    return float(np.exp(ratio)) if name == FLUENCY else 1.0


Counts = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Figure -> (hits, of), each with a number an image, or a cluster of images, of one seed (evaluate.count)."""
Bounds = tuple[float, float]


def by_cluster(counts: Counts, clusters: Sequence[Hashable] | None) -> Counts:
    """Counts summed over the images of a cluster; as they are where there are no clusters."""
    if clusters is None:
        return counts
    return {
        name: (summed(hits, clusters).tolist(), summed(of, clusters).tolist()) for name, (hits, of) in counts.items()
    }


def arm_figures(seeds: Sequence[Counts], *, resamples: int = 2000, seed: int = 0) -> dict[str, float | list[float]]:
    """The means over seeds as comparison.json has them; what was counted nowhere is left out.

    <figure>, <figure>_seeds (each one's value), <figure>_interval (mean_estimate) and <figure>_n (what was counted, of
    all seeds together).
    """
    figures: dict[str, float | list[float]] = {}
    for name in seeds[0]:
        there = [counts for counts in seeds if sum(counts[name][1])]
        if not there:
            continue
        values = in_units(name, [sum(counts[name][0]) / sum(counts[name][1]) for counts in there])
        figures |= {name: float(np.mean(values)), f"{name}_seeds": values}
        found = mean_estimate(name, there, resamples=resamples, seed=seed)
        if found and found[1]:
            figures[f"{name}_interval"] = list(found[1])
        figures[f"{name}_n"] = round(sum(sum(counts[name][1]) for counts in there))
    return figures


def mean_estimate(
    name: str, seeds: Sequence[Counts], *, resamples: int, seed: int
) -> tuple[float, Bounds | None] | None:
    """A figure's mean over seeds, and its 95 % interval over seeds and images.

    None where a seed did not count it; without an interval where there are too few images for one.
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
        """The interval over seeds and images."""
        return with_seeds(self.value, self.over_images(level), self.seeds, level)


def difference(
    name: str, ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> tuple[float, float, float] | None:
    """`ours` minus `other` in a figure, mean over seeds, with its 95 % interval over seeds and images.

    None where either counted nothing, and for the perplexity of one image, of which nothing is known. Both have the
    same images in the same order, and the same seeds.
    """
    found = contrast(name, ours, other, resamples=resamples, seed=seed)
    if found is None:
        return None
    low, high = found.interval()
    return found.value, *((low, high) if name == FLUENCY else (max(-1.0, low), min(1.0, high)))


def contrast(
    name: str, ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> Contrast | None:
    """As `difference`, with an interval at any level: beyond 95 %, that of resampled images widens as a normal one."""
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
    """An interval at any level, of which the 95 % bounds are known, that widens as the normal distribution does."""

    def at(level: float) -> Bounds:
        factor = float(stats.norm.ppf((1 + level) / 2) / stats.norm.ppf(0.975))
        return value + factor * (bounds[0] - value), value + factor * (bounds[1] - value)

    return at


def with_seeds(value: float, over_images: Bounds, seeds: Sequence[float] | np.ndarray, level: float = 0.95) -> Bounds:
    """Widen an interval over images about a mean over seeds by what the seeds differ."""
    if len(seeds) < 2:
        return over_images
    reach = float(stats.t.ppf((1 + level) / 2, len(seeds) - 1) * np.std(seeds, ddof=1) / np.sqrt(len(seeds)))
    return value - float(np.hypot(reach, value - over_images[0])), value + float(
        np.hypot(reach, over_images[1] - value)
    )


def _figures(name: str, counts_S2N: np.ndarray) -> np.ndarray:
    """The figure of each seed."""
    hits_S, of_S = counts_S2N.sum(-1).T
    return np.asarray(in_units(name, hits_S / of_S))


def _resampled(name: str, ours_S2N: np.ndarray, other_S2N: np.ndarray, resamples: int, seed: int) -> Bounds:
    """The 2.5th and 97.5th percentile of the mean difference over images drawn in pairs, the same for all seeds."""
    rng = np.random.default_rng(seed)
    images = ours_S2N.shape[2]
    drawn = (rng.integers(images, size=images) for _ in range(resamples))
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw in which a seed counted nothing is no draw
        values = [
            float((_figures(name, ours_S2N[..., rows]) - _figures(name, other_S2N[..., rows])).mean()) for rows in drawn
        ]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


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
