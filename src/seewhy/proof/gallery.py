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
from seewhy.records import Example, Prediction


def gallery(
    domain: Domain,
    predictions: Mapping[str, Sequence[Prediction]],
    matcher: LabelMatcher,
    stated: StatedConcepts,
    count: int = 24,
) -> list[dict[str, Any]]:
    """`count` images spread over the classes, each with the answer of each model ('base', 'round 1', ...).

    [{image (absolute path), label, question, answers: [{model, text, correct, stated: [{concept, verdict}]}]}]. Which
    images follows from their ids alone, so two runs on one domain show the same. Raises SeeWhyError where a model has
    not answered about one of them.
    """
    answers = {model: {p.example_id: p for p in given} for model, given in predictions.items()}
    answered = {name for given in answers.values() for name in given}
    shown = spread([e for e in domain.examples if e.id in answered], count)
    for model, given in answers.items():
        if missing := [e.id for e in shown if e.id not in given]:
            raise SeeWhyError(f"{model} has no answer about {missing[0]!r}; evaluate every model on the same split.")
    last = list(answers)[-1] if answers else ""
    truth = domain.truth or {}

    def answer(model: str, example: Example) -> dict[str, Any]:
        text = answers[model][example.id].text
        concepts = [{"concept": c, "verdict": verdict(c, truth.get(example.id))} for c in stated(text)]
        return {"model": model, "text": text, "correct": matcher.is_correct(text, example.label), "stated": concepts}

    return [
        {
            "image": domain.path(example),
            "label": example.label,
            "question": answers[last][example.id].query,
            "answers": [answer(model, example) for model in answers],
        }
        for example in shown
    ]


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples, evenly over the labels; which of a label follows from the hash of the ids."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest()):
        by_label[example.label].append(example)
    labels = sorted(by_label)
    if len(labels) > count:
        labels = [labels[i * len(labels) // count] for i in range(count)]
    deepest = max((len(by_label[label]) for label in labels), default=0)
    rounds = [by_label[label][depth] for depth in range(deepest) for label in labels if depth < len(by_label[label])]
    return sorted(rounds[:count], key=lambda e: (e.label, rounds.index(e)))
