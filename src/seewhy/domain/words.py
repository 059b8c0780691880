"""A text as folded words: what the label matcher compares.

NFKC and case folding; punctuation, hyphens and underscores part words; an English possessive 's is dropped and "n't" is
"not"; digits part from letters but are one word's parts. Scripts without spaces give one word a character.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

_UNSPACED = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ABUGIDAS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))  # Thai and Lao, Myanmar, Khmer
_UNSPACED += "".join(f"{chr(first)}-{chr(last)}" for first, last in _ABUGIDAS)
_MARKS = "".join(
    chr(code)
    for first, last in _ABUGIDAS
    for code in range(first, last + 1)
    if unicodedata.category(chr(code)).startswith("M")
)
_HANGUL = "\uac00-\ud7a3"
_ALPHANUMERIC, _FREE, _SYLLABLE = 0, 1, 2  # kinds of token, by what may stand right beside them
_TOKEN = re.compile(rf"(\n)|([{_UNSPACED}][{_MARKS}]*)|([{_HANGUL}])|\d+|[^\s\d{_UNSPACED}{_HANGUL}]+")
STOP = re.compile(r"(?<=\w{3})\.(?=\s|$)|[,;:!?()\[\]{}\u2014\u3001\u3002\u0964]|\.{2,}")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`\u2032\uff07", "'"))

_IRREGULAR = (("mouse", "mice"), ("goose", "geese"), ("foot", "feet"), ("tooth", "teeth"), ("man", "men"))


class _Separators(dict[int, int]):
    """A `str.translate` table: letters, marks and numbers stay, line ends stay, all else becomes a space."""

    def __missing__(self, code: int) -> int:
        keep = code == 0x0A or unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if keep else 0x20
        return self[code]


_SEPARATORS = _Separators()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's words; whether a name may start or end at each of them; the clause each stands in."""

    words: list[str]
    may_start: list[bool]
    may_end: list[bool]
    clauses: list[int]


def tokenise(text: str) -> Tokens:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold())
    text = re.sub(r"'s\b", "", text.replace("n't", " not"))
    text = STOP.sub("\n", text).translate(_SEPARATORS)
    tokens = Tokens([], [], [], [])
    clause, previous_end, previous_kind = 0, -1, _ALPHANUMERIC
    for match in _TOKEN.finditer(text):
        group = match.lastindex
        if group == 1:
            clause, previous_end = clause + 1, -1
            continue
        kind = (group or 1) - 1
        apart = match.start() != previous_end or _FREE in (kind, previous_kind)
        if tokens.words:
            tokens.may_end[-1] = apart or kind != _ALPHANUMERIC or previous_kind != _ALPHANUMERIC
        tokens.words.append(match.group())
        tokens.may_start.append(apart or kind != previous_kind)
        tokens.may_end.append(True)
        tokens.clauses.append(clause)
        previous_end, previous_kind = match.end(), kind
    return tokens


def name_key(name: str) -> tuple[str, ...]:
    """The words of a name, folded: two names with the same key are the same name to the matcher."""
    return tuple(tokenise(name).words)


def other_forms(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Other spellings of a name: last word in the plural or singular, inner words without a possessive s."""
    inner = [(word, *singulars(word)) for word in key[:-1]]
    last = (key[-1], *sorted(plurals(key[-1]) | singulars(key[-1])))
    yield from product(*inner, last)


def plurals(word: str) -> set[str]:
    if len(word) < 3 or not (word.isascii() and word.isalpha()):
        return set()
    forms = {word.removesuffix(one) + many for one, many in _IRREGULAR if word.endswith(one)}
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return forms | {word + "es"} | ({word[:-2] + "i"} if word.endswith("us") else set())
    if word.endswith("y") and word[-2] not in "aeiou":
        return {word[:-1] + "ies"}
    if word.endswith(("f", "fe")):
        forms.add(word.removesuffix("e").removesuffix("f") + "ves")
    if word.endswith("o"):
        forms.add(word + "es")
    return forms | {word + "s"}


def singulars(word: str) -> set[str]:
    if not word.endswith("s") or word.endswith("ss"):
        return set()
    stems = {word[:-1], word[:-2], word[:-3] + "y", word[:-3] + "f", word[:-3] + "fe"}
    return {stem for stem in stems if word in plurals(stem)}
