"""Judge whether a phrase is a usable concept: short, visual, informative and free of the class's name. English only.

A concept is matched against descriptions of a picture. What cannot be seen there (a call, a weight in kilograms, a
habit) dilutes the scores, and what every picture shows ("has feathers") does not tell classes apart.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from seewhy.domain.problems import clean, reserved_marker
from seewhy.domain.text import COLOURS, WORDS, read_words, singulars, tokenise

MAX_WORDS = 6
"""Words of a concept."""

Words = tuple[str, ...]

_ARTICLES = frozenset(["a", "an", "the", "its", "their", "his", "her", "this", "that", "these", "those"])
_SPELT = {"gray": "grey", "color": "colour", "colored": "coloured", "feet": "foot", "teeth": "tooth"}
_LEAD = re.compile(
    r"^(?:(?:it|they|the \w+|this \w+|an? \w+)\s+)?(?:has|have|having|with|shows?|showing|features|displays?|possesses)"
    r"\s+(?:(?:a|an|the|its|their)\s+)?|^(?:a|an|the|its|their)\s+",
    re.IGNORECASE,
)
_LONG_UNITS = (
    r"(?:inch(?:es)?|met(?:er|re)s?|centimet(?:er|re)s?|millimet(?:er|re)s?|grams?|kilos?|kilograms?|pounds?|ounces?|"
    r"years?|months?|weeks?|days?|knots?|passengers?|seats?)"
)
_MEASURE = (
    rf"\d[\d.,]*(?:\s*(?:[-\u2013x]|to)\s*\d[\d.,]*)?[\s-]*(?:mm|cm|m|km|in|ft|foot|feet|g|kg|lbs?|oz|mph|km/h|{_LONG_UNITS})|"
    rf"(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|fifty|hundred)[\s-]+{_LONG_UNITS}"
)
_MORE = {"a measure": f"|{_MEASURE}"}
_NOT_VISUAL = tuple(
    (kind, re.compile(rf"(?<![\w-])(?:{words.replace(' ; ', '|')}{_MORE.get(kind, '')})(?![\w-])", re.I))
    for kind, words in read_words("words.yaml")["not_visual"].items()
)
_UNINFORMATIVE, _PARTS = WORDS["uninformative"], WORDS["parts"]
_NEVER_A_NAME = COLOURS | _UNINFORMATIVE | _PARTS


def tidy_phrase(phrase: str) -> str:
    """Return a phrase without list marks, quotes, full stop and lead-in: "It has a red crown." -> "red crown"."""
    text = clean(phrase).strip(" \t\"'`*\u2022\u00b7\u2013\u2014.;,")
    text = re.sub(r"^(?:[-*\u2022]|\d+[.)])\s+", "", text)
    while (shorter := _LEAD.sub("", text, count=1)) != text and shorter:
        text = shorter
    if len(text) > 1 and text[0].isupper() and text[1].islower():
        text = text[0].lower() + text[1:]
    return text


@cache
def phrase_key(phrase: str) -> Words:
    """Return the words of a phrase without articles, in the singular and in one spelling; equal for equal phrases."""
    words = (_SPELT.get(word, word) for word in tokenise(phrase).words if word not in _ARTICLES)
    return tuple(min(singulars(word), key=lambda w: (len(w), w), default=word) for word in words)


def strip_name(phrase: str, names: Iterable[str]) -> str:
    """Return a phrase without a leading name in the possessive or with a colon: "Crow's short bill" -> "short bill"."""
    for name in sorted(names, key=len, reverse=True):
        led = re.match(rf"(?:the\s+)?{re.escape(name)}(?:['\u2019]s?\s+|\s*:\s*)(?=\S)", phrase, re.IGNORECASE)
        if led:
            return phrase[led.end() :]
    return phrase


def unusable_reason(phrase: str) -> str | None:
    """Return why a phrase can be no concept of any class (no words, a control token, its length), or None."""
    words = tokenise(phrase).words
    if not words:
        return "no words"
    if marker := reserved_marker(phrase):
        return f"holds the control token {marker}"
    if len(words) > MAX_WORDS:
        return f"longer than {MAX_WORDS} words"
    return None


def non_visual_kind(phrase: str) -> str | None:
    """Return what a phrase speaks of that no picture shows ("a sound"), or None. Judged by words, so it may err."""
    return next((kind for kind, pattern in _NOT_VISUAL if pattern.search(phrase)), None)


def is_uninformative(phrase: str, noun: str = "") -> bool:
    """Return whether a phrase only names a part that all have: "has feathers", "distinctive markings"."""
    telling = set(phrase_key(phrase)) - _UNINFORMATIVE - set(phrase_key(noun))
    return telling <= _PARTS


def find_name(phrase: str, names: Iterable[str]) -> str | None:
    """Return the first of `names` in a phrase as a whole, or None.

    One of a single word that is also a colour or a part ("Orange") counts only where it is all of the phrase: "orange
    rind" is a look.
    """
    return NameIndex({"": tuple(names)}).find(phrase)


class NameIndex:
    """An index of the names of all classes, which finds one in a phrase by the rule of `find_name`.

    Each run of words of the phrase is looked up among the names, so the number of classes costs nothing.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._named: dict[Words, list[tuple[int, str, str]]] = defaultdict(list)
        pairs = [(label, name) for label, group in names.items() for name in group]
        for number, (label, name) in enumerate(pairs):
            self._named[phrase_key(name)].append((number, label, name))

    def find(self, phrase: str, *, but: str | None = None) -> str | None:
        """Return the first name, in the given order, in a phrase and is not of the class `but`."""
        words = phrase_key(phrase)
        runs = {words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
        telling = (run for run in runs if run == words or not (len(run) == 1 and _is_common(run[0])))
        found = (entry for run in telling for entry in self._named.get(run, ()) if entry[1] != but)
        return min(found, default=(0, "", None))[2]


def find_head_word(phrase: str, names: Iterable[str]) -> str | None:
    """Return the last word of one of `names` in a phrase ("crow" of Fish Crow), or None. Colours and parts do not
    count."""
    words = phrase_key(phrase)
    lasts = (phrase_key(name)[-1:] for name in names)
    return next((last[0] for last in lasts if last and last[0] in words and not _is_common(last[0])), None)


def _is_common(word: str) -> bool:
    return word in _NEVER_A_NAME or not word.isalpha() or len(word) < 3
