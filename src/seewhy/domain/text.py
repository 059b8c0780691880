"""Text as normalised words and marks: what the label matcher, the concept finder and `assertion` read.

`tokenise` applies NFKC and case folding. Hyphens, underscores and most punctuation separate words; an English
possessive 's is dropped; contractions are written out ("isn't" is "is not"); digits and letters are separate words that
may belong to one name. In scripts without spaces each character is a word. `standard_spelling` unifies British and
American spelling, `strip_accents` removes accents.

`canonical` goes further, for the comparison of concept phrases with texts: a line of words and marks, "Its bill's
short, conical!" is `its bill short , conical .`. The marks are "." (the end of a sentence or line), "," and ":".
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

import yaml


@cache
def read_words(name: str) -> dict[str, Any]:
    """Return the word lists of a YAML file of this folder."""
    return yaml.safe_load((files("seewhy.domain") / name).read_text(encoding="utf-8"))


def word_set(words: str) -> frozenset[str]:
    """Return the words of a space-separated list."""
    return frozenset(words.split())


WORDS = {name: word_set(words) for name, words in read_words("words.yaml").items() if isinstance(words, str)}
"""The word lists of words.yaml by name."""
COLOURS = WORDS["colours"]

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
_STOPS = {
    "\n": "\n", ".": ".", "!": ".", ";": ".", "\u3002": ".", "\u0964": ".", "?": "?", ",": ",", "\u3001": ",",
    "\u2014": ",", ":": ":", "|": ":", "(": "(", "[": "(", "{": "(", ")": ")", "]": ")", "}": ")",
}  # fmt: skip
"""Punctuation that counts, and the mark that it is folded to."""
_TOKEN = re.compile(
    rf"([{re.escape(''.join(_STOPS))}])|([{_UNSPACED}][{_MARKS}]*)|([{_HANGUL}])|\d+"
    rf"|[^\s\d\-{re.escape(''.join(_STOPS))}{_UNSPACED}{_HANGUL}]+"
)
_APOSTROPHES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc\u00b4`\u2032\uff07", "'") | dict.fromkeys("\u2010\u2011\u2212", "-")
)
_CONTRACTIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\bcan't\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(it|that|there|this|here|what|who|which|he|she|where|how)'s\b", r"\1 is"),
        (r"'s\b", ""),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"\bi'm\b", "i am"),
    ]
)
_ABBREVIATIONS = re.compile(
    r"\b(st|mt|ft|dr|mr|mrs|ms|prof|vs|cf|sp|spp|ssp|var|subsp|fig|ca|approx|etc|e\.g|i\.e|no(?=\. ?\d)|[^\W\d_])"
    r"\.(?=\s*\S)"
)
_NO_STOP = re.compile(r"\.(?=[^\s\"'*)\]\u201d_])|(?<!\S)\.")
_DASH = re.compile(r"(?<=\S) +[-\u2013]+ +")

_IRREGULAR = (
    ("mouse", "mice"), ("goose", "geese"), ("foot", "feet"), ("tooth", "teeth"), ("man", "men"), ("louse", "lice"),
    ("child", "children"), ("ox", "oxen"),
)  # fmt: skip
_LATIN = (("us", "i"), ("is", "es"), ("um", "a"), ("a", "ae"), ("ix", "ices"), ("ex", "ices"), ("oma", "omata"))
"""Endings of Greek and Latin plurals: nevi, keratoses, bacteria, larvae, cervices, vertices, carcinomata."""

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SPELLINGS = (
    {"&": "and"}
    | {str(number): word for number, word in enumerate(NUMBERS)}
    | dict(pair.split("/") for pair in read_words("words.yaml")["spellings"].split())
)
_OR = re.compile(
    r"^((?:un|dis|multi|bi|tri|two|many)?(?:col|fav|flav|harb|hum|lab|neighb|od|parl|rum|sav|tum|vap|behavi|arm|hon|vig|"
    r"splend|endeav|glam))or"
)
_ISE = re.compile(r"(?<=[a-z]{3})is(?=(?:e|es|ed|er|ers|ing|ation|ations)$)")
_UNDECOMPOSED = str.maketrans(
    {"\u0153": "oe", "\u00e6": "ae", "\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u0131": "i", "\u00f0": "d",
     "\u0152": "Oe", "\u00c6": "Ae", "\u00d8": "O", "\u0141": "L", "\u0110": "D"}
)  # fmt: skip
_UMLAUTS = str.maketrans(
    {"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00c4": "Ae", "\u00d6": "Oe", "\u00dc": "Ue"}
)
_ACCENT = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")


class _Separators(dict[int, int]):
    """A `str.translate` table: letters, marks, numbers, stops and hyphens stay, all else becomes a space."""

    def __missing__(self, code: int) -> int:
        keep = chr(code) in _STOPS or code == 0x2D or unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if keep else 0x20
        return self[code]


_SEPARATORS = _Separators()


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's N words; whether a name may start or end at each; whether a hyphen joins each to the one before; and the
    N + 1 strings of marks before each word and after the last: "." "?" "," ":" "(" ")" and the end of a line."""

    words: list[str]
    may_start: list[bool]
    may_end: list[bool]
    joined: list[bool]
    marks: list[str]


@lru_cache(maxsize=256)  # names and concepts are looked for in the same text, one after the other
def tokenise(text: str) -> Tokens:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(_APOSTROPHES)).casefold())
    text = text.replace("cannot", "can not").replace("&", " and ")
    if "'" in text:
        for pattern, replacement in _CONTRACTIONS:
            text = pattern.sub(replacement, text)
    if "." in text:
        text = _NO_STOP.sub(" ", _ABBREVIATIONS.sub(r"\1 ", text))
    text = _DASH.sub(" , ", text).translate(_SEPARATORS)
    tokens = Tokens([], [], [], [], [""])
    previous_end, previous_kind = -1, _ALPHANUMERIC
    for match in _TOKEN.finditer(text):
        group = match.lastindex
        if group == 1:
            tokens.marks[-1] += _STOPS[match.group()]
            previous_end = -1
            continue
        kind, start = (group or 1) - 1, match.start()
        apart = start != previous_end or _FREE in (kind, previous_kind)
        if tokens.words:
            tokens.may_end[-1] = apart or kind != _ALPHANUMERIC or previous_kind != _ALPHANUMERIC
        tokens.joined.append(start == previous_end + 1 and previous_end > 0 and text[start - 1] == "-")
        tokens.words.append(match.group())
        tokens.may_start.append(apart or kind != previous_kind)
        tokens.may_end.append(True)
        tokens.marks.append("")
        previous_end, previous_kind = match.end(), kind
    return tokens


@cache
def standard_spelling(word: str) -> str:
    """Return a word in the standard spelling: grey, colour, mould, nevus, organize, 'three' for 3."""
    if (known := _SPELLINGS.get(word)) is not None:
        return known
    if "ae" in word[:-2] and len(word) > 4 and word.isascii() and not word.startswith(("aer", "israel", "michael")):
        word = word[:-2].replace("ae", "e") + word[-2:]
    if "is" in word:
        word = _ISE.sub("iz", word)
    return _OR.sub(r"\1our", word) if "or" in word else word


@cache
def strip_accents(text: str) -> str:
    """Return `text` in plain Latin letters, "Gruyere" for "Gruy\u00e8re"; other scripts keep their marks."""
    if text.isascii():
        return text
    bare = _ACCENT.sub("", unicodedata.normalize("NFD", text.translate(_UNDECOMPOSED)))
    return unicodedata.normalize("NFC", bare)


@cache
def normalise_word(word: str) -> str:
    """Return a word in the standard spelling, without accents."""
    return standard_spelling(strip_accents(word))


def expand_umlauts(name: str) -> str:
    """Return a name as German writes it without umlauts: "Gruenfink" for "Gr\u00fcnfink"; otherwise as it is."""
    return unicodedata.normalize("NFC", name).translate(_UMLAUTS)


def collapse_umlauts(name: str) -> str:
    """Return the plain letters of the umlauts that may be written out in a name: "Grunfink" for "Gruenfink"."""
    return re.sub(r"(?i)\b(?=\w{6})(\w*?[^\Waeiouq])([aou])e(?=[^\Waeiou])", r"\1\2", name)


def name_key(name: str) -> tuple[str, ...]:
    """Return the words of a name, normalised: two names with the same key are the same name to the matcher."""
    return tuple(standard_spelling(word) for word in tokenise(name).words)


def inflections(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Return other spellings of a name: last word in the plural or singular, inner words without a possessive s."""
    inner = [(word, *singulars(word)) for word in key[:-1]]
    last = (key[-1], *sorted(plurals(key[-1]) | singulars(key[-1])))
    yield from product(*inner, last)


def plurals(word: str) -> set[str]:
    if len(word) < 3 or not (word.isascii() and word.isalpha()):
        return set()
    forms = {word.removesuffix(one) + many for one, many in _IRREGULAR if word.endswith(one)}
    if len(word) > 4:
        forms |= {word.removesuffix(one) + many for one, many in _LATIN if word.endswith(one)}
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
    """Return the words of which `word` may be the plural."""
    endings = [(one, many) for one, many in (*_IRREGULAR, *_LATIN) if word.endswith(many)]
    stems = {word.removesuffix(many) + one for one, many in endings}
    if word.endswith("s") and not word.endswith("ss"):
        stems |= {word[:-1], word[:-2], word[:-3] + "y", word[:-3] + "f", word[:-3] + "fe"}
    return {stem for stem in stems if len(stem) > 2 and word in plurals(stem)}


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


def _by_first(*phrases: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
    return {first: [phrase for phrase in phrases if phrase[0] == first] for first, *_ in phrases}


_CANONICAL_MARKS = {".": ".", "\n": ".", "?": ".", ",": ",", "(": ",", ")": ",", ":": ":"}
_STOP_WORDS = _by_first(
    ("not", "only"), ("not", "just"), ("not", "merely"), ("not", "simply"), ("no", "doubt"), ("coloured",),
)  # fmt: skip
"""Words that a line leaves out."""
_WITHOUT = _by_first(
    ("lack", "of"), ("lack",), ("lacks",), ("lacking",), ("lacked",), ("free", "of"), ("devoid", "of"),
    ("absence", "of"),
)  # fmt: skip
_FOLDED = {
    "leaves": "leaf", "feet": "foot", "colours": "colour", "beak": "bill", "beaks": "bill", "twin": "two",
    "chequered": "checkered", "colouration": "colour", "colouring": "colour",
}  # fmt: skip
"""Irregular plurals, and words for the same part or number."""
_UNFOLDED = frozenset(["does", "this", "always", "perhaps"])


def canonical_tokens(tokens: Tokens) -> tuple[list[str], list[int]]:
    """Return the line of a text, and for each of its tokens the word it comes from, or -1 for a mark."""
    words = [normalise_word(word) for word in tokens.words]
    line, origins, at = [], [], 0
    for at_word in range(len(words) + 1):
        for mark in tokens.marks[at_word]:
            line.append(_CANONICAL_MARKS[mark])
            origins.append(-1)
        if at_word == len(words) or at_word < at:
            continue
        at = at_word + 1
        if skipped := _starts(words, at_word, _STOP_WORDS):
            at += skipped - 1
            continue
        if replaced := _starts(words, at_word, _WITHOUT):
            at += replaced - 1
        line.append("without" if replaced else _fold(words[at_word]))
        origins.append(at_word)
    return line, origins


def canonical(text: str) -> str:
    """Return `text` as a line of normalised words and marks, one space before and after each."""
    return f" {' '.join(canonical_tokens(tokenise(text))[0])} . "


@cache
def canonical_words(phrase: str) -> tuple[str, ...]:
    """Return the normalised words of a phrase, without articles and marks: two wordings of one phrase have the same."""
    return tuple(w for w in canonical(phrase).split() if w not in ARTICLES and w not in ".,:")


def join_colours(line: list[str], origins: list[int] | None = None) -> tuple[list[str], list[int]]:
    """Return the line with adjacent colours as one word: a blue-grey head, or blue grey head, is not blue."""
    origins = list(range(len(line))) if origins is None else origins
    joined, kept = [], []
    for word, origin in zip(line, origins, strict=True):
        if joined and word in COLOURS and joined[-1].rpartition("-")[2] in COLOURS:
            joined[-1] += "-" + word
        else:
            joined.append(word)
            kept.append(origin)
    return joined, kept


def join_compounds(line: list[str], origins: list[int], closed: Collection[str]) -> tuple[list[str], list[int]]:
    """Return the line with two words as one where a phrase writes them so: "eye ring" for "eyering".

    An article stays a word: "a round cell" is not "around cell".
    """
    joined, kept = [], []
    for word, origin in zip(line, origins, strict=True):
        apart = not joined or origin < 0 or kept[-1] != origin - 1 or joined[-1] in ARTICLES
        if not apart and joined[-1] + word in closed:
            joined[-1] += word
        else:
            joined.append(word)
            kept.append(origin)
    return joined, kept


def _starts(words: list[str], at: int, phrases: Mapping[str, Sequence[tuple[str, ...]]]) -> int:
    """Return the length of the first of these phrases, which are by their first words, at that place, or 0."""
    if words[at] not in phrases:
        return 0
    return next((len(p) for p in phrases[words[at]] if tuple(words[at : at + len(p)]) == p), 0)


@cache
def _fold(token: str) -> str:
    if token in _FOLDED:
        return _FOLDED[token]
    if len(token) <= 3 or token in _UNFOLDED or not token.endswith("s") or token.endswith(("ss", "us", "is")):
        return min(singulars(token), default=token, key=len) if token.endswith(("eeth", "eet", "ice", "men")) else token
    if token.endswith("ies") and len(token) > 4:
        return token[:-3] + "y"
    return token[:-2] if token.endswith(("ches", "shes", "xes", "sses", "zes")) else token[:-1]
