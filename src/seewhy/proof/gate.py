"""The round gate: which round is the best so far, and whether a round was so much worse that the run should stop.

After each round its model is held against the best so far on the validation images, the same for both (paired
bootstrap, proof/compare.py), in accuracy and, where it was measured, in judge-free CS. Worse means that the whole 95 %
interval of the difference lies below zero. A run stops at the first round that is worse, and its best round is what it
hands out. Neither figure needs the truth of an image.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seewhy.proof.compare import Counts, difference

FIGURES = ("accuracy", "cs")
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
    worse_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """What the gate says after some rounds."""

    judgements: tuple[Judgement, ...]
    best: int
    """The round to hand out, from 1."""

    @property
    def stop(self) -> bool:
        return bool(self.judgements[-1].worse_in)

    def record(self) -> dict[str, Any]:
        """best: the round to hand out; stopped_after: the round after which the run ended early, or None; rounds."""
        stopped = self.judgements[-1].round if self.stop else None
        return {"best": self.best, "stopped_after": stopped, "rounds": [asdict(one) for one in self.judgements]}


def read(run: Path) -> dict[str, Any]:
    """The record of a run, {} where it has none."""
    try:
        return json.loads((run / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def judge_rounds(rounds: Sequence[Counts], *, resamples: int, seed: int) -> Gate:
    """`rounds` holds the counts of round 1, 2, ... on the same validation images (evaluate.count)."""
    best, judgements = 1, []
    for number, counts in enumerate(rounds, 1):
        accuracy = _share(counts, "accuracy")
        if number == 1:
            judgements.append(Judgement(1, accuracy, None))
            continue
        before = rounds[best - 1]
        shared = [name for name in FIGURES if name in counts and name in before]
        compared = {n: difference(n, [counts], [before], resamples=resamples, seed=seed) for n in shared}
        found = {name: values for name, values in compared.items() if values}
        worse = tuple(name for name, (_, _, high) in found.items() if high < 0)
        judgements.append(Judgement(number, accuracy, best, found, worse))
        if not worse and accuracy >= _share(before, "accuracy"):
            best = number
    return Gate(tuple(judgements), best)


def _share(counts: Counts, name: str) -> float:
    hits_N, of_N = counts[name]
    return float(sum(hits_N) / sum(of_N))
