"""Do the paper's orderings hold on these data? A verdict for each claim, from paired differences and their intervals.

A claim is made of parts, each a difference that is to be above a floor: 0 where one thing is said to be better than
another, a small negative margin where something is said to be kept. A part
- holds where the whole interval is above the floor;
- does not hold where the whole interval is below it;
- is not decided by these data where the interval includes it.

    claim = Claim("ours_nl", "SeeWhy is more accurate than NL", (Part("accuracy", "ours", "nl"),))
    judge(claim, {("accuracy", "ours", "nl"): Difference(0.03, 0.01, 0.05)})
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "not decided", "not measured"]

KEPT = 0.02
"""What may be lost where an ability is said to be kept: two points."""


@dataclass(frozen=True)
class Difference:
    """One model's figure less another's, its 95 % interval over images, and the difference of each seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()


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


def judge(claim: Claim, differences: Mapping[tuple[str, str, str], Difference]) -> Verdict:
    """Whether a claim holds: it fails with any part, and holds with all of those."""
    verdicts = {part_verdict(part, differences.get(part.key)) for part in claim.parts}
    order: tuple[Verdict, ...] = ("does not hold", "not measured", "not decided")
    failed: Verdict | None = next((verdict for verdict in order if verdict in verdicts), None)
    return failed or "holds"


def mean_bounds(intervals: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """An interval for a mean over seeds: the mean of theirs, as wide as if all of them erred together."""
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
