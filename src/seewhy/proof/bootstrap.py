"""95 % percentile intervals by resampling images (Efron and Tibshirani, "An Introduction to the Bootstrap").

Every figure here is a ratio of sums over images: right answers over answers, true concepts over stated concepts.
Images are drawn, not answers or concepts, since what is said of one image hangs together.
"""

from collections.abc import Sequence

import numpy as np

_DRAWS_AT_ONCE = 4_000_000


def ratio(numerator_N: Sequence[float], denominator_N: Sequence[float]) -> float | None:
    """sum(numerator_N) / sum(denominator_N), or None where nothing was counted."""
    total = float(np.sum(denominator_N))
    return float(np.sum(numerator_N)) / total if total else None


def interval(
    numerator_N: Sequence[float], denominator_N: Sequence[float], *, resamples: int, seed: int
) -> tuple[float, float] | None:
    """The 2.5th and 97.5th percentile of the ratio over `resamples` draws of N images with replacement.

    A draw in which nothing was counted is left out; None where that is every draw. A seed has one interval.
    """
    counts_N2 = np.stack([np.asarray(numerator_N, float), np.asarray(denominator_N, float)], axis=1)
    images = len(counts_N2)
    if not images or not counts_N2[:, 1].any():
        return None
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // images)
    sums = [
        counts_N2[rng.integers(images, size=(min(at_once, resamples - done), images))].sum(axis=1)
        for done in range(0, resamples, at_once)
    ]
    sums_R2 = np.concatenate(sums)
    sums_R2 = sums_R2[sums_R2[:, 1] > 0]
    if not len(sums_R2):
        return None
    low, high = np.percentile(sums_R2[:, 0] / sums_R2[:, 1], [2.5, 97.5])
    return float(low), float(high)


def estimate(
    name: str, numerator_N: Sequence[float], denominator_N: Sequence[float], *, resamples: int, seed: int
) -> dict[str, float | list[float]]:
    """{name: ratio, name_interval: [low, high]}, as metrics.json has it; empty where nothing was counted."""
    value = ratio(numerator_N, denominator_N)
    if value is None:
        return {}
    bounds = interval(numerator_N, denominator_N, resamples=resamples, seed=seed)
    return {name: value} | ({f"{name}_interval": list(bounds)} if bounds else {})
