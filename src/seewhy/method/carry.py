"""What verdicts on some images say of a concept in the others, where people want them to count there too.

A concept that a class's images nearly always show is missed in many by any rule, and one that they hardly ever show is
selected in some. A few verdicts tell. For each concept of a class that has been judged, a model of the probability that
an image shows it, given its score:

    logit p = a + u + SLOPE * (score - threshold) / std        a ~ N(0, ALL^2), the same for all concepts of a run
                                                               u ~ N(0, ONE^2), of this concept of this class

`a` and `u` are integrated over a grid, given the verdicts. A concept is selected where p is at least KEEP, no more
where it is below DROP, and as the rule had it between. As p rises with the score, these are two levels of the score.

The verdicts may be chosen by the score (the doubtful ones first): the model speaks of p at a score, whichever scores it
has seen. Concepts that nobody has judged stay as the rule has them. Slope, spreads and levels were chosen on the field
guide (docs/review.md).

    levels = score_levels(selections, labels, {"train/Crow/a": {"black bill": True}}, config)
    carried(selections, labels, levels, config)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from seewhy.config import SelectConfig
from seewhy.records import Selection

SLOPE = 2.0
"""Logits for each standard deviation of the run's scores."""
ALL, ONE = 1.0, 2.0
"""Standard deviations, in logits, of what all concepts have in common and of what is a concept's own."""
KEEP, DROP = 0.8, 0.5
"""Probabilities from which on a concept is selected, and below which it is not."""
_A = np.linspace(-4, 4, 17)[:, None]
_U = np.linspace(-5, 5, 41)[None, :]
_FARTHEST = 30.0
"""Standard deviations from the threshold between which a level is sought."""
_ROUNDING = 1e-9

Group = tuple[str, str]
"""(class, concept)."""


@dataclass(frozen=True)
class Levels:
    """From which score on a concept of a class is selected, and below which it is not, in the unit of `threshold`."""

    keep: float
    drop: float
    right: int
    """Images that are said to show it."""
    judged: int


def threshold(config: SelectConfig) -> float:
    """Return what the rule's scores are compared with: under the paper's, standard deviations above the mean."""
    return {"image": config.threshold_std, "unlisted": config.unlisted_std, "said": config.said_share}[config.rule]


def comparable(score_C: np.ndarray, config: SelectConfig) -> np.ndarray:
    """Return an image's scores in the unit of `threshold`, (C,); NaN where there are none."""
    if config.rule != "image" or np.isnan(score_C).any():
        return score_C
    std = score_C.std(ddof=1) if len(score_C) > 1 else 0.0
    return (score_C - score_C.mean()) / std if std > 0 else np.zeros(len(score_C))


def score_levels(
    selections: Sequence[Selection],
    labels: Mapping[str, str],
    judged: Mapping[str, Mapping[str, bool]],
    config: SelectConfig,
) -> dict[Group, Levels]:
    """Return the levels of each concept of a class that has been judged: example id -> concept -> whether it shows it.

    Judged pairs without a score, or that were not scored, say nothing.
    """
    score_P, own = _scores(selections, config), threshold(config)
    if not (spread := float(np.nanstd(score_P)) if (~np.isnan(score_P)).any() else 0.0):
        return {}
    seen: dict[Group, list[tuple[float, bool]]] = defaultdict(list)
    for selection, score in zip(selections, score_P, strict=True):
        shown = judged.get(selection.example_id, {}).get(selection.concept)
        if shown is not None and not np.isnan(score):
            seen[labels[selection.example_id], selection.concept].append(((score - own) / spread, shown))
    own_AU = {group: _likelihood(verdicts) - 0.5 * (_U / ONE) ** 2 for group, verdicts in seen.items()}
    common_A = -0.5 * (_A[:, 0] / ALL) ** 2
    for joint_AU in own_AU.values():
        common_A = common_A + np.logaddexp.reduce(joint_AU, axis=1)
    found = {}
    for group, joint_AU in own_AU.items():
        weight_AU = np.exp(joint_AU - np.logaddexp.reduce(joint_AU, axis=1, keepdims=True) + common_A[:, None])
        weight_AU /= weight_AU.sum()
        keep, drop = (own + spread * _level(weight_AU, p) for p in (KEEP, DROP))
        found[group] = Levels(keep, drop, sum(shown for _, shown in seen[group]), len(seen[group]))
    return found


def _scores(selections: Sequence[Selection], config: SelectConfig) -> np.ndarray:
    """Return the scores of all pairs in the unit of `threshold`, (P,)."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, selection in enumerate(selections):
        rows_of[selection.example_id].append(row)
    score_P = np.array([selection.score for selection in selections], dtype=np.float64)
    for rows in rows_of.values():
        score_P[rows] = comparable(score_P[rows], config)
    return score_P


def _likelihood(verdicts: Sequence[tuple[float, bool]]) -> np.ndarray:
    """Return the logarithm of the chance of a concept's verdicts at each point of the grid, (A, U)."""
    total_AU = np.zeros((_A.size, _U.size))
    for at, shown in verdicts:
        logit_AU = _A + _U + SLOPE * at
        total_AU -= np.logaddexp(0, -logit_AU if shown else logit_AU)
    return total_AU


def _level(weight_AU: np.ndarray, probability: float) -> float:
    """Return the score, in standard deviations above the threshold, at which the concept has a probability."""
    low, high = -_FARTHEST, _FARTHEST
    for _ in range(50):
        middle = (low + high) / 2
        if float((weight_AU * expit(_A + _U + SLOPE * middle)).sum()) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def carried(
    selections: Sequence[Selection],
    labels: Mapping[str, str],
    levels: Mapping[Group, Levels],
    config: SelectConfig,
) -> list[Selection]:
    """Return the selections as the levels have them. An image keeps `select.minimum` of those it had."""
    found = []
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, (selection, score) in enumerate(zip(selections, _scores(selections, config), strict=True)):
        level = levels.get((labels[selection.example_id], selection.concept))
        selected = selection.selected
        if level is not None and not np.isnan(score):
            selected = score >= level.keep - _ROUNDING or (selected and score >= level.drop - _ROUNDING)
        found.append(replace(selection, selected=bool(selected)))
        rows_of[selection.example_id].append(row)
    for rows in rows_of.values():
        missing = config.minimum - sum(found[row].selected for row in rows)
        lost = [row for row in rows if selections[row].selected and not found[row].selected]
        for row in sorted(lost, key=lambda row: -selections[row].score)[: max(0, missing)]:
            found[row] = selections[row]
    return found
