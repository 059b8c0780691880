"""How much better one arm is than another: differences on the same images, averaged over seeds.

Images are resampled in pairs, the same for both arms and all seeds, so that what makes an image hard falls out of the
difference. What chance in training adds shows in the figures of the single seeds beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from seewhy.proof.bootstrap import interval
from seewhy.proof.claims import mean_bounds
from seewhy.proof.fluency import NAME as FLUENCY
from seewhy.proof.fluency import in_units

Counts = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Figure -> (hits, of), each with a number an image, of one seed (evaluate.count)."""


def arm_figures(seeds: Sequence[Counts]) -> dict[str, float | list[float]]:
    """Each figure's mean over seeds, and `<figure>_seeds`, each one's value; what was counted nowhere is left out."""
    figures: dict[str, float | list[float]] = {}
    for name in seeds[0]:
        ratios = [sum(counts[name][0]) / sum(counts[name][1]) for counts in seeds if sum(counts[name][1])]
        if ratios:
            values = in_units(name, ratios)
            figures |= {name: float(np.mean(values)), f"{name}_seeds": values}
    return figures


def mean_estimate(
    name: str, seeds: Sequence[Counts], *, resamples: int, seed: int
) -> tuple[float, tuple[float, float] | None] | None:
    """A figure's mean over seeds, and the mean of their 95 % intervals over images.

    None where a seed did not count it; without an interval where none of them has one.
    """
    if not seeds or any(name not in counts or not sum(counts[name][1]) for counts in seeds):
        return None
    value = arm_figures([{name: counts[name]} for counts in seeds])[name]
    bounds = [interval(*counts[name], resamples=resamples, seed=seed, share=name != FLUENCY) for counts in seeds]
    return float(value), mean_bounds([in_units(name, list(pair)) for pair in bounds if pair])  # pyright: ignore[reportArgumentType]


def difference(
    name: str, ours: Sequence[Counts], other: Sequence[Counts], *, resamples: int, seed: int
) -> tuple[float, float, float] | None:
    """`ours` minus `other` in a figure, mean over seeds, with the 2.5th and 97.5th percentile over resampled images.

    None where either counted nothing. Both have the same images in the same order.
    """
    arms = [np.array([[hits, of] for hits, of in (counts[name] for counts in arm)], float) for arm in (ours, other)]
    images = arms[0].shape[2]
    if arms[1].shape[2] != images:
        raise ValueError(f"{images} and {arms[1].shape[2]} images cannot be compared in pairs")
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(images, size=images) for _ in range(resamples)]

    def apart(ours_S2N: np.ndarray, other_S2N: np.ndarray) -> float:
        return _mean_figure(name, ours_S2N) - _mean_figure(name, other_S2N)

    whole = apart(*arms)
    values = np.array([apart(*(arm[..., rows] for arm in arms)) for rows in drawn])
    values = values[~np.isnan(values)]
    if np.isnan(whole) or not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(whole), float(low), float(high)


def _mean_figure(name: str, counts_S2N: np.ndarray) -> float:
    """Mean over seeds of the figure; NaN where a seed counted nothing."""
    hits_S, of_S = counts_S2N.sum(-1).T
    return float(np.mean(in_units(name, list(hits_S / of_S)))) if of_S.all() else float("nan")
