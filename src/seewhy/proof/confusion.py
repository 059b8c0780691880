"""Which classes are taken for which, and the images that the report shows, with what each model answered.

A wrong answer names no label, several, or one other: only the last kind makes a pair. What separates a pair are the
concepts in one class's list and not in the other's; where there are none, no list could have helped.

    confusion(domain, "round 2", predictions, StatedConcepts.of(domain)).pairs[0]
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from seewhy.domain.domain import Domain
from seewhy.domain.text import canonical_words
from seewhy.errors import SeeWhyError
from seewhy.proof.figures import verdict
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Prediction, Truth
from seewhy.results import Card, CardAnswer, ConfusedPair, Confusion, Gallery, NeverNamed, StatedConcept

MOST = 50
"""Pairs that are written down; the rest are counted."""


def gallery(
    domain: Domain, predictions: Mapping[str, Sequence[Prediction]], stated: StatedConcepts, count: int = 24
) -> Gallery:
    """Return `count` images spread over the classes, each with the answer of each model ('base', 'round 1', ...).

    Images with known truth come before others. Which images are shown follows from their ids alone, so that two runs on
    one domain show the same. Raises SeeWhyError where a model has not answered about one of them.
    """
    answers = {model: {p.example_id: p for p in given} for model, given in predictions.items()}
    answered = {name for given in answers.values() for name in given}
    truth = domain.truth or {}
    examples = [e for e in domain.examples if e.id in answered]
    shown = spread([e for e in examples if e.id in truth], count)
    shown += spread([e for e in examples if e.id not in truth], count - len(shown))
    shown.sort(key=lambda example: example.label)
    for model, given in answers.items():
        if missing := [e.id for e in shown if e.id not in given]:
            raise SeeWhyError(f"{model} has no answer about {missing[0]!r}; evaluate every model on the same split.")

    def answer(model: str, example: Example) -> CardAnswer:
        text = answers[model][example.id].text
        concepts = tuple(judged(concept, truth.get(example.id)) for concept in stated(text))
        return CardAnswer(model, text, domain.matcher.is_correct(text, example.label), concepts)

    last = list(answers)[-1] if answers else ""
    return Gallery(tuple(
        Card(e.id, domain.path(e), e.label, answers[last][e.id].query, tuple(answer(model, e) for model in answers))
        for e in shown
    ))  # fmt: skip


def judged(concept: str, truth: Truth | None) -> StatedConcept:
    """Return a stated concept with its verdict and, where it is seen and the place is known, its box."""
    boxes = truth.boxes if truth else {}
    box = next((box for phrase, box in boxes.items() if canonical_words(phrase) == canonical_words(concept)), None)
    return StatedConcept(concept, verdict(concept, truth), box)


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """Return `count` examples, evenly over the labels; which of a label follows from the hash of the ids."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in by_hash(examples):
        by_label[example.label].append(example)
    labels = sorted(by_label)
    if len(labels) > count:
        labels = [labels[i * len(labels) // count] for i in range(count)]
    deepest = max((len(by_label[label]) for label in labels), default=0)
    rounds = [by_label[label][depth] for depth in range(deepest) for label in labels if depth < len(by_label[label])]
    return sorted(rounds[:count], key=lambda e: (e.label, rounds.index(e)))


def by_hash(examples: Sequence[Example]) -> list[Example]:
    """Return the examples in an order that follows from their ids alone."""
    return sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest())


def confusion(
    domain: Domain, model: str, predictions: Sequence[Prediction], stated: StatedConcepts, most: int = MOST
) -> Confusion:
    """Return one model's wrong answers by the labels that they name, the `most` frequent pairs with an example each."""
    examples, truth = {e.id: e for e in domain.examples}, domain.truth or {}
    about = Counter(examples[p.example_id].label for p in predictions)
    kinds: Counter[str] = Counter()
    ever: set[str] = set()
    pairs: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        label, named = examples[prediction.example_id].label, domain.matcher.names(prediction.text)
        ever |= named
        if named == {label}:
            continue
        kinds["none" if not named else "other" if len(named) == 1 else "several"] += 1
        if len(named) == 1:
            (other,) = named
            pairs[label, other].append(prediction)
    lists = domain.concepts
    apart = {(label, named): separating(lists.get(label, ()), lists.get(named, ())) for label, named in pairs}

    def gives_own_reason(text: str, pair: tuple[str, str]) -> bool:
        own = set(map(canonical_words, apart[pair][0]))
        return not own.isdisjoint(map(canonical_words, stated(text)))

    def described(pair: tuple[str, str]) -> ConfusedPair:
        answered = {p.example_id: p.text for p in reversed(pairs[pair])}
        example = by_hash([examples[i] for i in answered])[0]
        text = answered[example.id]
        concepts = tuple(judged(concept, truth.get(example.id)) for concept in stated(text))
        counts = len(pairs[pair]), about[pair[0]]
        return ConfusedPair(*pair, *counts, *apart[pair], example.id, domain.path(example), text, concepts)

    commonest = sorted(pairs, key=lambda pair: (-len(pairs[pair]), pair))
    return Confusion(
        model=model,
        answers=len(predictions),
        wrong=kinds.total(),
        names_none=kinds["none"],
        names_several=kinds["several"],
        names_other=kinds["other"],
        own_reasons=sum(gives_own_reason(p.text, pair) for pair, given in pairs.items() for p in given),
        pairs_in_all=len(commonest),
        pairs=tuple(described(pair) for pair in commonest[:most]),
        never_named=tuple(NeverNamed(label, about[label]) for label in sorted(about.keys() - ever)),
    )


def separating(label: Sequence[str], named: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return the concepts in the first list alone, in the second alone, and how many are in both, in any spelling."""
    first, second = ({canonical_words(c): c for c in concepts} for concepts in (label, named))
    only_first = tuple(concept for words, concept in first.items() if words not in second)
    only_second = tuple(concept for words, concept in second.items() if words not in first)
    return only_first, only_second, len(first.keys() & second.keys())
