"""Do the paper's orderings hold on these data? A verdict for each claim, from paired differences and their intervals.

A claim is made of parts, each a difference that is to be above a floor: 0 where one thing is said to be better than
another, a small negative margin where something is said to be kept (of two one-sided tests of equivalence the lower
one: to gain is not to lose). By itself a part
- holds where the whole 95 % interval is above the floor;
- does not hold where the whole interval is below it;
- is not decided by these data where the interval includes it.
Its p-value is the level at which the interval would touch the floor, so that the two never disagree.

Claims are judged together, since of nine claims without substance one in three sets would have one that holds. A claim
holds with all of its parts (its p-value is the largest of theirs) and fails with any (the smallest, times their
number); the p-values are corrected by Holm's method over all claims, those that were not measured included.

    verdicts = judge_all((*PAPER, *OURS), {("accuracy", "ours", "nl"): Difference(0.03, 0.01, 0.05, (0.02, 0.04))})
    verdicts["not_below_nl"].verdict
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import optimize

from seewhy.proof.comparison import Contrast, widened, with_seeds

Verdict = Literal["holds", "does not hold", "not decided", "not measured"]

KEPT = 0.02
"""What may be lost where an ability is said to be kept: two points."""
ALPHA = 0.05
"""The share of sets of claims without substance of which one may be found to hold, or to fail, by chance."""
_LEAST_P, _LARGEST_P = 1e-12, 1 - 1e-9


@dataclass(frozen=True)
class Difference:
    """One model's figure less another's, its 95 % interval over seeds and images (compare.py), and the difference of
    each seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()
    over_images: Callable[[float], tuple[float, float]] | None = field(default=None, compare=False)
    """The interval over images alone at any level, where it is known; else what `low` and `high` leave for it."""

    @classmethod
    def of(cls, found: Contrast) -> "Difference":
        """A claim's figures are all shares, so that no difference of them lies outside -1 to 1."""
        low, high = found.interval()
        return cls(found.value, max(-1.0, low), min(1.0, high), found.seeds, found.over_images)

    def interval(self, level: float) -> tuple[float, float]:
        """The interval over seeds and images at any level."""
        over_images = self.over_images or widened(self.value, self._without_seeds())
        return with_seeds(self.value, over_images(level), self.seeds, level)

    def _without_seeds(self) -> tuple[float, float]:
        of_seeds = self.value - with_seeds(self.value, (self.value, self.value), self.seeds)[0]
        below, above = (
            max(0.0, reach**2 - of_seeds**2) ** 0.5 for reach in (self.value - self.low, self.high - self.value)
        )
        return self.value - below, self.value + above


@dataclass(frozen=True)
class Part:
    """`figure` of `better` less that of `worse`, to be above `floor`; with `lower_is_better` the other way round."""

    figure: str
    better: str
    worse: str
    floor: float = 0.0
    lower_is_better: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What its difference is found by."""
        return self.figure, self.better, self.worse


@dataclass(frozen=True)
class Claim:
    """`key` names it in docs/results.json and in the notes; `text` is the claim."""

    key: str
    text: str
    parts: tuple[Part, ...]


def part_verdict(part: Part, difference: Difference | None) -> Verdict:
    """Whether one part holds."""
    if difference is None:
        return "not measured"
    low, high = difference.low, difference.high
    if part.lower_is_better:
        low, high = -high, -low
    if low > part.floor or (part.floor < 0 and low >= part.floor):
        return "holds"
    return "does not hold" if high < part.floor else "not decided"


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, with its p-value by itself and after Holm's correction."""

    verdict: Verdict
    p: float
    corrected: float


def judge_all(claims: Sequence[Claim], differences: Mapping[tuple[str, str, str], Difference]) -> dict[str, Judged]:
    """Judge claims together: key -> verdict after Holm's correction over all of them."""
    found = {claim.key: _p_values(claim, differences) for claim in claims}
    smaller = {key: min(holds, fails) for key, (holds, fails) in found.items()}
    corrected = holm(smaller)

    def verdict(claim: Claim) -> Verdict:
        holds, fails = found[claim.key]
        if corrected[claim.key] <= ALPHA:
            return "holds" if holds < fails else "does not hold"
        return "not decided" if all(part.key in differences for part in claim.parts) else "not measured"

    return {claim.key: Judged(verdict(claim), smaller[claim.key], corrected[claim.key]) for claim in claims}


def judge(claim: Claim, differences: Mapping[tuple[str, str, str], Difference]) -> Verdict:
    """Judge one claim that stands alone, with no others beside it."""
    return judge_all([claim], differences)[claim.key].verdict


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: each p-value times the number of those not smaller, in no other order than theirs.

    What is at most 0.05 then is false in any of them with a probability of at most 5 %.
    """
    corrected, so_far = {}, 0.0
    for place, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        so_far = max(so_far, min(1.0, (len(p_values) - place) * p_values[key]))
        corrected[key] = so_far
    return {key: corrected[key] for key in p_values}


def _p_values(claim: Claim, differences: Mapping[tuple[str, str, str], Difference]) -> tuple[float, float]:
    """The p-values for a claim and against it; 1 for what was not measured."""
    pairs = [p_values(part, differences.get(part.key)) for part in claim.parts]
    return max(holds for holds, _ in pairs), min(1.0, len(pairs) * min(fails for _, fails in pairs))


def p_values(part: Part, difference: Difference | None) -> tuple[float, float]:
    """The two-sided p-values for a part and against it, of which one is always 1."""
    if difference is None:
        return 1.0, 1.0
    sign = -1 if part.lower_is_better else 1

    def above(p: float) -> float:
        return min(sign * bound for bound in difference.interval(1 - p)) - part.floor

    def below(p: float) -> float:
        return part.floor - max(sign * bound for bound in difference.interval(1 - p))

    return _touching(above, kept=part.floor < 0), _touching(below, kept=False)


def _touching(gap: Callable[[float], float], *, kept: bool) -> float:
    """The p-value at which the gap between an interval and a floor closes; 1 where there is none at any."""
    narrowest = gap(_LARGEST_P)
    if narrowest < 0 or (narrowest == 0 and not kept):
        return 1.0
    if gap(_LEAST_P) >= 0:
        return _LEAST_P
    found = optimize.brentq(lambda log_p: gap(float(np.exp(log_p))), np.log(_LEAST_P), np.log(_LARGEST_P))
    return float(np.exp(found))  # pyright: ignore[reportCallIssue, reportArgumentType]


def mean_bounds(intervals: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """An interval over images for a mean over seeds: the mean of theirs, as wide as if all of them erred together. What
    the seeds differ is to be added (compare.with_seeds)."""
    if not intervals:
        return None
    lows, highs = zip(*intervals, strict=True)
    return sum(lows) / len(lows), sum(highs) / len(highs)


def apart(after: tuple[float, float, float], before: tuple[float, float, float]) -> Difference:
    """How far two figures, each (value, low, high), are apart where they are not paired: the interval is as wide as if
    both erred in opposite directions, so a verdict from it is cautious."""
    return Difference(after[0] - before[0], after[1] - before[2], after[2] - before[1])


PAPER: tuple[Claim, ...] = (
    Claim("accuracy_order", "SeeWhy is more accurate than NL, and NL than L+GE",
          (Part("accuracy", "ours", "nl"), Part("accuracy", "nl", "lge"))),
    Claim("cs_order", "SeeWhy's answers are more consistent with the image's concepts (CS) than L+GE's, and these than"
          " the base's", (Part("cs", "ours", "lge"), Part("cs", "lge", "base"))),
    Claim("filtering", "Filtering is better than none, in accuracy and in CS",
          (Part("accuracy", "ours", "nofilter"), Part("cs", "ours", "nofilter"))),
    Claim("rounds", "Rounds improve accuracy", (Part("accuracy", "ours", "ours_round_1"),)),
    Claim("ability", "General ability is kept (within two points of the base)",
          tuple(Part(name, "ours", "base", floor=-KEPT) for name in (
              "attribute_accuracy", "yes_no_accuracy", "described_precision", "described_recall"))),
    Claim("descriptions", "More descriptions select better", (Part("selection_precision", "most", "fewest"),)),
)  # fmt: skip
"""The orderings of the paper (docs/paper_map.md)."""

OURS: tuple[Claim, ...] = (
    Claim("image_level", "Concepts of the image teach truer reasons than those of the class",
          (Part("stated_true", "ours", "class_level"),)),
    Claim("true_reasons", "SeeWhy's reasons are more often true than L+GE's", (Part("stated_true", "ours", "lge"),)),
    Claim("not_below_nl", "SeeWhy's accuracy is not lower than NL's (within two points)",
          (Part("accuracy", "ours", "nl", floor=-KEPT),)),
)  # fmt: skip
"""What SeeWhy itself claims."""
