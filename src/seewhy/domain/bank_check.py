"""Find what is wrong, doubtful or odd in a concept bank (`seewhy concepts check`). No file is read here.

A *problem* stops a run; a *warning* costs the method something; a *note* is worth a look and may be right.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from seewhy.domain.phrases import (
    MAX_WORDS,
    NameIndex,
    Words,
    find_head_word,
    find_name,
    is_uninformative,
    non_visual_kind,
    phrase_key,
)
from seewhy.domain.text import COLOURS, name_key

Level = Literal["problem", "warning", "note"]

FEWEST = 3
"""Concepts that a class should have: selection never keeps fewer (`select.minimum`)."""
NEAR = 0.6
"""Two phrases are near-duplicates when more than this share of their words is common (Jaccard)."""

_VALUES: tuple[frozenset[str], ...] = (
    COLOURS,
    *(
        frozenset(values.split())
        for values in (
            "long short", "large small big tiny huge", "thick thin slender stout", "broad wide narrow",
            "straight curved hooked pointed rounded blunt forked square", "smooth rough wrinkled bumpy",
            "striped spotted plain barred streaked mottled", "erect drooping floppy", "high low",
        )
    ),
)  # fmt: skip
"""Words that exclude one another for the same part."""
_SMALL = frozenset(["of", "on", "with", "and", "in", "at", "to", "or", "very"])


@dataclass(frozen=True)
class Finding:
    """A finding about `concepts`; `label` is empty if it concerns the whole bank."""

    level: Level
    kind: str
    label: str
    concepts: tuple[str, ...]
    text: str


def check_bank(
    bank: Mapping[str, Sequence[str]],
    noun: str,
    problems: Iterable[str] = (),
    aliases: Mapping[str, Sequence[str]] = {},
) -> list[Finding]:
    """Return all findings, the worst first and by class within. `problems` are those of reading the bank."""
    names = {label: (label, *aliases.get(label, ())) for label in bank}
    known = NameIndex(names)
    found = [Finding("problem", "a run refuses it", "", (), problem) for problem in problems]
    found += shared_findings(bank)
    for label, concepts in bank.items():
        found += [
            *concept_findings(label, concepts, noun),
            *name_findings(label, concepts, names[label], known),
            *pair_findings(label, concepts),
        ]
    return ordered(found)


def concept_findings(label: str, concepts: Sequence[str], noun: str) -> Iterator[Finding]:
    """Return what concerns single concepts, and how many there are."""
    if len(concepts) < FEWEST:
        what = f"{len(concepts)} concept{'s' * (len(concepts) != 1)}; selection keeps {FEWEST}, so add some"
        yield Finding("warning", "few concepts", label, tuple(concepts), what)
    for concept in concepts:
        if not phrase_key(concept):
            yield Finding(
                "problem", "no words", label, (concept,), "no word that a text could state; mend or remove it"
            )
            continue
        if (words := len(name_key(concept))) > MAX_WORDS:
            yield Finding("warning", "too long", label, (concept,), f"{words} words; cut it to one part and its look")
        if kind := non_visual_kind(concept):
            yield Finding("note", "not visual", label, (concept,), f"seems to speak of {kind}, which no picture shows")
        elif is_uninformative(concept, noun):
            yield Finding("note", "too generic", label, (concept,), f"says nothing that another {noun} has not")


def name_findings(label: str, concepts: Sequence[str], own: Sequence[str], known: NameIndex) -> Iterator[Finding]:
    """Return concepts with a class's name in them: a description that shows the feature will seldom say it so.

    `own` are the names of the class, `known` those of all.
    """
    for concept in concepts:
        if name := find_name(concept, own):
            yield Finding("warning", "label inside", label, (concept,), f"holds its own class's name, '{name}'")
        elif name := known.find(concept, but=label):
            yield Finding("warning", "label inside", label, (concept,), f"holds the name of another class, '{name}'")
        elif name := find_head_word(concept, own):
            yield Finding("note", "label inside", label, (concept,), f"holds '{name}', a word of its class's name")


def pair_findings(label: str, concepts: Sequence[str]) -> Iterator[Finding]:
    """Return duplicates, near-duplicates, and pairs that contradict each other, within a class."""
    for one, other in combinations(concepts, 2):
        if phrase_key(one) == phrase_key(other):
            yield Finding("warning", "duplicate", label, (one, other), "the same words; remove one")
        elif contradict(one, other):
            what = "two values of one part; right where sexes, ages or varieties differ"
            yield Finding("note", "contradictory", label, (one, other), what)
        elif alike(one, other) > NEAR:
            what = "nearly the same words; one of them draws off the other's score"
            yield Finding("note", "near-duplicate", label, (one, other), what)


def shared_findings(bank: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return concepts that every class has: they are nobody's negatives and tell nothing apart."""
    if len(bank) < 2:
        return []
    counts = Counter(key for concepts in bank.values() for key in {phrase_key(concept) for concept in concepts})
    spelt = {phrase_key(concept): concept for concepts in bank.values() for concept in concepts}
    what = f"all {len(bank)} classes have it, so that it tells nothing apart; remove it"
    return [
        Finding("warning", "shared by every class", "", (spelt[key],), what)
        for key, count in counts.items()
        if count == len(bank)
    ]


def unused(
    selected: Mapping[tuple[str, str], tuple[int, int]], described: Mapping[tuple[str, str], int], fewest: int
) -> list[Finding]:
    """Return findings on how a run used the concepts. (class, concept) -> (images, images it was selected for), and ->
    descriptions of the class's images that state it. Classes with fewer than `fewest` images are left out."""
    found = []
    for (label, concept), (images, count) in selected.items():
        if images < fewest:
            continue
        if not described.get((label, concept), 0):
            what = (
                f"no description of the class's {images} images says it; the model may not see it, or say it otherwise"
            )
            found.append(Finding("warning", "never described", label, (concept,), what))
        if not count:
            what = f"selected for none of the class's {images} images"
            found.append(Finding("warning", "never selected", label, (concept,), what))
    return ordered(found)


def contradict(one: str, other: str) -> bool:
    """Return whether two phrases give one part two values: "red crown" and "blue crown", not "blue wings"."""
    first, second = phrase_key(one), phrase_key(other)
    for values in _VALUES:
        mine, theirs = values.intersection(first), values.intersection(second)
        if mine and theirs and not mine & theirs and _without(first, values) == _without(second, values) != ():
            return True
    return False


def alike(one: str, other: str) -> float:
    """Return the Jaccard similarity of two phrases' words; 0 if only the order of their colours differs."""
    first, second = phrase_key(one), phrase_key(other)
    mine, theirs = set(first) - _SMALL, set(second) - _SMALL
    if mine == theirs and len(mine & COLOURS) > 1 and _SMALL & {*first, *second}:
        return 0.0  # "yellow bill with black tip" and "black bill with yellow tip"
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """Return problems, warnings, notes; within, by kind, class and concept."""
    levels: dict[Level, int] = {"problem": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda f: (levels[f.level], f.kind, f.label, f.concepts))


def _without(words: Words, values: frozenset[str]) -> Words:
    return tuple(word for word in words if word not in values)
