"""Do the 95 % intervals of a mean over seeds hold the truth in 95 % of all comparisons? Simulated ones say.

Two arms are trained with each of a few seeds and measured on the same images. An answer is right where

    arm + seed of the arm + difficulty of the image + what the arm makes of the image + chance > 0

all but the first being normal, so that the accuracy that a new seed has on a new image, and with it the true
difference, is known in closed form. For each kind of interval it prints how often it holds the true difference, and
half its width in points:

  images        images resampled in pairs, the seeds taken as they are (what was used before)
  seeds         Student's t over the seeds' differences
  hierarchical  seeds resampled, then images, in pairs
  welch         seeds and images, their variances added, degrees of freedom by Welch and Satterthwaite
  both          seeds by t and images, their reaches added in squares (what is used: proof/comparison.py)

example:
  python -m bench.coverage --runs 1000
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import stats

from seewhy.proof.comparison import difference

RESAMPLES = 400
Interval = tuple[float, float]


@dataclass(frozen=True)
class World:
    """`spread` is the standard deviation of a seed, on the scale on which chance has 1."""

    seeds: int
    images: int
    accuracies: tuple[float, float]
    spread: float
    difficulty: float = 1.0
    taste: float = 0.5

    @property
    def deviation(self) -> float:
        return float(np.sqrt(1 + self.spread**2 + self.difficulty**2 + self.taste**2))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Whether each arm is right with each seed about each image, (2, S, N)."""
        arms_A = stats.norm.ppf(self.accuracies) * self.deviation
        seeds_AS = rng.normal(0, self.spread, (2, self.seeds))
        images_N, taste_AN = rng.normal(0, self.difficulty, self.images), rng.normal(0, self.taste, (2, self.images))
        latent_AN = arms_A[:, None] + images_N + taste_AN
        chance_ASN = rng.normal(size=(2, self.seeds, self.images))
        return (latent_AN[:, None] + seeds_AS[..., None] + chance_ASN > 0).astype(float)


def images(right_ASN: np.ndarray, rng: np.random.Generator) -> Interval:
    apart_N = (right_ASN[0] - right_ASN[1]).mean(0)
    drawn = apart_N[rng.integers(len(apart_N), size=(RESAMPLES, len(apart_N)))].mean(1)
    return _percentiles(drawn)


def seeds(right_ASN: np.ndarray, rng: np.random.Generator) -> Interval:
    apart_S = (right_ASN[0] - right_ASN[1]).mean(1)
    return _around(apart_S.mean(), stats.t.ppf(0.975, len(apart_S) - 1) * apart_S.std(ddof=1) / len(apart_S) ** 0.5)


def hierarchical(right_ASN: np.ndarray, rng: np.random.Generator) -> Interval:
    apart_SN = right_ASN[0] - right_ASN[1]
    count, number = apart_SN.shape
    weights_RS = rng.multinomial(count, [1 / count] * count, RESAMPLES) / count
    drawn_RN = rng.integers(number, size=(RESAMPLES, number))
    return _percentiles(
        np.array([(w_S @ apart_SN)[rows].mean() for w_S, rows in zip(weights_RS, drawn_RN, strict=True)])
    )


def welch(right_ASN: np.ndarray, rng: np.random.Generator) -> Interval:
    apart_SN = right_ASN[0] - right_ASN[1]
    count, number = apart_SN.shape
    of_seeds, of_images = apart_SN.mean(1).var(ddof=1) / count, apart_SN.mean(0).var(ddof=1) / number
    variance = of_seeds + of_images
    if not variance:
        return _around(apart_SN.mean(), 0)
    freedom = variance**2 / (of_seeds**2 / (count - 1) + of_images**2 / (number - 1))
    return _around(apart_SN.mean(), stats.t.ppf(0.975, freedom) * variance**0.5)


def both(right_ASN: np.ndarray, rng: np.random.Generator) -> Interval:
    ones = [1.0] * right_ASN.shape[2]
    ours, other = ([{"accuracy": (hits_N.tolist(), ones)} for hits_N in arm_SN] for arm_SN in right_ASN)
    found = difference("accuracy", ours, other, resamples=RESAMPLES, seed=0)
    assert found is not None
    assert found.low is not None and found.high is not None  # noqa: PT018
    return found.low, found.high


KINDS: Mapping[str, Callable[[np.ndarray, np.random.Generator], Interval]] = {
    "images": images, "seeds": seeds, "hierarchical": hierarchical, "welch": welch, "both": both,
}  # fmt: skip


def coverage(world: World, kinds: Sequence[str], runs: int, seed: int) -> dict[str, tuple[float, float]]:
    """Kind -> (share of `runs` simulated comparisons whose interval holds the true difference, mean half width)."""
    truth = world.accuracies[0] - world.accuracies[1]
    rng = np.random.default_rng(seed)
    found: dict[str, list[Interval]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        right_ASN = world.draw(rng)
        for kind in kinds:
            found[kind].append(KINDS[kind](right_ASN, rng))
    return {
        kind: (
            sum(low <= truth <= high for low, high in bounds) / runs,
            sum(high - low for low, high in bounds) / 2 / runs,
        )
        for kind, bounds in found.items()
    }


def _percentiles(drawn: np.ndarray) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _around(value: float, reach: float) -> Interval:
    return float(value - reach), float(value + reach)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(
        "python -m bench.coverage", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="simulated comparisons a row (default: 1000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--images", type=int, nargs="+", default=[60, 240, 1000])
    given = parser.parse_args(arguments)
    print(f"{'seeds':>5} {'images':>6} {'accuracies':>12} {'spread':>6}  " + "  ".join(f"{kind:>16}" for kind in KINDS))
    accuracies, spreads = ((0.7, 0.7), (0.96, 0.93)), (0.0, 0.1, 0.3)
    for count, number, pair, spread in product(given.seeds, given.images, accuracies, spreads):
        found = coverage(World(count, number, pair, spread), list(KINDS), given.runs, seed=0)
        cells = (f"{100 * held:5.1f} % +-{100 * reach:5.1f}" for held, reach in found.values())
        print(
            f"{count:5} {number:6} {pair[0]:.2f} - {pair[1]:.2f} {spread:6.2f}  " + "  ".join(f"{c:>16}" for c in cells)
        )


if __name__ == "__main__":
    main()
