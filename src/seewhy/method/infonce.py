"""InfoNCE scores: how much the descriptions say about a concept (step 2), how much an answer says of Z*(X) (step 6).

With s the cosine similarity and tau the temperature,

    score(z | X) = sum_{d in D(X)}  log( e^{s(d,z)/tau} / ( e^{s(d,z)/tau} + sum_{d' not in D(X)}  e^{s(d',z)/tau} ) )
    score(y | X) = sum_{z in Z*(X)} log( e^{s(z,y)/tau} / ( e^{s(z,y)/tau} + sum_{z' not in Z*(X)} e^{s(z',y)/tau} ) )

Deviations from the research code:

1. The negatives of step 2 are summed once per concept and the image's own share is taken off, which is linear in the
   number of images; the research code concatenates all other images' descriptions again for every image.
2. The share of the one image that weighs most in a concept's sum is kept apart from the rest, in logarithms. So no
   subtraction ever cancels (any other image owns at most half of the sum), and no temperature over- or underflows.
3. The negatives of step 6 are exactly the concepts outside Z*(X); a stale variable lets the research code count an
   image's own concepts among them.

Shapes: I images, D descriptions, C concepts, Y candidates, E embedding width; embeddings are L2-normalised.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seewhy.errors import SeeWhyError

_BLOCK_VALUES = 2**22
"""Similarities held at a time: 32 MB in float64, of which a handful of copies are alive at once."""
_CONCEPTS = 2**13
"""Concepts a pass over the descriptions."""
_MAPPED_BYTES = 2**25
"""What is read of a memory-mapped file before its pages are let go of."""


def concept_scores(
    descriptions_DE: np.ndarray,
    owner_D: np.ndarray,
    concepts_CE: np.ndarray,
    wanted: Sequence[np.ndarray],
    temperature: float,
) -> list[np.ndarray]:
    """score(z | X) for the concepts that each image wants: one float64 array an image, in the order of `wanted`.

    `owner_D` is the index of the image that each description is of, in any order; `wanted[i]` holds row numbers of
    `concepts_CE`. `descriptions_DE` may be memory-mapped and of any float type: it is read in blocks. An image
    without a description says nothing about any concept and gets NaN; if no other image has one, there are no
    negatives and every score is 0. Raises SeeWhyError when the temperature is not above 0.
    """
    return list(DescribedImages(descriptions_DE, owner_D, len(wanted), concepts_CE, temperature).scores(wanted))


class DescribedImages:
    """The embedded descriptions of I images, and for each concept the sum over all of them, taken once."""

    def __init__(
        self, descriptions_DE: np.ndarray, owner_D: np.ndarray, images: int, concepts_CE: np.ndarray, temperature: float
    ) -> None:
        """Take what `concept_scores` takes, and the number of images."""
        _check(temperature, descriptions_DE, concepts_CE)
        self._order_D = np.argsort(owner_D, kind="stable")
        self._starts_I = np.searchsorted(owner_D[self._order_D], np.arange(images + 1))
        self._texts = _Texts(descriptions_DE)
        self._totals = _totals(self._texts, owner_D, self._order_D, concepts_CE, temperature)
        self._scaled_CE = concepts_CE.astype(np.float64) / temperature

    def scores(self, wanted: Iterable[np.ndarray | slice]) -> Iterator[np.ndarray]:
        """Yield `concept_scores`, an image at a time; a slice in `wanted` takes those rows of the concepts."""
        for image, columns in enumerate(wanted):
            own_D = self._order_D[self._starts_I[image] : self._starts_I[image + 1]]
            wanted_CE = self._scaled_CE[columns]
            if not len(own_D):
                yield np.full(len(wanted_CE), np.nan)
                continue
            own_DC = np.concatenate([self._texts[rows] @ wanted_CE.T for rows in _blocks(own_D, len(wanted_CE))])
            others_C = self._totals.without(image, columns, _log_sum_exp(own_DC))
            yield -np.logaddexp(0.0, others_C - own_DC).sum(axis=0)


def candidate_scores(
    candidates_YE: np.ndarray,
    concepts_CE: np.ndarray,
    selected: Sequence[np.ndarray],
    temperature: float,
    times_C: np.ndarray | None = None,
) -> np.ndarray:
    """score(y | X) of every candidate, float64 (Y,); `selected[y]` holds the rows of `concepts_CE` in Z*(X).

    The negatives are all other rows, the unselected concepts of the candidate's own label among them, each counted
    `times_C` (once by default). A candidate whose image has no selected concept gets NaN: there is nothing to judge it
    by. Raises SeeWhyError when the temperature is not above 0.
    """
    _check(temperature, candidates_YE, concepts_CE)
    scaled_CE = concepts_CE.astype(np.float64) / temperature
    log_times_C = np.zeros(len(concepts_CE)) if times_C is None else np.log(times_C)
    texts, scores_Y = _Texts(candidates_YE), np.full(len(candidates_YE), np.nan)
    for rows in _blocks(np.arange(len(candidates_YE)), len(concepts_CE)):
        logits_YC = texts[rows] @ scaled_CE.T
        own_YC = np.zeros(logits_YC.shape, dtype=bool)
        for y, row in enumerate(rows):
            own_YC[y, selected[row]] = True
        negatives_Y = _log_sum_exp(np.where(own_YC, -np.inf, logits_YC + log_times_C).T)
        ys, zs = np.nonzero(own_YC)
        terms = -np.logaddexp(0.0, negatives_Y[ys] - logits_YC[ys, zs])
        sums_Y = np.bincount(ys, weights=terms, minlength=len(rows))
        scores_Y[rows] = np.where(own_YC.any(axis=1), sums_Y, np.nan)
    return scores_Y


@dataclass
class _Totals:
    """For each concept, the log of the sum over all descriptions: the heaviest image's share, and all the rest."""

    top_C: np.ndarray
    rest_C: np.ndarray
    owner_C: np.ndarray

    @classmethod
    def empty(cls, concepts: int) -> "_Totals":
        return cls(np.full(concepts, -np.inf), np.full(concepts, -np.inf), np.full(concepts, -1))

    def add(self, shares_IC: np.ndarray, owner_I: np.ndarray) -> None:
        """Count in the log-shares of images that have not been counted yet, each whole."""
        best_C = shares_IC.argmax(axis=0)
        columns_C = np.arange(shares_IC.shape[1])
        best_share_C = shares_IC[best_C, columns_C]
        remaining_IC = shares_IC.copy()
        remaining_IC[best_C, columns_C] = -np.inf
        heavier_C = best_share_C > self.top_C
        self.rest_C = np.logaddexp(self.rest_C, _log_sum_exp(remaining_IC))
        self.rest_C = np.logaddexp(self.rest_C, np.where(heavier_C, self.top_C, best_share_C))
        self.top_C = np.where(heavier_C, best_share_C, self.top_C)
        self.owner_C = np.where(heavier_C, owner_I[best_C], self.owner_C)

    def without(self, image: int, columns: np.ndarray | slice, share_C: np.ndarray) -> np.ndarray:
        """Log of the sum over all other images, for some concepts, given the image's own log-share of each."""
        rest_C, total_C = self.rest_C[columns], np.logaddexp(self.top_C[columns], self.rest_C[columns])
        is_top_C = self.owner_C[columns] == image
        with np.errstate(divide="ignore"):  # where the image is the top one, the branch not taken may be log(0)
            subtracted_C = total_C + np.log1p(-np.exp(np.minimum(share_C - total_C, 0.0)))
        return np.where(is_top_C, rest_C, subtracted_C)


def _totals(
    texts: "_Texts", owner_D: np.ndarray, order_D: np.ndarray, concepts_CE: np.ndarray, temperature: float
) -> _Totals:
    """One pass over the descriptions for each block of concepts; an image may span several blocks of descriptions."""
    parts = []
    for first in range(0, len(concepts_CE), _CONCEPTS):
        scaled_CE = concepts_CE[first : first + _CONCEPTS].astype(np.float64) / temperature
        totals = _Totals.empty(len(scaled_CE))
        open_shares_IC, open_owner_I = np.empty((0, len(scaled_CE))), np.empty(0, dtype=owner_D.dtype)
        for rows in _blocks(order_D, len(scaled_CE)):
            owner_I, start_I = np.unique(owner_D[rows], return_index=True)
            shares_IC = _segment_log_sum_exp(texts[rows] @ scaled_CE.T, start_I)
            if len(open_owner_I) and open_owner_I[0] == owner_I[0]:
                shares_IC[0] = np.logaddexp(shares_IC[0], open_shares_IC[0])
            elif len(open_owner_I):
                totals.add(open_shares_IC, open_owner_I)
            if len(owner_I) > 1:
                totals.add(shares_IC[:-1], owner_I[:-1])
            open_shares_IC, open_owner_I = shares_IC[-1:].copy(), owner_I[-1:]
        if len(open_owner_I):
            totals.add(open_shares_IC, open_owner_I)
        parts.append(totals)
    if not parts:
        return _Totals.empty(0)
    return _Totals(
        np.concatenate([part.top_C for part in parts]),
        np.concatenate([part.rest_C for part in parts]),
        np.concatenate([part.owner_C for part in parts]),
    )


def _segment_log_sum_exp(logits_DC: np.ndarray, start_I: np.ndarray) -> np.ndarray:
    """(I, C): log-sum-exp over consecutive rows, of which segment i begins at `start_I[i]`; overwrites its input."""
    peak_IC = np.maximum.reduceat(logits_DC, start_I, axis=0)
    lengths_I = np.diff(start_I, append=len(logits_DC))
    logits_DC -= np.repeat(peak_IC, lengths_I, axis=0)
    np.exp(logits_DC, out=logits_DC)
    return peak_IC + np.log(np.add.reduceat(logits_DC, start_I, axis=0))


def _log_sum_exp(logits_XC: np.ndarray) -> np.ndarray:
    """(C,): log-sum-exp over the rows; -inf for no rows, or none that is finite."""
    peak_C = np.max(logits_XC, axis=0, initial=-np.inf)
    shift_C = np.where(np.isneginf(peak_C), 0.0, peak_C)
    with np.errstate(divide="ignore"):
        return shift_C + np.log(np.exp(logits_XC - shift_C).sum(axis=0))


def _blocks(rows: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """`rows` in pieces, so that a piece's similarities to `columns` concepts fit the working memory."""
    size = max(1, min(8192, _BLOCK_VALUES // max(1, columns)))
    return (rows[first : first + size] for first in range(0, len(rows), size))


class _Texts:
    """Rows of embeddings in float64. Of a memory-mapped file, `_MAPPED_BYTES` and a block stay in memory at most."""

    def __init__(self, embeddings_XE: np.ndarray) -> None:
        self.embeddings_XE = embeddings_XE
        self.read = 0
        mapped = isinstance(embeddings_XE, np.memmap) and embeddings_XE.mode == "r"
        self.file = embeddings_XE.base if mapped and isinstance(embeddings_XE.base, mmap.mmap) else None

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows), E); consecutive rows are read as one slice, so that a file is read in order."""
        consecutive = rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all()
        taken_XE = self.embeddings_XE[rows[0] : rows[-1] + 1] if consecutive else self.embeddings_XE[rows]
        float_XE = np.array(taken_XE, dtype=np.float64)
        self.read += taken_XE.nbytes
        if self.file is not None and self.read > _MAPPED_BYTES:
            self.file.madvise(mmap.MADV_DONTNEED)  # read-only, so nothing is lost; the file cache has them still
            self.read = 0
        return float_XE


def _check(temperature: float, texts_XE: np.ndarray, concepts_CE: np.ndarray) -> None:
    if not temperature > 0:
        raise SeeWhyError(f"The InfoNCE temperature is {temperature}; set select.temperature above 0 (the paper: 0.1).")
    if len(texts_XE) and len(concepts_CE) and texts_XE.shape[1] != concepts_CE.shape[1]:
        raise SeeWhyError(
            f"Texts are embedded in {texts_XE.shape[1]} dimensions and concepts in {concepts_CE.shape[1]}: use one "
            "encoder (select.encoder) for both."
        )
