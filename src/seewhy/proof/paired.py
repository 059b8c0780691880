"""How far two models are apart on the same units (images, or clusters of them), and how surely: units are paired.

A figure is a ratio of sums, R = H / D. What one unit adds to the difference of two models is

    c = (h1 - R d1) / D1 - (h2 - R d2) / D2      (R: the ratio of both models together)

which sums to R1 - R2, and is nothing where both models did the same. Of a figure with one answer an image it is +1/N
where only the first is right, and -1/N where only the second is.

1. Many units differ: Student's t of the linearised difference; or, in compare.py, the bootstrap of the pairs.
2. Few do: four flips in one direction, of 600, say little, as four coins fall alike in one of eight throws, whatever
   600 is. The direction has the exact interval of the sign test (McNemar's, for answers that are right or wrong), and
   how many units differ has Clopper and Pearson's. So the interval excludes 0 just where the exact test does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from seewhy.proof.bootstrap import FEW, clopper_pearson
from seewhy.proof.fluency import NAME as FLUENCY
from seewhy.proof.fluency import in_units

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
