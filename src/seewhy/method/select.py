"""Step 2, the rule: which concepts of its label an image shows, Z*(X). There are three.

"image", the paper's: keep a concept when its score is above mean + threshold_std * std of the scores of the label's
concepts for this image, and never fewer than the best `minimum` (all, where the label has fewer). As in the research
code std is the sample standard deviation. It keeps much the same share of every list, however much can be seen.

"unlisted", ours: keep a concept when its mean score over the image's descriptions is more than `unlisted_std` standard
deviations above the mean of its scores for the images of classes that do not list it. Those images show what it scores
where it cannot be seen. A concept is compared with itself alone, so the verdict depends neither on the rest of the list
nor, much, on tau. A concept that every class lists has no such images and falls under the paper's rule.

"said", ours: keep a concept when at least `said_share` of the image's descriptions say it in a clause (see `clauses`).
It needs no images that cannot show the concept, and holds where most classes list most concepts, as of blood cells.

The paper's score is a sum over D(X). Within one image a sum and a mean give the same verdict. Across images only means
can be compared: an image that has lost descriptions would have a higher sum for every concept, seen or not.

All rules keep the best `minimum` at least. A record's score is the paper's sum under the first rule, the standardised
mean under the second, and the share of the descriptions under the third.

1. Concepts of equal score rank in the order of the bank.
2. Nothing is known of an image without usable descriptions: its concepts score NaN, none is selected, and only its name
   is taught (see `synthesise` and `rejection`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from seewhy.config import SelectConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.errors import SeeWhyError
from seewhy.method.clauses import Said
from seewhy.method.encoder import TextEncoder
from seewhy.method.infonce import DescribedImages
from seewhy.records import Description, Example, Selection

_ROUNDING = 1e-9
"""3 of 10 descriptions are a share of 0.3."""


def select_by_rule(
    examples: Sequence[Example],
    descriptions: Sequence[Description],
    bank: ConceptBank,
    noun: str,
    encoder: TextEncoder,
    embedded: Callable[[], np.ndarray],
    config: SelectConfig,
) -> list[Selection]:
    """Return the selections by the rule that `config.rule` names; `noun` is what the images show.

    `embedded` gives the embeddings of the descriptions, (D, E), to the rules that compare them. Raises SeeWhyError as
    `select` does.
    """
    phrases = bank.all_concepts
    concepts_CE = encoder.embed_concepts(phrases)
    if config.rule == "said":
        said = Said(phrases, concepts_CE, noun, encoder).reading(d.text for d in descriptions)
        return select_said(examples, descriptions, bank, phrases, said, config)
    return select(examples, descriptions, embedded(), bank, phrases, concepts_CE, config)


def select(
    examples: Sequence[Example],
    descriptions: Iterable[Description],
    descriptions_DE: np.ndarray,
    bank: Mapping[str, Sequence[str]],
    all_concepts: Sequence[str],
    concepts_CE: np.ndarray,
    config: SelectConfig,
) -> list[Selection]:
    """Return the score of every concept of every example's label, and whether it was selected.

    `descriptions_DE` and `concepts_CE` are the embeddings of `descriptions` and `all_concepts`, row by row. All
    examples are needed at once, since the descriptions of the others are the negatives. Raises SeeWhyError for a label
    without concepts and for a description of an unknown example.
    """
    temperature, minimum = config.temperature, config.minimum
    owner_D, wanted = _owners(examples, descriptions), _wanted(examples, bank, all_concepts)
    described = DescribedImages(descriptions_DE, owner_D, len(examples), concepts_CE, temperature)
    scores = list(described.scores(wanted))
    keeps = [kept(score_C, config.threshold_std, minimum) for score_C in scores]
    if config.rule == "unlisted":
        texts_I = np.maximum(np.bincount(owner_D, minlength=len(examples)), 1)
        sums = described.scores(slice(None) for _ in examples)
        means = (sum_C / texts for sum_C, texts in zip(sums, texts_I, strict=True))
        mean_C, std_C = moments_where_unlisted(means, wanted, len(all_concepts), texts_I)
        judged = [
            standardised(score_C / texts, keep_C, mean_C[rows], std_C[rows], config.unlisted_std, minimum)
            for score_C, texts, keep_C, rows in zip(scores, texts_I, keeps, wanted, strict=True)
        ]
        scores, keeps = [score_C for score_C, _ in judged], [keep_C for _, keep_C in judged]
    return _selections(examples, bank, scores, keeps)


def select_said(
    examples: Sequence[Example],
    descriptions: Iterable[Description],
    bank: Mapping[str, Sequence[str]],
    all_concepts: Sequence[str],
    said: Mapping[str, Collection[int]],
    config: SelectConfig,
) -> list[Selection]:
    """Return the same under rule "said". `said` is text -> the rows of the concepts that it says (`clauses.Said`).

    Raises SeeWhyError as `select` does.
    """
    owner_D, wanted = _owners(examples, descriptions), _wanted(examples, bank, all_concepts)
    counts = [Counter[int]() for _ in examples]
    for owner, description in zip(owner_D, descriptions, strict=True):
        counts[owner].update(said[description.text])
    texts_I = np.bincount(owner_D, minlength=len(examples))
    scores, keeps = [], []
    for counted, texts, rows in zip(counts, texts_I, wanted, strict=True):
        score_C = np.array([counted[row] for row in rows]) / texts if texts else np.full(len(rows), np.nan)
        scores.append(score_C)
        keep_C = score_C >= config.said_share - _ROUNDING
        keeps.append(_at_least(config.minimum, score_C, keep_C) if texts else keep_C)
    return _selections(examples, bank, scores, keeps)


def _owners(examples: Sequence[Example], descriptions: Iterable[Description]) -> np.ndarray:
    """Return the number of the example that each description is of, (D,)."""
    image_of = {example.id: image for image, example in enumerate(examples)}
    owner_D = np.fromiter((image_of.get(d.example_id, -1) for d in descriptions), dtype=np.int64)
    if (owner_D < 0).any():
        stranger = min({d.example_id for d in descriptions} - image_of.keys())
        raise SeeWhyError(f"A description is of example {stranger!r}, which is not among those to select for.")
    return owner_D


def _wanted(
    examples: Sequence[Example], bank: Mapping[str, Sequence[str]], all_concepts: Sequence[str]
) -> list[np.ndarray]:
    """Return for each example the rows of its label's concepts among `all_concepts`."""
    for example in examples:
        if not bank.get(example.label):
            raise SeeWhyError(f"Class {example.label!r} has no concepts; add some to the concept bank.")
    row_of = {concept: row for row, concept in enumerate(all_concepts)}
    rows_of_label = {label: np.array([row_of[c] for c in bank[label]]) for label in {e.label for e in examples}}
    return [rows_of_label[example.label] for example in examples]


def _selections(
    examples: Sequence[Example], bank: Mapping[str, Sequence[str]], scores: Sequence[np.ndarray],
    keeps: Sequence[np.ndarray],
) -> list[Selection]:  # fmt: skip
    return [
        Selection(example.id, concept, float(score), bool(keep))
        for example, score_C, keep_C in zip(examples, scores, keeps, strict=True)
        for concept, score, keep in zip(bank[example.label], score_C, keep_C, strict=True)
    ]


def kept(score_C: np.ndarray, threshold_std: float, minimum: int) -> np.ndarray:
    """Apply the paper's rule to one image's scores: return a boolean array (C,), all False where the scores are NaN."""
    if np.isnan(score_C).any():
        return np.zeros(len(score_C), dtype=bool)
    std = score_C.std(ddof=1) if len(score_C) > 1 else 0.0
    return _at_least(minimum, score_C, score_C > score_C.mean() + threshold_std * std)


def standardised(
    score_C: np.ndarray,
    papers_C: np.ndarray,
    mean_C: np.ndarray,
    std_C: np.ndarray,
    unlisted_std: float,
    minimum: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply our rule to one image's scores, given each concept's mean and std where it is not listed.

    Return the standardised scores (C,) and a boolean array (C,). Where the mean is NaN, as every class
    lists the concept, `papers_C` decides, the verdict of the paper's rule.
    """
    if np.isnan(score_C).any():
        return score_C, np.zeros(len(score_C), dtype=bool)
    z_C = (score_C - mean_C) / std_C
    comparable_C = ~np.isnan(z_C)
    keep_C = np.where(comparable_C, z_C > unlisted_std, papers_C)
    return z_C, _at_least(minimum, np.where(comparable_C, z_C, -np.inf), keep_C)


def moments_where_unlisted(
    scores: Iterable[np.ndarray],
    listed: Sequence[np.ndarray],
    concepts: int,
    texts_I: Sequence[int] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sample standard deviation (C,) of each concept's scores over the images that do not list it.

    `scores` has the mean scores (C,) of all concepts for each image (NaN: no descriptions), `listed` the rows that its
    class lists. An image is weighted by its number of descriptions `texts_I` (by default equal for all), so that the
    noisy means of images that lost most of theirs do not widen the spread. NaN where fewer than two images are left, or
    where their scores are all the same.
    """
    weights = np.ones(len(listed)) if texts_I is None else np.asarray(texts_I, dtype=np.float64)
    count_C, weight_C, mean_C, squares_C = (np.zeros(concepts) for _ in range(4))
    for score_C, rows, weight in zip(scores, listed, weights, strict=True):
        if np.isnan(score_C).any():
            continue
        taken_C = np.ones(concepts)
        taken_C[rows] = 0.0
        count_C += taken_C
        weight_C += weight * taken_C
        change_C = weight * taken_C * (score_C - mean_C)
        mean_C += change_C / np.maximum(weight_C, weight)
        squares_C += change_C * (score_C - mean_C)
    enough_C = (count_C > 1) & (squares_C > 0)
    variance_C = squares_C / np.where(enough_C, weight_C, 1.0) * count_C / np.maximum(count_C - 1, 1.0)
    return np.where(enough_C, mean_C, np.nan), np.sqrt(np.where(enough_C, variance_C, np.nan))


def _at_least(minimum: int, score_C: np.ndarray, keep_C: np.ndarray) -> np.ndarray:
    """Return `keep_C`, or the best `minimum` where it has fewer."""
    if keep_C.sum() < minimum:
        keep_C = keep_C.copy()
        keep_C[np.argsort(-score_C, kind="stable")[:minimum]] = True
    return keep_C


def selected_concepts(selections: Sequence[Selection]) -> dict[str, tuple[str, ...]]:
    """Return example id -> Z*(X), in the concept bank's order; an empty tuple where nothing was selected."""
    chosen: dict[str, list[str]] = {}
    for selection in selections:
        chosen.setdefault(selection.example_id, []).extend([selection.concept] * selection.selected)
    return {example_id: tuple(concepts) for example_id, concepts in chosen.items()}
