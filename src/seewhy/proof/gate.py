"""The round gate: which round is the best so far, and whether a round was so much worse that the run should stop.

After each round its model is compared with the best so far on the validation images, paired by image
(proof/comparison.py), in accuracy and, where it was measured, in judge-free CS. A run stops at the first round that is
worse, and its best round is the one to use. Neither figure needs the truth of an image.

A run looks several times, at two figures, and the round that it compares with is the luckiest of those before: with a
95 % interval for each look, a fifth of all runs of four equal rounds would stop. So a round is worse where the
one-sided paired test says so at 5 % divided by the number of pairs of rounds and of figures: at most 5 % of runs with
equal rounds stop (`python -m bench.gate` measures how many do, and how many with a real loss).
"""

from collections.abc import Sequence

import numpy as np

from seewhy.proof.comparison import apart, differences
from seewhy.results import Counts, Gate, GateRound

FIGURES = ("accuracy", "cs")
ALPHA = 0.05
"""The share of runs with equal rounds that may be stopped."""


def judge_rounds(rounds: Sequence[Counts], *, resamples: int, seed: int, planned: int | None = None) -> Gate:
    """Return what the gate says after `rounds`, the counts of round 1, 2, ... on the same validation images.

    `planned` is how many rounds the run is to have, and so how often it may look; by default as many as there are.
    """
    level = level_of(max(planned or 0, len(rounds)))
    best, judged = 1, [GateRound(1, _share(rounds[0], "accuracy"), None, {}, {}, ())]
    for number, counts in enumerate(rounds[1:], 2):
        accuracy, before = _share(counts, "accuracy"), rounds[best - 1]
        compared = differences(FIGURES, [counts], [before], resamples=resamples, seed=seed)
        p = {name: p_worse(name, counts, before) for name in compared}
        worse = tuple(name for name in compared if p[name] <= level)
        judged.append(GateRound(number, accuracy, best, compared, p, worse))
        if not worse and accuracy >= _share(before, "accuracy"):
            best = number
    return Gate(best, judged[-1].round if judged[-1].worse_in else None, level, tuple(judged))


def level_of(rounds: int) -> float:
    """Return the level of a single test in a run of so many rounds: any two may be compared, in each figure."""
    return ALPHA / (len(FIGURES) * max(1, rounds * (rounds - 1) // 2))


def p_worse(name: str, counts: Counts, before: Counts) -> float:
    """Return the one-sided p-value of `counts` being worse than `before` in a figure, paired by image."""
    return apart(name, [np.array(counts[name], float)], [np.array(before[name], float)]).p_below()


def _share(counts: Counts, name: str) -> float:
    hits_N, of_N = counts[name]
    return float(sum(hits_N) / sum(of_N))
