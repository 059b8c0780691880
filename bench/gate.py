"""How often does the round gate stop a run whose rounds are equal, and how often one whose rounds are worse?

Runs are simulated: in each, rounds are measured on the same validation images. Whether an answer is right hangs on how
hard its image is (the same for all rounds), on what the round makes of it, and on chance; CS is the share of an
answer's reasons that the image shows, some images being harder for all rounds alike. In a run with a loss, every round
after the first is worse by so many points. Printed is the share of runs that stop, by the rule that was used before
(each look and figure at a 95 % interval) and by today's (proof/gate.py).

example:
  python -m bench.gate --runs 1000
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import stats

from seewhy.proof.gate import FIGURES, judge_rounds, p_worse

REASONS = 6
"""Of an answer."""
DIFFICULTY, TASTE = 1.0, 0.5
"""Standard deviations of an image's difficulty, and of what a round makes of it; chance has 1."""
BEFORE = 0.025
"""The one-sided level of each test by the rule that was used before."""


def simulated(
    rng: np.random.Generator, images: int, accuracies: Sequence[float], consistencies: Sequence[float]
) -> list[dict[str, tuple[list[float], list[float]]]]:
    """Counts of rounds with these true accuracies and values of CS, on the same images."""
    hard_N, odd_N = rng.normal(0, DIFFICULTY, (2, images))
    return [
        {
            "accuracy": (_right(rng, accuracy, hard_N, 1).tolist(), [1.0] * images),
            "cs": ((_right(rng, consistency, odd_N, REASONS) / REASONS).tolist(), [1.0] * images),
        }
        for accuracy, consistency in zip(accuracies, consistencies, strict=True)
    ]


def _right(rng: np.random.Generator, share: float, image_N: np.ndarray, trials: int) -> np.ndarray:
    """How many of so many trials an image are right, `share` of all on average."""
    middle = stats.norm.ppf(share) * np.sqrt(1 + DIFFICULTY**2 + TASTE**2)
    latent_N = middle + image_N + rng.normal(0, TASTE, len(image_N))
    return (latent_N[:, None] + rng.normal(size=(len(image_N), trials)) > 0).sum(1).astype(float)


def stops_before(rounds: Sequence[dict]) -> bool:
    """Whether the rule that was used before stops the run."""
    best = 0
    for number in range(1, len(rounds)):
        if any(p_worse(name, rounds[number], rounds[best]) <= BEFORE for name in FIGURES):
            return True
        if sum(rounds[number]["accuracy"][0]) >= sum(rounds[best]["accuracy"][0]):
            best = number
    return False


def stops(rounds: Sequence[dict]) -> bool:
    """Whether today's rule stops the run at any of its rounds."""
    return any(
        judge_rounds(rounds[:number], resamples=2, seed=0, planned=len(rounds)).stop
        for number in range(2, len(rounds) + 1)
    )


def rates(
    images: int, accuracy: float, consistency: float, loss: float, figure: str, *, rounds: int, runs: int, seed: int
) -> tuple[float, float]:
    """The shares of runs that stop, by the rule used before and by today's; `figure` loses `loss` after round 1."""
    rng = np.random.default_rng(seed)
    lost = [0.0, *[loss] * (rounds - 1)]
    accuracies = [accuracy - (of if figure == "accuracy" else 0) for of in lost]
    consistencies = [consistency - (of if figure == "cs" else 0) for of in lost]
    every = [simulated(rng, images, accuracies, consistencies) for _ in range(runs)]
    return sum(map(stops_before, every)) / runs, sum(map(stops, every)) / runs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser("python -m bench.gate", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs a row (default: 1000)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, nargs="+", default=[60, 240, 1000])
    given = parser.parse_args(arguments)
    print(f"{'images':>6} {'accuracy':>8} {'CS':>5}  {'loss after round 1':<20} {'before':>8} {'now':>8}")
    losses = [(0.0, "accuracy"), *product((0.02, 0.05, 0.1), ("accuracy", "cs"))]
    for images, (accuracy, consistency) in product(given.images, ((0.75, 0.7), (0.95, 0.85))):
        for loss, figure in losses:
            before, now = rates(
                images, accuracy, consistency, loss, figure, rounds=given.rounds, runs=given.runs, seed=0
            )
            told = f"{100 * loss:.0f} points of {figure}" if loss else "none"
            print(
                f"{images:6} {accuracy:8.2f} {consistency:5.2f}  {told:<20} {100 * before:6.1f} % {100 * now:6.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
