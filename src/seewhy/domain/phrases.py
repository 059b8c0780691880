"""What makes a phrase a usable concept: short, visual, telling, and free of the class's name. Pure, in English.

A concept is matched against descriptions of a picture, so what cannot be seen there (a call, a weight in kilograms, a
habit) only dilutes the scores, and what every picture shows ("has feathers") tells nothing apart.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from seewhy.domain.problems import clean, reserved_marker
from seewhy.domain.words import singulars, tokenise

MAX_WORDS = 6
"""Words of a concept."""

Words = tuple[str, ...]

COLOURS = frozenset([
    "amber", "apricot", "aqua", "azure", "beige", "black", "blue", "bronze", "brown", "buff", "burgundy", "charcoal",
    "chestnut", "cinnamon", "copper", "cream", "crimson", "cyan", "ebony", "emerald", "fawn", "ginger", "gold",
    "golden", "green", "grey", "indigo", "ivory", "lavender", "lemon", "lilac", "lime", "magenta", "mahogany",
    "maroon", "mustard", "navy", "ochre", "olive", "orange", "peach", "pink", "plum", "purple", "red", "rose",
    "rufous", "russet", "rust", "salmon", "scarlet", "silver", "slate", "tan", "tawny", "teal", "turquoise", "violet",
    "white", "yellow",
])  # fmt: skip
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
_UNSEEN = {
    "a sound": r"songs?|sings?|singing|sounds?|calls?|calling|voices?|vocal\w*|chirp\w*|whistl\w*|barks? at|barking|"
    r"howl\w*|croak\w*|melodious|melodic|noisy|loud|raucous|squawk\w*|wheez\w*|cough\w*",
    "a smell or taste": r"smell\w*|scent\w*|odou?r\w*|fragran\w*|aromatic|aroma|tast\w*|flavou?r\w*|juicy|tart|sour|"
    r"edible|delicious",
    "touch": r"to the touch|feels|itch\w*|pain|painful|tender to|warm to",
    "behaviour": r"behavio\w*|aggressive|friendly|playful|loyal|intelligent|shy|temperament\w*|feeds?|feeding|eats?|"
    r"eating|hunts?|hunting|forag\w*|migrat\w*|nests?|nesting|breeds?|breeding|mating|nocturnal|diurnal|territorial|"
    r"energetic|affectionate|protective|swims?|dives?|diving",
    "habitat or origin": r"habitats?|habitat\w*|native to|found (?:in|on|near|throughout)|lives? (?:in|on|near)|"
    r"inhabit\w*|endemic|originat\w*|bred (?:in|for|as)|ranges? from|common in|season\w*|wetlands?|woodlands?",
    "a measure": rf"wingspan|weigh\w*|lifespan|lightweight|{_MEASURE}",
    "no look": r"diagnos\w*|patients?|history of|contagious|caused by|treat\w*|rare|endangered|popular|famous|"
    r"manufactur\w*|produced by|introduced in|engine power|maximum speed",
}  # fmt: skip
_NOT_VISUAL = tuple((kind, re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.I)) for kind, words in _UNSEEN.items())
_EMPTY = frozenset([
    "distinctive", "distinct", "distinguishing", "unique", "characteristic", "typical", "various", "visible", "notable",
    "recognizable", "recognisable", "beautiful", "attractive", "striking", "specific", "general", "overall", "common",
    "normal", "standard", "certain", "different", "similar", "many", "some", "several", "pair", "two", "four", "one",
    "three", "six", "both", "all", "very", "quite", "has", "have", "having", "with", "of", "in", "on", "and", "or",
    "is", "are", "clearly", "healthy", "presence", "set", "medium", "sized", "average", "moderate", "moderately",
    "physical", "external", "outer",
])  # fmt: skip
"""Words that say nothing of a look."""
_PARTS = frozenset([
    "feather", "plumage", "wing", "tail", "beak", "bill", "eye", "head", "neck", "body", "leg", "foot", "claw", "fur",
    "coat", "hair", "ear", "nose", "mouth", "paw", "face", "skin", "leaf", "stem", "petal", "flower", "fruit", "root",
    "branch", "surface", "edge", "border", "texture", "pattern", "colour", "colouring", "colouration", "coloration",
    "marking", "mark", "shape", "size", "appearance", "feature", "look", "build", "structure", "form", "part", "detail",
    "design", "engine", "fuselage", "window", "wheel", "animal", "bird", "dog", "plant", "object", "image", "lesion",
    "lung", "chest",
])  # fmt: skip
"""Parts that every thing of its kind has, and words for looks at large."""
_NEVER_A_NAME = COLOURS | _EMPTY | _PARTS


def tidy(phrase: str) -> str:
    """`phrase` without list marks, quotes, full stop, and what leads up to it: "It has a red crown." -> "red crown"."""
    text = clean(phrase).strip(" \t\"'`*\u2022\u00b7\u2013\u2014.;,")
    text = re.sub(r"^(?:[-*\u2022]|\d+[.)])\s+", "", text)
    while (shorter := _LEAD.sub("", text, count=1)) != text and shorter:
        text = shorter
    if len(text) > 1 and text[0].isupper() and text[1].islower():
        text = text[0].lower() + text[1:]
    return text


@cache
def folded(phrase: str) -> Words:
    """The words of a phrase without articles, in the singular, spelt one way: two wordings of it have the same."""
    words = (_SPELT.get(word, word) for word in tokenise(phrase).words if word not in _ARTICLES)
    return tuple(min(singulars(word), key=lambda w: (len(w), w), default=word) for word in words)


def without_name(phrase: str, names: Iterable[str]) -> str:
    """`phrase` without a name in the possessive, or with a colon, before it: "Crow's short bill" -> "short bill"."""
    for name in sorted(names, key=len, reverse=True):
        led = re.match(rf"(?:the\s+)?{re.escape(name)}(?:['\u2019]s?\s+|\s*:\s*)(?=\S)", phrase, re.IGNORECASE)
        if led:
            return phrase[led.end() :]
    return phrase


def unusable(phrase: str) -> str | None:
    """Why a phrase can be no concept of any class (no words, a control token, its length), or None."""
    words = tokenise(phrase).words
    if not words:
        return "no words"
    if marker := reserved_marker(phrase):
        return f"holds the control token {marker}"
    if len(words) > MAX_WORDS:
        return f"longer than {MAX_WORDS} words"
    return None


def unseen(phrase: str) -> str | None:
    """What a phrase speaks of that no picture shows ("a sound"), or None. Judged by words, so that it may err."""
    return next((kind for kind, pattern in _NOT_VISUAL if pattern.search(phrase)), None)


def generic(phrase: str, noun: str = "") -> bool:
    """Whether a phrase names a part that all have, and says nothing of it: "has feathers", "distinctive markings"."""
    telling = set(folded(phrase)) - _EMPTY - set(folded(noun))
    return telling <= _PARTS


def named_in(phrase: str, names: Iterable[str]) -> str | None:
    """The first of `names` that stands in a phrase as a whole, or None.

    One of a single word that is also a colour or a part ("Orange") counts only where it is all of the phrase: "orange
    rind" is a look.
    """
    return ClassNames({"": tuple(names)}).first_in(phrase)


class ClassNames:
    """The names of all classes, so found in a phrase that the number of classes costs nothing. `named_in` has the rule.

    A phrase is some words long, so each run of its words is looked up among the names, instead of each name in it.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._named: dict[Words, list[tuple[int, str, str]]] = defaultdict(list)
        pairs = [(label, name) for label, group in names.items() for name in group]
        for number, (label, name) in enumerate(pairs):
            self._named[folded(name)].append((number, label, name))

    def first_in(self, phrase: str, *, but: str | None = None) -> str | None:
        """The first name, in the order they were given, that stands in a phrase and is none of the class `but`."""
        words = folded(phrase)
        runs = {words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
        telling = (run for run in runs if run == words or not (len(run) == 1 and _is_common(run[0])))
        found = (entry for run in telling for entry in self._named.get(run, ()) if entry[1] != but)
        return min(found, default=(0, "", None))[2]


def last_word_in(phrase: str, names: Iterable[str]) -> str | None:
    """The last word of one of `names` that stands in a phrase ("crow" of Fish Crow), or None. Colours and parts do not
    count."""
    words = folded(phrase)
    lasts = (folded(name)[-1:] for name in names)
    return next((last[0] for last in lasts if last and last[0] in words and not _is_common(last[0])), None)


def _is_common(word: str) -> bool:
    return word in _NEVER_A_NAME or not word.isalpha() or len(word) < 3
