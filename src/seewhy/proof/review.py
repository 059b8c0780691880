"""Which selections a person should look at first, and what verdicts show of the rule that selected.

A pair is one concept of one image's class. Its *doubt* has two parts, each from 0 to 1:

1. how near its score is to what the rule compares it with, as a rank among the selected pairs, or among the others:
   nobody knows beforehand on which side of the threshold there are more mistakes, so both are asked about. A concept
   that was only kept to reach `select.minimum`, against its score, is nearer than any other, and so is one without;
2. where the tuned model has answered about the image without being told its label: how far the share of its answers
   that state the concept is from the selection (all answers say it and it is not selected, or the other way round).

Verdicts on a concept of a class tell of it in other images too (`method/carry.py`), the first more than the tenth: the
value of asking about a pair is its doubt, divided by one more than the times the concept has been asked about before in
images of the class. Images come in the order of their most valuable pairs. Every fourth image is drawn by chance:
verdicts on doubtful pairs alone would say nothing of how often the selection is right.

    order = review_order(pairs)
    order.images[:2], order.asked["train/Crow/3"]
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from seewhy.config import SelectConfig
from seewhy.domain.corrections import Opinions
from seewhy.method.carry import comparable, threshold
from seewhy.proof.judge import kappa
from seewhy.proof.statistics import estimate
from seewhy.records import Selection
from seewhy.results import Figure

ASKED = 3
"""Concepts of an image that are asked about before the next image comes."""
BY_CHANCE = 4
"""Every n-th image is drawn by chance."""
ENOUGH = 50
"""Verdicts from which on it is said what they show."""
FARTHEST = 400
"""Images from which on the value is no longer reckoned anew: nobody has come so far."""
FEWEST = 3
"""Verdicts on a concept from which on it is said to need other words."""
LEVEL = 0.05
"""Chance of saying that another threshold is better where it is not."""


@dataclass(frozen=True)
class Pair:
    """One concept of one image, as the rule judged it."""

    image: str
    label: str
    concept: str
    score: float
    selected: bool
    reach: float
    """How far its score is on the side of its verdict; below 0 where it is on the other side."""
    stated: float | None = None
    """The share of the tuned model's answers about the image that state it; None where it was not asked."""


@dataclass(frozen=True)
class Order:
    """The images in the order in which to look at them."""

    images: tuple[str, ...]
    asked: Mapping[str, tuple[str, ...]]
    """Image -> its concepts, the most valuable first; of an image drawn by chance, in an order drawn by chance."""
    by_chance: frozenset[str]
    doubt: Mapping[tuple[str, str], float]
    """(image, concept) -> its doubt."""


def pairs_of(
    selections: Sequence[Selection],
    labels: Mapping[str, str],
    config: SelectConfig,
    stated: Mapping[str, Mapping[str, float]],
) -> list[Pair]:
    """Return the pairs of a run's selections. `stated` is image -> concept -> share of answers, where it is known."""
    of_image: dict[str, list[Selection]] = defaultdict(list)
    for selection in selections:
        of_image[selection.example_id].append(selection)
    pairs = []
    for name, rows in of_image.items():
        reach_C = _reach(np.array([row.score for row in rows]), np.array([row.selected for row in rows]), config)
        for row, reach in zip(rows, reach_C, strict=True):
            said = stated[name].get(row.concept, 0.0) if name in stated else None
            pairs.append(Pair(name, labels[name], row.concept, row.score, row.selected, float(reach), said))
    return pairs


def _reach(score_C: np.ndarray, selected_C: np.ndarray, config: SelectConfig) -> np.ndarray:
    above_C = comparable(score_C, config) - threshold(config)
    return np.where(np.isnan(above_C), -np.inf, np.where(selected_C, above_C, -above_C))


def review_order(pairs: Sequence[Pair]) -> Order:
    """Return the order of review: a pure function of the pairs, the same in every process."""
    if not pairs:
        return Order((), {}, frozenset(), {})
    reach_P = np.array([pair.reach for pair in pairs])
    selected_P, nearness_P = np.array([pair.selected for pair in pairs]), np.zeros(len(pairs))
    for side_P in (selected_P, ~selected_P):
        nearness_P[side_P] = 1 - (stats.rankdata(reach_P[side_P]) - 1) / max(1, side_P.sum() - 1)
    apart_P = np.array([0.0 if p.stated is None else abs(p.stated - p.selected) for p in pairs])
    doubt = {(p.image, p.concept): float(d) for p, d in zip(pairs, nearness_P + apart_P, strict=True)}
    concepts_of: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        concepts_of[pair.label][pair.image].append(pair.concept)
    classes = [_Class(images, doubt) for images in concepts_of.values()]
    class_of = {name: one for one in classes for name in one.concepts_of}
    drawn, asked, by_chance = iter(sorted(class_of, key=_lot)), dict[str, tuple[str, ...]](), set[str]()

    def draw() -> str:
        name = next(name for name in drawn if name not in asked)
        asked[name] = tuple(sorted(class_of[name].concepts_of[name], key=lambda concept: _lot(f"{name}/{concept}")))
        by_chance.add(name)
        return name

    while len(asked) < min(len(class_of), FARTHEST):
        if len(asked) % BY_CHANCE == BY_CHANCE - 1:
            name = draw()
        else:
            _, name = min(one.best for one in classes if one.best)
            asked[name] = class_of[name].by_value(name)
        class_of[name].ask(name, asked[name][:ASKED])
    left = iter(sorted((-value, name) for one in classes for name, value in one.values() if name not in asked))
    while len(asked) < len(class_of):  # as before, but the values stay as they are
        if len(asked) % BY_CHANCE == BY_CHANCE - 1:
            draw()
        else:
            name = next(name for _, name in left if name not in asked)
            asked[name] = class_of[name].by_value(name)
    return Order(tuple(asked), asked, frozenset(by_chance), doubt)


class _Class:
    """The images of a class that have not been chosen yet, and what asking about each is worth."""

    def __init__(self, concepts_of: Mapping[str, Sequence[str]], doubt: Mapping[tuple[str, str], float]) -> None:
        self.concepts_of = concepts_of
        self._names = sorted(concepts_of)
        self._row = {name: row for row, name in enumerate(self._names)}
        self._column = {c: column for column, c in enumerate(sorted({c for of in concepts_of.values() for c in of}))}
        self._doubt_IC = np.full((len(self._names), len(self._column)), -np.inf)
        for name, concepts in concepts_of.items():
            for concept in concepts:
                self._doubt_IC[self._row[name], self._column[concept]] = doubt[name, concept]
        self._times_C = np.ones(len(self._column))
        self._is_left_I = np.ones(len(self._names), dtype=bool)
        self.best = self._best()

    def values(self) -> list[tuple[str, float]]:
        """Return each image with the mean value of its ASKED most valuable concepts."""
        return list(zip(self._names, self._value_I().tolist(), strict=True))

    def _value_I(self) -> np.ndarray:
        value_IC = self._doubt_IC / self._times_C
        if value_IC.shape[1] > ASKED:
            value_IC = np.partition(value_IC, -ASKED, axis=1)[:, -ASKED:]
        there_IC = np.isfinite(value_IC)
        return np.where(there_IC, value_IC, 0.0).sum(axis=1) / there_IC.sum(axis=1)

    def by_value(self, name: str) -> tuple[str, ...]:
        """Return the concepts of an image, the most valuable first."""
        value_C = self._doubt_IC[self._row[name]] / self._times_C
        return tuple(sorted(self.concepts_of[name], key=lambda c: (-value_C[self._column[c]], c)))

    def ask(self, name: str, concepts: Sequence[str]) -> None:
        """Choose an image: its concepts have been asked about once more."""
        self._times_C[[self._column[concept] for concept in concepts]] += 1
        self._is_left_I[self._row[name]] = False
        self.best = self._best()

    def _best(self) -> tuple[float, str] | None:
        """Return (-value, name) of the most valuable image that is left."""
        if not self._is_left_I.any():
            return None
        value_I = np.where(self._is_left_I, self._value_I(), -np.inf)
        row = int(value_I.argmax())
        return -float(value_I[row]), self._names[row]


def _lot(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class Better:
    """Another threshold of the run's rule, on the pairs that people have judged."""

    threshold: float
    agrees: int
    """Pairs on which it selects what people call right, and nothing else."""
    now: int
    """The same of the run's own threshold."""
    chance: float
    """The chance of so large a difference between two equally good ones (exact sign test)."""


@dataclass(frozen=True)
class Reword:
    """A concept whose selection people keep correcting, or that they cannot see."""

    label: str
    concept: str
    judged: int
    wrong: int
    """Images in which it was selected and is not there, or the other way round."""
    hidden: int


@dataclass(frozen=True)
class Shown:
    """What verdicts on train images show."""

    verdicts: int
    precision: Figure | None
    """Of the selected concepts of images drawn by chance, the share that is right."""
    precision_in_doubt: Figure | None
    """The same of the doubtful ones, which says nothing of the whole."""
    missed: Figure | None
    """Of the unselected concepts of images drawn by chance, the share that is right."""
    better: Better | None
    """By the verdicts on images drawn by chance: those on doubtful ones lie about the threshold that was."""
    reword: tuple[Reword, ...]


def what_they_show(pairs: Sequence[Pair], opinions: Opinions, order: Order, config: SelectConfig) -> Shown:
    """Return what people's settled verdicts on these pairs show."""
    said = {(p.image, p.concept): v for p in pairs if (v := opinions.settled.get(("concept", p.image, p.concept)))}
    judged = [p for p in pairs if (p.image, p.concept) in said]
    right = {key: value == "right" for key, value in said.items()}

    def share(chosen: Sequence[Pair]) -> Figure | None:
        images = sorted({p.image for p in chosen})
        hits = [sum(right[p.image, p.concept] for p in chosen if p.image == name) for name in images]
        return estimate("selection_precision", hits, [sum(p.image == name for p in chosen) for name in images],
                        resamples=1000, seed=0)  # fmt: skip

    chance = [p for p in judged if p.image in order.by_chance]
    return Shown(
        len(judged),
        share([p for p in chance if p.selected]),
        share([p for p in judged if p.selected and p.image not in order.by_chance]),
        share([p for p in chance if not p.selected]),
        better_threshold(pairs, {key: of for key, of in right.items() if key[0] in order.by_chance}, config),
        _to_reword(judged, said),
    )


def better_threshold(
    pairs: Sequence[Pair], right: Mapping[tuple[str, str], bool], config: SelectConfig
) -> Better | None:
    """Return the threshold that agrees with most verdicts, if the run's own does so on fewer beyond chance; else None.

    A threshold that is chosen on verdicts agrees with these by being chosen. So that is tested on others: each half of
    the images is judged by the threshold that is best on the other half. Pairs without a score are left out, and
    `select.minimum` is not looked at: it is the rule's floor, not its threshold.
    """
    judged, of_image = {name for name, _ in right}, defaultdict(list)
    for pair in pairs:
        if pair.image in judged:
            of_image[pair.image].append(pair)
    scored = [(float(score), right[p.image, p.concept], int(_lot(name), 16) % 2) for name, of in of_image.items()
              for p, score in zip(of, comparable(np.array([p.score for p in of]), config), strict=True)
              if (p.image, p.concept) in right and not np.isnan(score)]  # fmt: skip
    score_V, right_V, half_V = (np.array([row[i] for row in scored]) for i in range(3))
    own = threshold(config)

    def agrees(least: float) -> np.ndarray:
        above_V = score_V >= least - 1e-9 if config.rule == "said" else score_V > least
        return above_V == right_V

    def best(of_V: np.ndarray) -> float:
        levels = np.unique(score_V[of_V])
        between = (levels[1:] + levels[:-1]) / 2
        return max([own, *map(float, between)], key=lambda t: (int((agrees(t) & of_V).sum()), -abs(t - own)))

    if len(scored) < 2 or len(set(half_V)) < 2:
        return None
    won = lost = 0
    for half in (0, 1):
        other_V, there_V = agrees(best(half_V != half)), half_V == half
        won += int((other_V & ~agrees(own) & there_V).sum())
        lost += int((~other_V & agrees(own) & there_V).sum())
    if won <= lost:
        return None
    chosen, chance = best(np.ones(len(scored), dtype=bool)), float(stats.binomtest(won, won + lost).pvalue)
    found = Better(chosen, int(agrees(chosen).sum()), int(agrees(own).sum()), chance)
    return found if chance < LEVEL else None


@dataclass(frozen=True)
class OtherRule:
    """How another rule of step 2 does on the verdicts on images drawn by chance."""

    rule: str
    threshold: float
    agrees: int
    now: int
    """The same of the run's own selection."""
    judged: int
    chance: float
    """The chance of so large a difference between two equally good rules (exact sign test)."""


def other_rules(
    pairs: Sequence[Pair],
    opinions: Opinions,
    order: Order,
    config: SelectConfig,
    selections: Mapping[str, Sequence[Selection]],
) -> list[OtherRule]:
    """Return how each rule's selections agree with the settled verdicts on images drawn by chance, the best first."""
    right = {(p.image, p.concept): v == "right" for p in pairs if p.image in order.by_chance
             and (v := opinions.settled.get(("concept", p.image, p.concept)))}  # fmt: skip
    own = {(p.image, p.concept): p.selected for p in pairs}
    found = []
    for rule, rows in selections.items():
        other = {(row.example_id, row.concept): row.selected for row in rows}
        judged = [key for key in right if key in other]
        won = sum(other[key] == right[key] != own[key] for key in judged)
        lost = sum(own[key] == right[key] != other[key] for key in judged)
        agrees, now = (sum(of[key] == right[key] for key in judged) for of in (other, own))
        chance = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
        found.append(OtherRule(rule, threshold(replace(config, rule=rule)), agrees, now, len(judged), chance))
    return sorted(found, key=lambda one: (-one.agrees, one.rule))


def _to_reword(judged: Sequence[Pair], said: Mapping[tuple[str, str], str]) -> tuple[Reword, ...]:
    of: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in judged:
        of[pair.label, pair.concept].append(pair)
    found = []
    for (label, concept), group in of.items():
        values = [said[p.image, p.concept] for p in group]
        wrong = sum((value == "right") != p.selected for p, value in zip(group, values, strict=True))
        hidden = values.count("hidden")
        if len(group) >= FEWEST and 2 * max(wrong, hidden) > len(group):
            found.append(Reword(label, concept, len(group), wrong, hidden))
    return tuple(sorted(found, key=lambda r: (-max(r.wrong, r.hidden), r.label, r.concept)))


@dataclass(frozen=True)
class Agreement:
    """How far two people agree on the concepts that both have judged."""

    people: tuple[str, str]
    both: int
    equal: int
    kappa: float | None
    """Cohen's kappa of right against wrong or hidden; None where chance alone would have them agree throughout."""


def agreements(opinions: Opinions) -> list[Agreement]:
    """Return the agreement of every two people who have judged a concept of the same image."""
    said: Mapping[str, dict[tuple[str, str, str], str]] = defaultdict(dict)
    for subject, of in opinions.of.items():
        if subject[0] == "concept":
            for who, value in of.items():
                said[who][subject] = value
    found = []
    for one, other in combinations(sorted(said), 2):
        if both := said[one].keys() & said[other].keys():
            equal = sum(said[one][s] == said[other][s] for s in both)
            beyond = kappa([(said[one][s] == "right", said[other][s] == "right") for s in sorted(both)])
            found.append(Agreement((one, other), len(both), equal, beyond))
    return found


def counted(opinions: Opinions) -> Counter[str]:
    """Return how many settled verdicts there are of each value."""
    return Counter(opinions.settled.values())
