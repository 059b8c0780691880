"""FS, fluency score: the perplexity of a model's answers under the untuned base model. Lower is better.

    FS = exp( sum of the negative log-likelihoods of all answer tokens / number of all answer tokens )

over all answers of a split, each token given the image, the question and the tokens before it: a long answer weighs as
much as its tokens, unlike in a mean of perplexities. How the paper scores fluency could not be confirmed; this is
defined here, and figures of two different base models cannot be compared.

FS says how far tuning has moved the model's way of writing. A name that the base has never seen costs an answer much,
and more the shorter the answer is: bare names are few tokens, all of them rare.

95 % intervals of one model's figures, over the images that they were measured on.

Every figure is a ratio of sums: right answers over answers, true concepts over stated concepts. The unit is the image,
or a cluster of images (`clusters`: a lesion, a patient, a leaf), since what is said of one unit hangs together.

1. Many units: the percentile bootstrap over units (Efron and Tibshirani, "An Introduction to the Bootstrap"), by scipy.
2. Few units, or few on either side (0 of 48, 3 false reasons of 900): the bootstrap then knows only what it saw, and
   gives (0, 0) for 0 of 48. The interval is Clopper and Pearson's exact one, on the effective number of units (Kish:
   the number of equal units that tell as much). For a share that is 0 or 1 in each image it is exact; for other ratios
   it takes what is said of one unit to be all true or all false, and so is cautious.
3. Fewer than `LEAST` units: no interval. It would reach over nearly everything: two of two are compatible with 16 %.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from seewhy.records import Likelihood, Prediction

FLUENCY = "fs"
"""Of the figure, in metrics.json; it is counted in nats and tokens, as every figure is a ratio of two sums."""


def nats_and_tokens(
    predictions: Sequence[Prediction], likelihoods: Sequence[Likelihood]
) -> tuple[list[float], list[float]]:
    """Of each answer. Raises ValueError where the likelihoods are of other answers."""
    if [p.example_id for p in predictions] != [found.example_id for found in likelihoods]:
        raise ValueError("the likelihoods are not those of these answers")
    return [found.nll for found in likelihoods], [float(found.tokens) for found in likelihoods]


def in_units(name: str, ratio: Any) -> Any:
    """A ratio of sums, or several in a list or an array, as the figure `name`: of nats over tokens the exponential, any
    other as it is."""
    if name != FLUENCY:
        return ratio
    return np.exp(ratio) if isinstance(ratio, np.ndarray) else np.exp(ratio).tolist()


def in_figures(name: str, estimated: Mapping[str, float | list[float]]) -> dict[str, float | list[float]]:
    """The ratio and the interval of an estimate (`bootstrap.estimate`) in the units of the figure `name`."""
    ratios = (name, f"{name}_interval")
    return {key: in_units(name, value) if key in ratios else value for key, value in estimated.items()}


LEAST = 3
"""Units below which no interval is given: it would say nothing."""
FEW = 30
"""Units below which the bootstrap is not trusted."""
RARE = 5
"""Units that must be on either side (a hit, a miss) for the bootstrap to be trusted."""
_DRAWS_AT_ONCE = 4_000_000

Bounds = tuple[float, float]


def ratio(numerator_N: Sequence[float], denominator_N: Sequence[float]) -> float | None:
    """sum(numerator_N) / sum(denominator_N), or None where nothing was counted."""
    total = float(np.sum(denominator_N))
    return float(np.sum(numerator_N)) / total if total else None


def summed(values_N: Sequence[float] | np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    """Sums of values by cluster, in the order in which the clusters first appear."""
    places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.bincount([places[name] for name in clusters], weights=np.asarray(values_N, float), minlength=len(places))


def interval(
    numerator_N: Sequence[float],
    denominator_N: Sequence[float],
    *,
    resamples: int,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    share: bool = True,
) -> Bounds | None:
    """The 95 % interval of a ratio of sums over N images, or over the clusters that they belong to.

    Images of which nothing was counted are left out. `share` says that a numerator never exceeds its denominator, so
    that few units have an exact interval; of anything else few units have Student's t of the linearised ratio. None
    where fewer than LEAST units were counted. A seed has one interval.
    """
    numerator_U, denominator_U = np.asarray(numerator_N, float), np.asarray(denominator_N, float)
    if clusters is not None:
        numerator_U, denominator_U = summed(numerator_U, clusters), summed(denominator_U, clusters)
    counted = denominator_U > 0
    numerator_U, denominator_U = numerator_U[counted], denominator_U[counted]
    if len(denominator_U) < LEAST:
        return None
    if share and few(numerator_U, denominator_U):
        return exact(numerator_U, denominator_U)
    if len(denominator_U) < FEW:
        return _linearised(numerator_U, denominator_U)
    return _resampled(numerator_U, denominator_U, resamples, seed)


def few(numerator_U: np.ndarray, denominator_U: np.ndarray) -> bool:
    """Whether a share rests on too few units, or on too few hits or misses, for resampling."""
    hits, misses = np.count_nonzero(numerator_U > 0), np.count_nonzero(numerator_U < denominator_U)
    return len(denominator_U) < FEW or bool(min(hits, misses) < RARE)


def exact(numerator_U: np.ndarray, denominator_U: np.ndarray, level: float = 0.95) -> Bounds:
    """Clopper and Pearson's interval of a share, on the effective number of units."""
    units = float(denominator_U.sum() ** 2 / np.square(denominator_U).sum())
    return clopper_pearson(units * float(numerator_U.sum() / denominator_U.sum()), units, level)


def clopper_pearson(hits: float, of: float, level: float = 0.95) -> Bounds:
    """The exact interval of a binomial share; `hits` and `of` need not be whole numbers."""
    tail, misses = (1 - level) / 2, of - hits
    low = float(stats.beta.ppf(tail, hits, misses + 1)) if hits > 1e-9 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, misses)) if misses > 1e-9 else 1.0
    return low, high


def _linearised(numerator_U: np.ndarray, denominator_U: np.ndarray) -> Bounds:
    units, total = len(denominator_U), denominator_U.sum()
    value = numerator_U.sum() / total
    residuals_U = (numerator_U - value * denominator_U) / total
    error = np.sqrt(np.square(residuals_U).sum() * units / (units - 1))
    reach = stats.t.ppf(0.975, units - 1) * error
    return float(value - reach), float(value + reach)


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


def estimate(
    name: str,
    numerator_N: Sequence[float],
    denominator_N: Sequence[float],
    *,
    resamples: int,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
) -> dict[str, float | list[float]]:
    """One figure as metrics.json has it: {name: ratio, name_interval: [low, high], name_n: what was counted}.

    `<name>_n` is the sum of the denominators (answers, stated concepts, tokens); `<name>_images` says how many images
    that is, where it differs, and `<name>_clusters` how many clusters, where there are any. Empty where nothing was
    counted; without an interval where too few units were.
    """
    value = ratio(numerator_N, denominator_N)
    if value is None:
        return {}
    bounds = interval(
        numerator_N, denominator_N, resamples=resamples, seed=seed, clusters=clusters, share=name != FLUENCY
    )
    return (
        {name: value} | ({f"{name}_interval": list(bounds)} if bounds else {}) | _numbers(name, denominator_N, clusters)
    )


def _numbers(
    name: str, denominator_N: Sequence[float], clusters: Sequence[Hashable] | None
) -> dict[str, float | list[float]]:
    counted, images = round(float(np.sum(denominator_N))), int(np.count_nonzero(denominator_N))
    found: dict[str, float | list[float]] = {f"{name}_n": counted}
    if images != counted:
        found[f"{name}_images"] = images
    if clusters is not None:
        found[f"{name}_clusters"] = int(np.count_nonzero(summed(denominator_N, clusters)))
    return found
