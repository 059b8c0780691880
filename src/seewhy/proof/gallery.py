"""The images that the report shows, with what each model answered: plain values, as they stand in gallery.json."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.errors import SeeWhyError
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.faithfulness import verdict
from seewhy.proof.wording import words_of
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
    box = next((list(box) for phrase, box in boxes.items() if words_of(phrase) == words_of(concept)), None)
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
