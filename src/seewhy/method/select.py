"""Step 2, the rule: which concepts of its label an image shows, Z*(X).

The paper's rule: keep a concept when its score is above mean + threshold_std * std of the scores of the label's
concepts for this image, and never fewer than the best `minimum` (all, where the label has fewer). As in the research
code std is the sample standard deviation.

1. Concepts of equal score rank in the order of the bank.
2. An image none of whose descriptions could be used shows nothing that we know of: its concepts score NaN and none is
   selected. It teaches its name alone (see `synthesise` and `rejection`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from seewhy.errors import SeeWhyError
from seewhy.method.infonce import concept_scores
from seewhy.records import Description, Example, Selection


def select(
    examples: Sequence[Example],
    descriptions: Sequence[Description],
    descriptions_DE: np.ndarray,
    bank: Mapping[str, Sequence[str]],
    all_concepts: Sequence[str],
    concepts_CE: np.ndarray,
    *,
    temperature: float,
    threshold_std: float,
    minimum: int,
) -> list[Selection]:
    """The score of every concept of every example's label, and whether it was kept.

    `descriptions_DE` and `concepts_CE` are the embeddings of `descriptions` and `all_concepts`, row by row. All
    examples are needed at once, for the others' descriptions are the negatives. Raises SeeWhyError for a label
    without concepts and for a description of an unknown example.
    """
    row_of = {concept: row for row, concept in enumerate(all_concepts)}
    image_of = {example.id: image for image, example in enumerate(examples)}
    for example in examples:
        if not bank.get(example.label):
            raise SeeWhyError(f"Class {example.label!r} has no concepts; add some to the concept bank.")
    strangers = {d.example_id for d in descriptions} - image_of.keys()
    if strangers:
        raise SeeWhyError(f"A description is of example {min(strangers)!r}, which is not among those to select for.")
    owner_D = np.array([image_of[d.example_id] for d in descriptions], dtype=np.int64)
    rows_of_label = {label: np.array([row_of[c] for c in bank[label]]) for label in {e.label for e in examples}}
    wanted = [rows_of_label[example.label] for example in examples]
    scores = concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, temperature)
    return [
        Selection(example.id, concept, float(score), bool(keep))
        for example, score_C in zip(examples, scores, strict=True)
        for concept, score, keep in zip(
            bank[example.label], score_C, kept(score_C, threshold_std, minimum), strict=True
        )
    ]


def kept(score_C: np.ndarray, threshold_std: float, minimum: int) -> np.ndarray:
    """The paper's rule on one image's scores: a boolean array (C,). None is kept where the scores are NaN."""
    if np.isnan(score_C).any():
        return np.zeros(len(score_C), dtype=bool)
    std = score_C.std(ddof=1) if len(score_C) > 1 else 0.0
    keep_C = score_C > score_C.mean() + threshold_std * std
    if keep_C.sum() < minimum:
        keep_C[np.argsort(-score_C, kind="stable")[:minimum]] = True
    return keep_C


def selected_concepts(selections: Sequence[Selection]) -> dict[str, tuple[str, ...]]:
    """Example id -> Z*(X), in the concept bank's order. Examples of which nothing was selected have an empty tuple."""
    chosen: dict[str, list[str]] = {}
    for selection in selections:
        chosen.setdefault(selection.example_id, []).extend([selection.concept] * selection.selected)
    return {example_id: tuple(concepts) for example_id, concepts in chosen.items()}
