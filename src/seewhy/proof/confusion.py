"""The images that the report shows, with what each model answered: plain values, as they stand in gallery.json.

Which classes are taken for which, and what in the expert's lists would have told them apart.

A wrong answer names no label, several, or one other: only the last kind makes a pair. What separates a pair are the
concepts that stand in one class's list and not in the other's; where there is none, no list could have helped.

    confusion(domain, predictions, domain.matcher, StatedConcepts.of(domain))["pairs"][0]
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.text import canonical_words
from seewhy.errors import SeeWhyError
from seewhy.proof.figures import verdict
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Prediction, Truth


def gallery(
    domain: Domain,
    predictions: Mapping[str, Sequence[Prediction]],
    matcher: LabelMatcher,
    stated: StatedConcepts,
    count: int = 24,
) -> list[dict[str, Any]]:
    """`count` images spread over the classes, each with the answer of each model ('base', 'round 1', ...).

    [{id, image (absolute path), label, question, answers: [{model, text, correct, stated: [{concept, verdict}]}]}]; a
    true concept whose place is known has its `box`, (left, top, right, bottom) in pixels. Images of which it is known
    what they show come before others. Beyond that, which images follows from their ids alone, so two runs on one domain
    show the same. Raises SeeWhyError where a model has not answered about one of them.
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
    last = list(answers)[-1] if answers else ""

    def answer(model: str, example: Example) -> dict[str, Any]:
        text = answers[model][example.id].text
        concepts = [judged(c, truth.get(example.id)) for c in stated(text)]
        return {"model": model, "text": text, "correct": matcher.is_correct(text, example.label), "stated": concepts}

    return [
        {
            "id": example.id,
            "image": domain.path(example),
            "label": example.label,
            "question": answers[last][example.id].query,
            "answers": [answer(model, example) for model in answers],
        }
        for example in shown
    ]


def judged(concept: str, truth: Truth | None) -> dict[str, Any]:
    """A stated concept with its verdict and, where it can be seen and its place is known, its box."""
    boxes = truth.boxes if truth else {}
    box = next(
        (list(box) for phrase, box in boxes.items() if canonical_words(phrase) == canonical_words(concept)), None
    )
    return {"concept": concept, "verdict": verdict(concept, truth)} | ({"box": box} if box else {})


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples, evenly over the labels; which of a label follows from the hash of the ids."""
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
    """In an order that follows from the ids and from nothing that was measured."""
    return sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest())


MOST = 50
"""Pairs that are written down; the rest are counted."""


def confusion(
    domain: Domain,
    predictions: Sequence[Prediction],
    matcher: LabelMatcher,
    stated: StatedConcepts,
    most: int = MOST,
) -> dict[str, Any]:
    """One model's wrong answers, as they stand in confusion.json.

    answers, wrong, names_none, names_several, names_other (answers each); never_named, the labels that no answer names,
    whichever image it is about: [{label, of (answers about the label)}]; own_reasons, how many of the last state a
    concept that stands in the list of the image's label and not of the one they name; pairs_in_all; and `pairs`, the
    commonest first: [{label, named, count, of (answers about the label), only_label, only_named (concepts), shared (how
    many both lists have), and of one of the images: id, image (absolute path), text, stated: [{concept, verdict}]}].
    """
    examples, truth = {e.id: e for e in domain.examples}, domain.truth or {}
    told = Counter(examples[p.example_id].label for p in predictions)
    kinds: Counter[str] = Counter()
    ever: set[str] = set()
    pairs: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        label, named = examples[prediction.example_id].label, matcher.names(prediction.text)
        ever |= named
        if named == {label}:
            continue
        kinds["none" if not named else "other" if len(named) == 1 else "several"] += 1
        if len(named) == 1:
            (other,) = named
            pairs[label, other].append(prediction)
    lists = domain.concepts
    apart = {(label, named): separating(lists.get(label, ()), lists.get(named, ())) for label, named in pairs}

    def own_reason(text: str, pair: tuple[str, str]) -> bool:
        own = set(map(canonical_words, apart[pair]["only_label"]))
        return not own.isdisjoint(map(canonical_words, stated(text)))

    def shown(pair: tuple[str, str]) -> dict[str, Any]:
        answered = {p.example_id: p.text for p in reversed(pairs[pair])}
        example = by_hash([examples[i] for i in answered])[0]
        concepts = [judged(concept, truth.get(example.id)) for concept in stated(answered[example.id])]
        return {
            "label": pair[0],
            "named": pair[1],
            "count": len(pairs[pair]),
            "of": told[pair[0]],
            **apart[pair],
            "id": example.id,
            "image": domain.path(example),
            "text": answered[example.id],
            "stated": concepts,
        }

    commonest = sorted(pairs, key=lambda pair: (-len(pairs[pair]), pair))
    return {
        "answers": len(predictions),
        "wrong": kinds.total(),
        "names_none": kinds["none"],
        "names_several": kinds["several"],
        "names_other": kinds["other"],
        "never_named": [{"label": label, "of": told[label]} for label in sorted(told.keys() - ever)],
        "own_reasons": sum(own_reason(p.text, pair) for pair, given in pairs.items() for p in given),
        "pairs_in_all": len(commonest),
        "pairs": [shown(pair) for pair in commonest[:most]],
    }


def separating(label: Sequence[str], named: Sequence[str]) -> dict[str, Any]:
    """What stands in one list alone, in its order, and how many concepts stand in both, whatever their spelling."""
    first, second = ({canonical_words(c): c for c in concepts} for concepts in (label, named))
    return {
        "only_label": [concept for words, concept in first.items() if words not in second],
        "only_named": [concept for words, concept in second.items() if words not in first],
        "shared": len(first.keys() & second.keys()),
    }
