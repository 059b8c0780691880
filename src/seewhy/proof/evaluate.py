"""The figures of one model on one split, and of the concept selection, as they stand in metrics.json.

Each figure is a share between 0 and 1 (`fs`: a perplexity). Beside it stand its 95 % interval, where enough was
counted, and what was counted: `accuracy`, `accuracy_interval`, `accuracy_n`; `stated_true_images` says of how many
images the `stated_true_n` concepts are (proof/bootstrap.py). Figures that need the truth of the images are there only
where it is known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seewhy.domain.domain import Domain
from seewhy.domain.labels import LabelMatcher
from seewhy.errors import SeeWhyError
from seewhy.proof.accuracy import correct, leniently_correct
from seewhy.proof.bootstrap import estimate
from seewhy.proof.compare import Counts, by_cluster
from seewhy.proof.consistency import consistency
from seewhy.proof.explanation import StatedConcepts, explains
from seewhy.proof.faithfulness import count_selected, count_verdicts
from seewhy.proof.fluency import NAME as FLUENCY
from seewhy.proof.fluency import in_figures, nats_and_tokens
from seewhy.proof.reasons import AnyReason
from seewhy.records import Example, Likelihood, Prediction, Selection


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
