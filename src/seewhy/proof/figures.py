"""The figures of a model's answers on one split, and of the concept selection.

Each figure is counted by image and then divided (proof/statistics.py).

- `accuracy`: the answer names its label and no other, at word boundaries, the longest label winning. The research code
  asks whether the label is a substring of the answer, so that "Fish Crow" counts as a "Crow"; that is
  `accuracy_lenient`.
- `ee`: the answer states at least one concept of the bank (proof/stated.py); `any_reason`: it says anything besides a
  name.
- `cs`, the cognition score without a judge: the share of an answer's stated concepts that the concepts selected for its
  image entail. The paper has GPT-4o judge, from 0 to 1, whether an explanation agrees with the expert concepts.
  1. The selected concepts are those of the image's true label. A reason that is true of the image and that the expert
     does not list for its class counts as little as a false one; `stated_true` counts true ones.
  2. An answer that states nothing has a CS of 0.
  3. The name in the answer is ignored: accuracy counts it, and the paper's judge ignores it too (its untuned model
     names 3 of 100 birds and has a CS of 0.67).
  4. Entailment is decided by words, for precision: "scarlet" does not entail "red", so CS is a lower bound. A phrase
     entails what remains of it, in its order,
     - when modifiers are left out from the front: "bright red crown" entails "red crown"; of those joined by a comma or
       'and' each by itself: "short, conical bill" entails "short bill"; "dark red crown" does not entail "dark crown";
     - when parts are left out from the end, each from its preposition on: "white belly with spots", "white belly".
     A part that denies something ("no eye ring"), or lies between two ("green to yellow skin"), entails only itself.
- `fs`: the perplexity of the answers under the untuned base.
- `stated_true`, `stated_hidden`, `stated_wrong` and `stated_false` (hidden or wrong): shares of the stated concepts of
  which the truth is known; `stated_unverified`: the share of all stated concepts of which it is not.
- `selection_precision`, `selection_recall`, `selection_precision_whole_list`: the selected concepts against the truth.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from seewhy.domain.domain import Domain
from seewhy.domain.labels import lenient_match
from seewhy.domain.text import ARTICLES, CUTS, DENIALS, NEGATORS, canonical, canonical_words
from seewhy.errors import SeeWhyError
from seewhy.proof.comparison import by_cluster, shares
from seewhy.proof.stated import AnyReason, StatedConcepts
from seewhy.proof.statistics import FLUENCY
from seewhy.records import Example, Likelihood, Prediction, Selection, Truth
from seewhy.results import Counts, Figure, Figures, Verdict

Words = tuple[str, ...]

_JOINTS = frozenset([",", "and"])
_INDIVISIBLE = DENIALS | {"to", "or", "nor"}
"""Words of a part that means something else when a word of it is left out."""


@dataclass(frozen=True)
class Evidence:
    """What CS and FS need beside the answers; None leaves the figure out."""

    selected: Mapping[str, Sequence[str]] | None = None
    """Example id -> the concepts selected for its image."""
    likelihoods: Sequence[Likelihood] | None = None
    """One per answer, in the same order, under the untuned base."""


def measure(
    domain: Domain,
    predictions: Sequence[Prediction],
    stated: StatedConcepts,
    evidence: Evidence = Evidence(),
    *,
    resamples: int,
    seed: int,
) -> Figures:
    """Return the figures of one model's answers on one split.

    Intervals are over images, or over the lesions, patients or leaves that they show, where the domain names them.
    Raises SeeWhyError where there is nothing to measure, or an answer is about an image that the domain does not have.
    """
    counted = count(domain, predictions, stated, evidence)
    clusters = domain.clusters(dict.fromkeys(p.example_id for p in predictions))
    concepts_N, answers_N = counted.pop("stated_per_answer")
    figures = shares(counted, resamples=resamples, seed=seed, clusters=clusters)
    true = figures.get("stated_true")
    return Figures(
        figures | {"stated_per_answer": Figure(sum(concepts_N) / sum(answers_N))},
        split=_examples(domain, [predictions[0].example_id])[0].split,
        n=len(answers_N),
        answers=len(predictions),
        stated_verified=((true and true.n) or 0) if "stated_true" in counted else None,
    )


def count(
    domain: Domain, predictions: Sequence[Prediction], stated: StatedConcepts, evidence: Evidence = Evidence()
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the counts of the figures: name -> (hits, totals), each with one number per image.

    Images are in the order of their first answer. An image without selected concepts, as it could not be described, is
    no part of `cs`. Raises SeeWhyError as `measure`.
    """
    examples = _examples(domain, [p.example_id for p in predictions])
    texts = [p.text for p in predictions]
    answered = list(zip(texts, examples, strict=True))
    concepts = [stated(text) for text in texts]
    says_more = AnyReason.of(domain)
    images = {e.id: row for row, e in enumerate(dict.fromkeys(examples))}
    rows = [images[e.id] for e in examples]

    def per_image(values: Iterable[float]) -> list[float]:
        sums = [0.0] * len(images)
        for row, value in zip(rows, values, strict=True):
            sums[row] += value
        return sums

    answers_N = per_image([1] * len(texts))
    stated_N = per_image(map(len, concepts))
    counted = {
        "accuracy": (per_image(domain.matcher.is_correct(text, e.label) for text, e in answered), answers_N),
        "accuracy_lenient": (per_image(lenient_match(text, e.label) for text, e in answered), answers_N),
        "ee": (per_image(map(bool, concepts)), answers_N),
        "any_reason": (per_image(bool(c) or says_more(t) for t, c in zip(texts, concepts, strict=True)), answers_N),
        "stated_per_answer": (stated_N, answers_N),
    }
    if evidence.selected is not None:
        selected = [evidence.selected.get(e.id, ()) for e in examples]
        scores = [consistency(c, of) if of else 0.0 for c, of in zip(concepts, selected, strict=True)]
        counted["cs"] = (per_image(scores), per_image(map(bool, selected)))
    if (likelihoods := evidence.likelihoods) is not None:
        if [p.example_id for p in predictions] != [likely.example_id for likely in likelihoods]:
            raise ValueError("the likelihoods are not those of these answers")
        counted[FLUENCY] = (per_image(of.nll for of in likelihoods), per_image(float(of.tokens) for of in likelihoods))
    if domain.truth is not None:
        truths = [domain.truth.get(e.id) for e in examples]
        verdicts = [[verdict(concept, t) for concept in c] for c, t in zip(concepts, truths, strict=True)]
        true, hidden, wrong = (per_image(v.count(kind) for v in verdicts) for kind in ("true", "hidden", "false"))
        verified = [sum(of) for of in zip(true, hidden, wrong, strict=True)]
        counted |= {
            "stated_unverified": ([s - v for s, v in zip(stated_N, verified, strict=True)], stated_N),
            "stated_true": (true, verified),
            "stated_false": ([h + w for h, w in zip(hidden, wrong, strict=True)], verified),
            "stated_hidden": (hidden, verified),
            "stated_wrong": (wrong, verified),
        }
    return counted


def count_units(
    domain: Domain, predictions: Sequence[Prediction], stated: StatedConcepts, evidence: Evidence = Evidence()
) -> Counts:
    """Return the counts as `count`, with one number per lesion, patient or leaf where the domain names them."""
    clusters = domain.clusters(dict.fromkeys(p.example_id for p in predictions))
    return by_cluster(count(domain, predictions, stated, evidence), clusters)


def measure_selection(
    domain: Domain, selections: Sequence[Selection], *, resamples: int, seed: int
) -> dict[str, Figure]:
    """Return the figures of the concept selection, over all images that have selections.

    selected_per_image, listed_per_image; and with truth selection_precision (share of the selected concepts that are
    visible), selection_recall (share of the visible listed concepts that are selected) and
    selection_precision_whole_list (the precision of a class's whole list). Raises SeeWhyError as `measure`.
    """
    by_image: Mapping[str, list[Selection]] = defaultdict(list)
    for selection in selections:
        by_image[selection.example_id].append(selection)
    _examples(domain, list(by_image), one_split=False)
    figures = {
        "selected_per_image": Figure(sum(s.selected for s in selections) / len(by_image)),
        "listed_per_image": Figure(len(selections) / len(by_image)),
    }
    if domain.truth is None:
        return figures
    known = [i for i in by_image if i in domain.truth]
    counts = [count_selected(by_image[i], domain.truth[i]) for i in known]
    both, selected, visible, listed = zip(*counts, strict=True) if counts else ((), (), (), ())
    counted = {
        "selection_precision": (both, selected),
        "selection_recall": (both, visible),
        "selection_precision_whole_list": (visible, listed),
    }
    return figures | shares(counted, resamples=resamples, seed=seed, clusters=domain.clusters(known))


def consistency(concepts: Sequence[str], selected: Iterable[str]) -> float:
    """Return the CS of an answer that states `concepts`: the share that the selected concepts entail, 0 for none."""
    selected = tuple(selected)
    entailed = sum(any(entails(premise, concept) for premise in selected) for concept in concepts)
    return entailed / len(concepts) if concepts else 0.0


@lru_cache(maxsize=100_000)
def entails(premise: str, conclusion: str) -> bool:
    """Return whether what has the concept `premise` has the concept `conclusion` too, decided by their words."""
    whole, kept = _parts(premise), _parts(conclusion)
    if not kept or len(kept) > len(whole):
        return False
    pairs = list(zip(kept, whole, strict=False))
    if any(DENIALS.intersection(part) for part, _ in pairs):
        first = next(i for i, (part, _) in enumerate(pairs) if DENIALS.intersection(part))
        if kept[first:] != whole[first:]:
            return False
    return all(_remains(part, of) for part, of in pairs)


@cache
def _parts(phrase: str) -> list[Words]:
    """Return the normalised words of a phrase, cut before its prepositions and before what it denies."""
    parts: list[list[str]] = [[]]
    for word in canonical(phrase).split():
        if word in ARTICLES or word in (".", ":"):
            continue
        last = parts[-1][-1:]
        if word in CUTS or (word in NEGATORS and not CUTS.intersection(last)):
            parts.append([])
        parts[-1].append("no" if word in NEGATORS else word)
    return [tuple(part) for part in parts if part]


def _remains(kept: Words, whole: Words) -> bool:
    """Return whether `kept` remains of a part when modifiers are left out."""
    if _plain(kept) == _plain(whole):
        return True
    prepositions = [CUTS.intersection(part[:1]) for part in (kept, whole)]
    if prepositions[0] != prepositions[1] or _INDIVISIBLE.intersection(whole):
        return False
    after = len(prepositions[0])
    conjuncts: list[list[str]] = [[]]
    for word in whole[after:]:
        if word in _JOINTS:
            conjuncts.append([])
        else:
            conjuncts[-1].append(word)
    return _ends(_plain(kept[after:]), [tuple(c) for c in conjuncts if c], least=1)


def _ends(words: Words, conjuncts: Sequence[Words], least: int = 0) -> bool:
    """Return whether `words` are the ends of the conjuncts, in order, with at least `least` words of the last."""
    if not conjuncts:
        return not words
    *before, last = conjuncts
    return any(
        words[len(words) - n :] == last[len(last) - n :] and _ends(words[: len(words) - n], before)
        for n in range(least, min(len(last), len(words)) + 1)
    )


def _plain(part: Words) -> Words:
    return tuple(word for word in part if word not in _JOINTS)


def verdict(concept: str, truth: Truth | None) -> Verdict:
    """Return whether a stated concept is true (visible), hidden (true, but out of sight), false, or not known.

    A concept in no list of an image is false only where all that is true of it is listed (`Truth.complete`).
    """
    if truth is None:
        return "unverified"
    words = canonical_words(concept)
    if words in map(canonical_words, truth.visible):
        return "true"
    if words in map(canonical_words, truth.hidden):
        return "hidden"
    return "false" if truth.complete or words in map(canonical_words, truth.absent) else "unverified"


def count_selected(selections: Sequence[Selection], truth: Truth) -> tuple[int, int, int, int]:
    """Return how many concepts of one image's list are (selected and visible, selected, visible, listed).

    Concepts of which it is not known whether they can be seen are left out.
    """
    known = [(s, found == "true") for s in selections if (found := verdict(s.concept, truth)) != "unverified"]
    both = sum(visible and s.selected for s, visible in known)
    return both, sum(s.selected for s, _ in known), sum(visible for _, visible in known), len(known)


def _examples(domain: Domain, ids: Sequence[str], *, one_split: bool = True) -> list[Example]:
    """Return the examples of `ids`. Raises SeeWhyError where there are none, or several splits."""
    if not ids:
        raise SeeWhyError(
            f"There is nothing to measure on {domain.name}: the split has no images. Set evaluate.split to one that has"
            " (train, val or test), or add images to it."
        )
    known = {e.id: e for e in domain.examples}
    for name in ids:
        if name not in known:
            raise SeeWhyError(
                f"There is an answer about {name!r}, an image that {domain.name} does not have."
                " Measure a run with the data that it was made from."
            )
    examples = [known[name] for name in ids]
    if one_split and len(splits := {e.split for e in examples}) > 1:
        raise SeeWhyError(f"The answers are about several splits ({', '.join(sorted(splits))}); measure one at a time.")
    return examples
