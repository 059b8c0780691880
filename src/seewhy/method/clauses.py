"""Which concepts a description says, clause by clause: what rule "said" of step 2 counts.

A description names several features, and the embedding of the whole is near all of them and of their like: "a small
cell, dense chromatin and fine granules" is almost as near to "large cell" as to "small cell". So a text is cut into
clauses, and each clause says the one concept of the whole bank that is nearest to it; concepts of other classes compete
too. A clause says nothing where it is nearer to the noun ("this bird"), or no nearer to the concept than concepts of
the bank are to each other ("I can see"). What a text denies is said only by concepts that deny it ("no crest").

A text is cut at punctuation and at verbs of having and showing. At "and" and "with" it is cut where one of the parts is
nearer to a concept than the whole: "black and white wings" and "a nucleus with two lobes" stay together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seewhy.domain.assertion import Assertions, Status
from seewhy.domain.text import DENIALS, tokenise, word_set
from seewhy.method.encoder import TextEncoder

_CUTS = word_set(
    "has have had having show shows showing shown display displays displaying feature features featuring see seen sees "
    "but which while whereas because also"
)
_JOINTS = frozenset(["and", "with"])
_TIE = 1e-5
"""Similarities that differ by less are the same: the longer clause counts."""
_BLOCK = 16_384
"""Clauses that are compared with the bank at a time."""


@dataclass(frozen=True)
class Clause:
    """A clause of a text, and whether the text denies it. `joint`: "and" or "with" joins it to the one before."""

    text: str
    denied: bool
    joint: str = ""

    @property
    def key(self) -> tuple[str, bool]:
        """What decides which concept the clause says."""
        return self.text, self.denied


def clauses(text: str) -> list[Clause]:
    """Return the clauses of a text in order, in small letters; those that are asked, supposed or compared are left out.

    Each is cut at "and" and "with" too; `Said` joins them again where that is nearer to a concept.
    """
    tokens = tokenise(text)
    words, reading = tokens.words, Assertions(tokens)
    found: list[Clause] = []
    start, joint = 0, ""
    for at in range(len(words) + 1):
        word = words[at] if at < len(words) else ""
        mark, cut = at == len(words) or tokens.marks[at] != "", word in _CUTS or word in _JOINTS
        if not (mark or cut):
            continue
        status = reading.status(at - 1, at) if start < at else Status.OTHER
        told = status in (Status.ASSERTED, Status.DENIED)
        if told:
            found.append(Clause(" ".join(words[start:at]), status is Status.DENIED, joint))
        joint = word if told and word in _JOINTS and not mark else ""
        start = at + cut
    return found


class Reading(dict[str, frozenset[int]]):
    """Text -> the rows of the concepts that it says, found anew whenever it is asked for."""

    def __init__(self, read: Callable[[str], frozenset[int]]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: str) -> frozenset[int]:
        return self._read(text)


class Said:
    """Finds the concepts of a bank that texts say."""

    def __init__(self, concepts: Sequence[str], concepts_CE: np.ndarray, noun: str, encoder: TextEncoder) -> None:
        """`concepts_CE` (C, E) are the embeddings of the C `concepts`, L2-normalised; the images show a `noun`."""
        self._count = len(concepts)
        self._known_CE = np.concatenate([concepts_CE, encoder.embed_concepts([noun])])
        self._denying_C = np.array([not DENIALS.isdisjoint(tokenise(concept).words) for concept in (*concepts, noun)])
        self._encoder = encoder
        self._floor = _usual_similarity(concepts_CE, encoder.embed_texts(concepts))

    def said(self, texts: Iterable[str]) -> dict[str, frozenset[int]]:
        """Return text -> the rows of `concepts` that it says; each clause is embedded once."""
        texts = dict.fromkeys(texts)
        reading = self.reading(texts)
        return {text: reading[text] for text in texts}

    def reading(self, texts: Iterable[str]) -> "Reading":
        """Return what tells the rows of `concepts` that any of the texts says, without the texts in memory.

        They are gone through once. A text is cut again when it is asked for, which costs less than the clauses of
        millions would take of memory.
        """
        wanted: set[tuple[str, bool]] = set()
        for text in texts:
            found = clauses(text)
            wanted.update(clause.key for clause in (*found, *_joined(found)))
        nearest = self._nearest(sorted(wanted))
        return Reading(lambda text: frozenset(self._rows(clauses(text), nearest)))

    def _rows(self, found: Sequence[Clause], nearest: Mapping[tuple[str, bool], tuple[int, float]]) -> Iterator[int]:
        kept: list[Clause] = []
        for clause in found:
            whole = _join(kept[-1], clause) if clause.joint else clause
            near = [nearest.get(one.key, (0, -1.0))[1] for one in (whole, clause, *kept[-1:])]
            if clause.joint and near[0] > max(near[1:]) - _TIE:
                kept[-1] = whole
            else:
                kept.append(clause)
        for clause in kept:
            row, near = nearest[clause.key]
            if near > self._floor and row < self._count:
                yield row

    def _nearest(self, clauses: Sequence[tuple[str, bool]]) -> dict[tuple[str, bool], tuple[int, float]]:
        """Return for each clause the row of the nearest concept that can be said by it, and the similarity."""
        found: dict[tuple[str, bool], tuple[int, float]] = {}
        for first in range(0, len(clauses), _BLOCK):
            block = clauses[first : first + _BLOCK]
            similarity_XC = self._encoder.embed_texts([text for text, _ in block]) @ self._known_CE.T
            denied_X = np.array([denied for _, denied in block])
            similarity_XC[denied_X[:, None] & ~self._denying_C] = -1.0
            rows_X = similarity_XC.argmax(axis=1)
            near_X = similarity_XC[np.arange(len(block)), rows_X]
            found |= {clause: (int(r), float(n)) for clause, r, n in zip(block, rows_X, near_X, strict=True)}
        return found


def _joined(found: Sequence[Clause]) -> Iterator[Clause]:
    return (_join(before, after) for before, after in pairwise(found) if after.joint)


def _join(before: Clause, after: Clause) -> Clause:
    return Clause(f"{before.text} {after.joint} {after.text}", after.denied, before.joint)


def _usual_similarity(concepts_CE: np.ndarray, as_texts_CE: np.ndarray) -> float:
    """Return mean + standard deviation of the similarity of a concept to another concept's text; 0 for a single one.

    The C x C similarities are never held: their sum and the sum of their squares follow from sums over C.
    """
    asked_CE, said_CE = concepts_CE.astype(np.float64), as_texts_CE.astype(np.float64)
    own_C = (asked_CE * said_CE).sum(axis=1)
    pairs = len(own_C) * (len(own_C) - 1)
    if not pairs:
        return 0.0
    mean = (asked_CE.sum(axis=0) @ said_CE.sum(axis=0) - own_C.sum()) / pairs
    square = (((asked_CE.T @ asked_CE) * (said_CE.T @ said_CE)).sum() - (own_C**2).sum()) / pairs
    return float(mean + np.sqrt(max(square - mean**2, 0.0)))
