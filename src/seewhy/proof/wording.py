"""One canonical form for phrases and texts.

A text becomes a line of folded words and marks: "Its bill's short, conical!" is `its bill short , conical .`. The marks
are "." (the end of a sentence or line), "," and ":". What of it is denied or open, `domain.assertion` decides.
"""

from collections.abc import Collection
from functools import cache

from seewhy.domain.phrases import COLOURS
from seewhy.domain.words import Tokens, plainly, singulars, tokenise

NEGATORS = frozenset(["no", "without"])
"""The words that negate from within a phrase ('no stem'); 'lacks' and 'free of' are folded into 'without'."""
CUTS = frozenset([
    "of", "on", "over", "at", "in", "into", "between", "under", "through", "with", "along", "from", "by", "around",
    "down", "when", "where", "near", "across", "above", "below", "opposite",
])  # fmt: skip
"""The words at which a long phrase falls into parts."""
DENIALS = NEGATORS | {"not", "never", "neither", "hardly"}
"""The words by which a phrase denies something itself."""
ARTICLES = frozenset(["a", "an", "the", "its", "their", "his", "her"])

_MARKS = {".": ".", "\n": ".", "?": ".", ",": ",", "(": ",", ")": ",", ":": ":"}
_EMPTY = (
    ("not", "only"), ("not", "just"), ("not", "merely"), ("not", "simply"), ("no", "doubt"), ("coloured",),
)  # fmt: skip
"""Words that a line leaves out."""
_WITHOUT = (
    ("lack", "of"), ("lack",), ("lacks",), ("lacking",), ("lacked",), ("free", "of"), ("devoid", "of"),
    ("absence", "of"),
)  # fmt: skip
_FOLDED = {
    "leaves": "leaf", "feet": "foot", "colours": "colour", "beak": "bill", "beaks": "bill", "twin": "two",
    "chequered": "checkered", "colouration": "colour", "colouring": "colour",
}  # fmt: skip
"""Irregular plurals, and words for the same part or number."""
_UNFOLDED = frozenset(["does", "this", "always", "perhaps"])


def line_of(tokens: Tokens) -> tuple[list[str], list[int]]:
    """The line of a text, and for each of its tokens the word it comes from, or -1 for a mark."""
    words = [plainly(word) for word in tokens.words]
    line, origins, at = [], [], 0
    for at_word in range(len(words) + 1):
        for mark in tokens.marks[at_word]:
            line.append(_MARKS[mark])
            origins.append(-1)
        if at_word == len(words) or at_word < at:
            continue
        at = at_word + 1
        if skipped := _starts(words, at_word, _EMPTY):
            at += skipped - 1
            continue
        if replaced := _starts(words, at_word, _WITHOUT):
            at += replaced - 1
        line.append("without" if replaced else _fold(words[at_word]))
        origins.append(at_word)
    return line, origins


def canonical(text: str) -> str:
    """`text` as a line of folded words and marks, one space before and after each."""
    return f" {' '.join(line_of(tokenise(text))[0])} . "


@cache
def words_of(phrase: str) -> tuple[str, ...]:
    """The folded words of a phrase, without articles and marks: two wordings of one phrase have the same."""
    return tuple(w for w in canonical(phrase).split() if w not in ARTICLES and w not in ".,:")


def joined_colours(line: list[str], origins: list[int] | None = None) -> tuple[list[str], list[int]]:
    """The line with colours that stand side by side as one word: a blue-grey head, or blue grey head, is not blue."""
    origins = list(range(len(line))) if origins is None else origins
    joined, kept = [], []
    for word, origin in zip(line, origins, strict=True):
        if joined and word in COLOURS and joined[-1].rpartition("-")[2] in COLOURS:
            joined[-1] += "-" + word
        else:
            joined.append(word)
            kept.append(origin)
    return joined, kept


def closed_up(line: list[str], origins: list[int], closed: Collection[str]) -> tuple[list[str], list[int]]:
    """The line with two words as one where a phrase writes them so: "eye ring" for "eyering"."""
    joined, kept = [], []
    for word, origin in zip(line, origins, strict=True):
        if joined and origin >= 0 and kept[-1] == origin - 1 and joined[-1] + word in closed:
            joined[-1] += word
        else:
            joined.append(word)
            kept.append(origin)
    return joined, kept


def _starts(words: list[str], at: int, phrases: tuple[tuple[str, ...], ...]) -> int:
    """The length of the first of these phrases that stands there, or 0."""
    return next((len(p) for p in phrases if words[at] == p[0] and tuple(words[at : at + len(p)]) == p), 0)


@cache
def _fold(token: str) -> str:
    if token in _FOLDED:
        return _FOLDED[token]
    if len(token) <= 3 or token in _UNFOLDED or not token.endswith("s") or token.endswith(("ss", "us", "is")):
        return min(singulars(token), default=token, key=len) if token.endswith(("eeth", "eet", "ice", "men")) else token
    if token.endswith("ies") and len(token) > 4:
        return token[:-3] + "y"
    return token[:-2] if token.endswith(("ches", "shes", "xes", "sses", "zes")) else token[:-1]
