"""Accuracy (docs/method.md, step 8): does the answer name the label?

Deviation: the research code asks whether the label is a substring of the answer, so that "Fish Crow" counts as a
"Crow". Here an answer is right when it names that label and no other, at word boundaries, the longest label winning.
The reference's rule is kept as a second figure, never the default.

CS, cognition score, without a judge: are the reasons that an answer gives those that an expert sees in the image?

The paper has GPT-4o judge, from 0 to 1, whether an explanation agrees with the expert concepts. Here CS is the share
of an answer's stated concepts (EE's, `explanation.StatedConcepts`) that the concepts selected for its image entail.

1. The selected concepts are those of the image's true label. A reason that is true of the image and that the expert
   does not list for its class counts as little as a false one: CS asks for the expert's reasons, `stated_true` for
   true ones.
2. An answer that states nothing has a CS of 0, as it has no cognition to score.
3. The name in the answer is not looked at. Accuracy counts it, and the paper's judge does not take it off either: its
   untuned model names 3 of 100 birds and has a CS of 0.67. Reasons of another class cost an answer its CS themselves.
4. Entailment is of words, decided for precision; what needs knowledge of the world ("scarlet" is red) is not seen, so
   that CS is a lower bound. A phrase entails what remains of it, in its order,
   - when modifiers are left out from the front: "bright red crown", "red crown"; of those joined by a comma or 'and'
     each by itself: "short, conical bill", "short bill"; but "dark red crown" does not entail "dark crown";
   - when parts are left out from the end, each from its preposition on: "white belly with spots", "white belly".
   Where something is denied ("no eye ring", "skin without dark spots") or lies between two ("green to yellow skin",
   "red or brown crown"), that part entails itself alone.

Are the stated concepts true of *this* image, and were the right ones selected?

The paper has annotators judge the selected concepts, and nobody the stated ones. Here both are counted
against `Truth`, where it is known.

The figures of one model on one split, and of the concept selection, as they stand in metrics.json.

Each figure is a share between 0 and 1 (`fs`: a perplexity). Beside it stand its 95 % interval, where enough was
counted, and what was counted: `accuracy`, `accuracy_interval`, `accuracy_n`; `stated_true_images` says of how many
images the `stated_true_n` concepts are (proof/statistics.py). Figures that need the truth of the images are there only
where it is known.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher, lenient_match
from seewhy.domain.text import ARTICLES, CUTS, DENIALS, NEGATORS, canonical, canonical_words
from seewhy.errors import SeeWhyError
from seewhy.proof.comparison import Counts, by_cluster
from seewhy.proof.stated import AnyReason, StatedConcepts, explains
from seewhy.proof.statistics import FLUENCY, estimate, in_figures, nats_and_tokens
from seewhy.records import Example, Likelihood, Prediction, Selection, Truth


def correct(texts: Sequence[str], labels: Sequence[str], matcher: LabelMatcher) -> list[bool]:
    """Whether each text names its label and no other."""
    return [matcher.is_correct(text, label) for text, label in zip(texts, labels, strict=True)]


def leniently_correct(texts: Sequence[str], labels: Sequence[str]) -> list[bool]:
    """Whether each text holds its label by the reference's substring rule."""
    return [lenient_match(text, label) for text, label in zip(texts, labels, strict=True)]


Words = tuple[str, ...]

_JOINTS = frozenset([",", "and"])
_INDIVISIBLE = DENIALS | {"to", "or", "nor"}
"""Words of a part that says less, or something else, when any of it is left out."""


def consistency(text: str, selected: Iterable[str], stated: Callable[[str], Sequence[str]]) -> float:
    """CS of one answer: the share of the concepts that `text` states which the image's selected concepts entail.

    `stated` finds the concepts that a text states. 0 where it states none.
    """
    concepts, selected = stated(text), tuple(selected)
    return sum(entailed(concept, selected) for concept in concepts) / len(concepts) if concepts else 0.0


def entailed(concept: str, selected: Iterable[str]) -> bool:
    """Whether any of the selected concepts entails `concept`."""
    return any(entails(premise, concept) for premise in selected)


@lru_cache(maxsize=100_000)
def entails(premise: str, conclusion: str) -> bool:
    """Whether whatever has the concept `premise` has the concept `conclusion` too, by their words."""
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
    """Folded words and joints of a phrase, cut before its prepositions and before what it denies."""
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
    """Whether `kept` is what remains of a part when modifiers are left out."""
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
    """Whether `words` are ends of the conjuncts, in their order, `least` words of the last one."""
    if not conjuncts:
        return not words
    *before, last = conjuncts
    return any(
        words[len(words) - n :] == last[len(last) - n :] and _ends(words[: len(words) - n], before)
        for n in range(least, min(len(last), len(words)) + 1)
    )


def _plain(part: Words) -> Words:
    return tuple(word for word in part if word not in _JOINTS)


Verdict = Literal["true", "hidden", "false", "unverified"]


def verdict(concept: str, truth: Truth | None) -> Verdict:
    """true: visible. hidden: true of the subject, but not to be seen. false: neither. unverified: nobody knows.

    What stands in no list of an image is false only where all that is true of it is listed (`Truth.complete`).
    """
    if truth is None:
        return "unverified"
    words = canonical_words(concept)
    if words in map(canonical_words, truth.visible):
        return "true"
    if words in map(canonical_words, truth.hidden):
        return "hidden"
    return "false" if truth.complete or words in map(canonical_words, truth.absent) else "unverified"


def count_verdicts(concepts: Iterable[str], truth: Truth) -> tuple[int, int, int]:
    """How many of the concepts stated of one image are (true, hidden, false); the unverified ones are in neither."""
    verdicts = [verdict(concept, truth) for concept in concepts]
    return verdicts.count("true"), verdicts.count("hidden"), verdicts.count("false")


def count_selected(selections: Sequence[Selection], truth: Truth) -> tuple[int, int, int, int]:
    """Of one image's label's concepts, how many are (selected and visible, selected, visible, listed).

    Concepts of which it is not known whether they can be seen are in none of these.
    """
    known = [(s, found == "true") for s in selections if (found := verdict(s.concept, truth)) != "unverified"]
    both = sum(visible and s.selected for s, visible in known)
    return both, sum(s.selected for s, _ in known), sum(visible for _, visible in known), len(known)


def measure(
    domain: Domain,
    predictions: Sequence[Prediction],
    matcher: LabelMatcher,
    stated: StatedConcepts,
    *,
    selected: Mapping[str, Sequence[str]] | None = None,
    likelihoods: Sequence[Likelihood] | None = None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """One model's answers on one split.

    split, n (images), answers; accuracy, accuracy_lenient, ee, any_reason; stated_per_answer; with `selected` (example
    id -> the concepts that its image shows) cs; with `likelihoods` (of each answer, under the untuned base) fs; and
    with truth stated_true, stated_false, the latter split in stated_hidden (true, but not to be seen) and stated_wrong:
    shares of the stated concepts of which it is known, not means of shares; stated_verified says how many these are,
    and stated_unverified what share of all stated concepts is not among them. Intervals are over images, or over the
    lesions, patients or leaves that they show, where the domain knows them. Raises SeeWhyError where there is nothing
    to measure, or an answer is about an image that the domain does not have.
    """
    counted = count(domain, predictions, matcher, stated, selected=selected, likelihoods=likelihoods)
    first = _examples(domain, [predictions[0].example_id])[0]
    clusters = domain.clusters(dict.fromkeys(p.example_id for p in predictions))
    hits_N, of_N = counted["stated_per_answer"]
    metrics: dict[str, Any] = {"split": first.split, "n": len(hits_N), "answers": len(predictions)}
    metrics |= {"stated_per_answer": sum(hits_N) / sum(of_N)}
    if "stated_true" in counted:
        metrics |= {"stated_verified": int(sum(counted["stated_true"][1]))}
    for name, (hits_N, of_N) in counted.items():
        if name != "stated_per_answer":
            found = estimate(name, hits_N, of_N, resamples=resamples, seed=seed, clusters=clusters)
            metrics |= in_figures(name, found)
    return metrics


def count(
    domain: Domain,
    predictions: Sequence[Prediction],
    matcher: LabelMatcher,
    stated: StatedConcepts,
    *,
    selected: Mapping[str, Sequence[str]] | None = None,
    likelihoods: Sequence[Likelihood] | None = None,
) -> dict[str, tuple[list[float], list[float]]]:
    """The figures of `measure` before they are shares: name -> (hits, of), each with a number an image.

    Images are in the order of their first answer. An image for which nothing was selected, as it could not be
    described, is no part of cs. Raises SeeWhyError as `measure`.
    """
    examples = _examples(domain, [p.example_id for p in predictions])
    texts, labels = [p.text for p in predictions], [e.label for e in examples]
    concepts = [stated(text) for text in texts]
    says_more = AnyReason.of(domain)
    images = {e.id: row for row, e in enumerate(dict.fromkeys(examples))}
    rows = [images[e.id] for e in examples]

    def per_image(values: Iterable[float]) -> list[float]:
        sums = [0.0] * len(images)
        for row, value in zip(rows, values, strict=True):
            sums[row] += value
        return sums

    answers = per_image([1] * len(texts))
    counted = {
        "accuracy": (per_image(correct(texts, labels, matcher)), answers),
        "accuracy_lenient": (per_image(leniently_correct(texts, labels)), answers),
        "ee": (per_image(explains(text, stated) for text in texts), answers),
        "any_reason": (per_image(explains(text, stated) or says_more(text) for text in texts), answers),
        "stated_per_answer": (per_image(map(len, concepts)), answers),
    }
    if selected is not None:
        shown = [selected.get(e.id, ()) for e in examples]
        scores = [consistency(text, of, stated) if of else 0.0 for text, of in zip(texts, shown, strict=True)]
        counted["cs"] = (per_image(scores), per_image(map(bool, shown)))
    if likelihoods is not None:
        nats, tokens = nats_and_tokens(predictions, likelihoods)
        counted[FLUENCY] = (per_image(nats), per_image(tokens))
    if domain.truth is not None:
        truths = [domain.truth.get(e.id) for e in examples]
        verdicts = [count_verdicts(c, t) if t else (0, 0, 0) for c, t in zip(concepts, truths, strict=True)]
        verified = per_image(map(sum, verdicts))
        stated_N = counted["stated_per_answer"][0]
        counted |= {
            "stated_unverified": ([s - v for s, v in zip(stated_N, verified, strict=True)], stated_N),
            "stated_true": (per_image(true for true, _, _ in verdicts), verified),
            "stated_false": (per_image(hidden + wrong for _, hidden, wrong in verdicts), verified),
            "stated_hidden": (per_image(hidden for _, hidden, _ in verdicts), verified),
            "stated_wrong": (per_image(wrong for _, _, wrong in verdicts), verified),
        }
    return counted


def count_units(domain: Domain, predictions: Sequence[Prediction], stated: StatedConcepts, **beside: Any) -> Counts:
    """As `count`, with a number a lesion, patient or leaf in place of one an image, where the domain knows them."""
    counts = count(domain, predictions, domain.matcher, stated, **beside)
    return by_cluster(counts, domain.clusters(dict.fromkeys(p.example_id for p in predictions)))


def measure_selection(
    domain: Domain, selections: Sequence[Selection], *, resamples: int, seed: int
) -> dict[str, float | list[float]]:
    """The concept selection, over all images that have selections.

    selected_per_image, listed_per_image; and with truth selection_precision (share of the selected concepts that are
    visible), selection_recall (share of the visible listed concepts that are selected) and
    selection_precision_whole_list (the precision of keeping a class's whole list). Raises SeeWhyError as `measure`.
    """
    by_image: Mapping[str, list[Selection]] = defaultdict(list)
    for selection in selections:
        by_image[selection.example_id].append(selection)
    _examples(domain, list(by_image), one_split=False)
    metrics: dict[str, float | list[float]] = {
        "selected_per_image": sum(s.selected for s in selections) / len(by_image),
        "listed_per_image": len(selections) / len(by_image),
    }
    if domain.truth is None:
        return metrics
    judged = [i for i in by_image if i in domain.truth]
    counts = [count_selected(by_image[i], domain.truth[i]) for i in judged]
    both, selected, visible, listed = zip(*counts, strict=True) if counts else ((), (), (), ())
    for name, hits, of in (
        ("selection_precision", both, selected),
        ("selection_recall", both, visible),
        ("selection_precision_whole_list", visible, listed),
    ):
        metrics |= estimate(name, hits, of, resamples=resamples, seed=seed, clusters=domain.clusters(judged))
    return metrics


def _examples(domain: Domain, ids: Sequence[str], *, one_split: bool = True) -> list[Example]:
    """The examples of `ids`, which are to be of one split."""
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
