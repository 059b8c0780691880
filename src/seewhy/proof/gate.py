"""The round gate: which round is the best so far, and whether a round was so much worse that the run should stop.

After each round its model is held against the best so far on the validation images, the same for both (paired.py), in
accuracy and, where it was measured, in judge-free CS. A run stops at the first round that is worse, and its best round
is what it hands out. Neither figure needs the truth of an image.

A run looks several times, at two figures, and the round that it looks back at is the luckiest of those before: with a
95 % interval for each look, a fifth of all runs of four equal rounds would stop. So a round is worse where the
one-sided paired test says so at 5 % divided by the number of pairs of rounds and of figures: of runs with equal rounds
at most 5 % stop (`python -m bench.gate` shows how many do, and how many with a real loss).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seewhy.proof.comparison import Counts, apart, difference

FIGURES = ("accuracy", "cs")
ALPHA = 0.05
"""The share of runs with equal rounds that may be stopped."""
FILE = "gate.json"
"""In the run folder: what `Gate.record` gives."""


@dataclass(frozen=True)
class Judgement:
    """One round beside the best of those before it."""

    round: int
    accuracy: float
    against: int | None
    """The round that was best until then; None for the first."""
    differences: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Figure -> this round minus the best, with the 95 % interval."""
    p: dict[str, float] = field(default_factory=dict)
    """Figure -> the one-sided p-value of this round being worse."""
    worse_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """What the gate says after some rounds."""

    judgements: tuple[Judgement, ...]
    best: int
    """The round to hand out, from 1."""
    level: float = ALPHA
    """The p-value from which on a round is worse."""

    @property
    def stop(self) -> bool:
        return bool(self.judgements[-1].worse_in)

    def record(self) -> dict[str, Any]:
        """best: the round to hand out; stopped_after: the round after which the run ended early, or None; level;
        rounds."""
        stopped = self.judgements[-1].round if self.stop else None
        rounds = [asdict(one) for one in self.judgements]
        return {"best": self.best, "stopped_after": stopped, "level": self.level, "rounds": rounds}


def read(run: Path) -> dict[str, Any]:
    """The record of a run, {} where it has none."""
    try:
        return json.loads((run / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def judge_rounds(rounds: Sequence[Counts], *, resamples: int, seed: int, planned: int | None = None) -> Gate:
    """`rounds` holds the counts of round 1, 2, ... on the same validation images (evaluate.count).

    `planned` is how many rounds the run is to have, and so how often it may look; by default as many as there are.
    """
    best, judgements = 1, []
    level = level_of(max(planned or 0, len(rounds)))
    for number, counts in enumerate(rounds, 1):
        accuracy = _share(counts, "accuracy")
        if number == 1:
            judgements.append(Judgement(1, accuracy, None))
            continue
        before = rounds[best - 1]
        shared = [name for name in FIGURES if name in counts and name in before]
        compared = {n: difference(n, [counts], [before], resamples=resamples, seed=seed) for n in shared}
        found = {name: values for name, values in compared.items() if values}
        p = {name: p_worse(name, counts, before) for name in found}
        worse = tuple(name for name in found if p[name] <= level)
        judgements.append(Judgement(number, accuracy, best, found, p, worse))
        if not worse and accuracy >= _share(before, "accuracy"):
            best = number
    return Gate(tuple(judgements), best, level)


def level_of(rounds: int) -> float:
    """The level of a single test in a run of so many rounds: any two of them may be compared, in each figure."""
    return ALPHA / (len(FIGURES) * max(1, rounds * (rounds - 1) // 2))


def p_worse(name: str, counts: Counts, before: Counts) -> float:
    """The one-sided p-value of `counts` being worse than `before` in a figure, paired by image."""
    return apart(name, [np.array(counts[name], float)], [np.array(before[name], float)]).p_below()


def _share(counts: Counts, name: str) -> float:
    hits_N, of_N = counts[name]
    return float(sum(hits_N) / sum(of_N))
