"""Which classes are taken for which, and what in the expert's lists would have told them apart.

A wrong answer names no label, several, or one other: only the last kind makes a pair. What separates a pair are the
concepts that stand in one class's list and not in the other's; where there is none, no list could have helped.

    confusion(domain, predictions, domain.matcher, StatedConcepts.of(domain))["pairs"][0]
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.gallery import by_hash, judged
from seewhy.proof.wording import words_of
from seewhy.records import Prediction

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
        own = set(map(words_of, apart[pair]["only_label"]))
        return not own.isdisjoint(map(words_of, stated(text)))

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
    first, second = ({words_of(c): c for c in concepts} for concepts in (label, named))
    return {
        "only_label": [concept for words, concept in first.items() if words not in second],
        "only_named": [concept for words, concept in second.items() if words not in first],
        "shared": len(first.keys() & second.keys()),
    }
