"""Means over seeds, and how much better one arm is than another, with intervals that hold seeds *and* images.

A figure of a few seeds errs in two ways: other images would have given another one, and so would other seeds, which is
as great a part of it. The reach of the interval is the root of two squares: of Student's t over the seeds' figures, and
of the interval over images with the seeds as they are (paired.py, where two arms are compared on the same images, so
that what makes an image hard falls out). Of one seed it holds images alone. `python -m bench.coverage` shows how often
this and other intervals hold the truth, at three and five seeds.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from seewhy.proof import paired
from seewhy.proof.bootstrap import interval, summed
from seewhy.proof.fluency import NAME as FLUENCY
from seewhy.proof.fluency import in_units

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
    found = paired.apart(name, list(ours_S2N), list(other_S2N))
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
