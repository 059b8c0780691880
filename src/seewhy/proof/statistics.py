"""Figures with 95 % intervals over the images that they were measured on.

Every figure is a ratio of sums: right answers over answers, true concepts over stated concepts, nats over tokens. The
unit is the image, or a cluster of images (a lesion, a patient, a leaf), since what is said about one unit belongs
together.

1. Many units: the percentile bootstrap over units (Efron and Tibshirani, "An Introduction to the Bootstrap").
2. Few units, or few on either side (0 of 48; 3 false reasons of 900): the bootstrap knows only what it saw, and gives
   (0, 0) for 0 of 48. The interval is Clopper and Pearson's exact one, on the effective number of units (Kish: the
   number of equal units with the same information). For a share that is 0 or 1 in each image it is exact; for other
   ratios it takes all that is said about one unit to be true or all false, and so is cautious.
3. Fewer than `LEAST` units: no interval. It would reach over nearly everything: two of two are compatible with 16 %.

FS, the fluency score, is the exponential of such a ratio: the perplexity of a model's answers under the untuned base,
exp(sum of -log p of all answer tokens / number of tokens). Each token is given the image, the question and the tokens
before it; lower is better. How the paper scores fluency is not published. FS tells how far tuning has moved the model's
way of writing; it cannot be compared between base models, and names that the base has never seen raise it.
"""

from collections.abc import Hashable, Sequence
from typing import overload

import numpy as np
from scipy import stats

from seewhy.results import Figure

FLUENCY = "fs"
"""The figure that is the exponential of its ratio."""
LEAST = 3
"""Units below which no interval is given."""
FEW = 30
"""Units below which the bootstrap is not used."""
RARE = 5
"""Units that must be on either side (a hit, a miss) for the bootstrap to be used."""
_DRAWS_AT_ONCE = 4_000_000

Bounds = tuple[float, float]


@overload
def in_units(name: str, ratio: float) -> float: ...
@overload
def in_units(name: str, ratio: np.ndarray) -> np.ndarray: ...
def in_units(name: str, ratio: float | np.ndarray) -> float | np.ndarray:
    """Return a ratio of sums, or an array of them, as the figure `name`: FS is the exponential of its ratio."""
    if name != FLUENCY:
        return ratio
    return np.exp(ratio) if isinstance(ratio, np.ndarray) else float(np.exp(ratio))


def ratio(numerator_N: Sequence[float], denominator_N: Sequence[float]) -> float | None:
    """Return sum(numerator_N) / sum(denominator_N), or None where nothing was counted."""
    total = float(np.sum(denominator_N))
    return float(np.sum(numerator_N)) / total if total else None


def summed(values_N: Sequence[float] | np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    """Return sums of values by cluster, in the order in which the clusters first appear."""
    places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.bincount([places[name] for name in clusters], weights=np.asarray(values_N, float), minlength=len(places))


def estimate(
    name: str,
    numerator_N: Sequence[float],
    denominator_N: Sequence[float],
    *,
    resamples: int,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
) -> Figure | None:
    """Return the figure `name` with its interval and what was counted; None where nothing was counted.

    `n` is the sum of the denominators (answers, concepts, tokens), `images` the number of images where that differs.
    """
    value = ratio(numerator_N, denominator_N)
    if value is None:
        return None
    bounds = interval(
        numerator_N, denominator_N, resamples=resamples, seed=seed, clusters=clusters, share=name != FLUENCY
    )
    counted, images = round(float(np.sum(denominator_N))), int(np.count_nonzero(denominator_N))
    return Figure(
        in_units(name, value),
        bounds and (in_units(name, bounds[0]), in_units(name, bounds[1])),
        n=counted,
        images=images if images != counted else None,
        clusters=None if clusters is None else int(np.count_nonzero(summed(denominator_N, clusters))),
    )


def interval(
    numerator_N: Sequence[float],
    denominator_N: Sequence[float],
    *,
    resamples: int,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    share: bool = True,
) -> Bounds | None:
    """Return the 95 % interval of a ratio of sums over N images, or over the clusters that they belong to.

    Images without anything counted are left out. `share` says that no numerator exceeds its denominator, so that few
    units have an exact interval; otherwise few units have Student's t of the linearised ratio. None where fewer than
    LEAST units were counted. Equal seeds give equal intervals.
    """
    numerator_U, denominator_U = np.asarray(numerator_N, float), np.asarray(denominator_N, float)
    if clusters is not None:
        numerator_U, denominator_U = summed(numerator_U, clusters), summed(denominator_U, clusters)
    counted = denominator_U > 0
    numerator_U, denominator_U = numerator_U[counted], denominator_U[counted]
    units = len(denominator_U)
    if units < LEAST:
        return None
    hits, misses = np.count_nonzero(numerator_U > 0), np.count_nonzero(numerator_U < denominator_U)
    if share and (units < FEW or min(hits, misses) < RARE):
        equal_units = float(denominator_U.sum() ** 2 / np.square(denominator_U).sum())
        return clopper_pearson(equal_units * float(numerator_U.sum() / denominator_U.sum()), equal_units)
    if units < FEW:
        return _linearised(numerator_U, denominator_U)
    return _resampled(numerator_U, denominator_U, resamples, seed)


def clopper_pearson(hits: float, of: float, level: float = 0.95) -> Bounds:
    """Return the exact interval of a binomial share. scipy's `binomtest` takes whole numbers only, this any."""
    tail, misses = (1 - level) / 2, of - hits
    low = float(stats.beta.ppf(tail, hits, misses + 1)) if hits > 1e-9 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, misses)) if misses > 1e-9 else 1.0
    return low, high


def t_reach(residuals_U: np.ndarray, level: float = 0.95) -> float:
    """Return half the width of Student's t interval of a sum, from what each unit adds to its error."""
    units = len(residuals_U)
    return float(stats.t.ppf((1 + level) / 2, units - 1) * standard_error(residuals_U))


def standard_error(residuals_U: np.ndarray) -> float:
    """Return the standard error of a sum, from what each unit adds to its error."""
    units = len(residuals_U)
    return float(np.sqrt(np.square(residuals_U).sum() * units / (units - 1)))


def _linearised(numerator_U: np.ndarray, denominator_U: np.ndarray) -> Bounds:
    total = denominator_U.sum()
    value = float(numerator_U.sum() / total)
    reach = t_reach((numerator_U - value * denominator_U) / total)
    return value - reach, value + reach


def _resampled(numerator_U: np.ndarray, denominator_U: np.ndarray, resamples: int, seed: int) -> Bounds:
    def of_sums(numerators: np.ndarray, denominators: np.ndarray, axis: int) -> np.ndarray:
        return numerators.sum(axis) / denominators.sum(axis)

    if np.ptp(numerator_U / denominator_U) == 0:  # every draw is the same
        value = float(numerator_U[0] / denominator_U[0])
        return value, value
    found = stats.bootstrap(
        (numerator_U, denominator_U), of_sums, paired=True, vectorized=True, method="percentile",
        n_resamples=resamples, batch=max(1, _DRAWS_AT_ONCE // len(denominator_U)), rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
