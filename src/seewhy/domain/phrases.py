"""What makes a phrase a usable concept: short, visual, telling, and free of the class's name. Pure, in English.

A concept is matched against descriptions of a picture, so what cannot be seen there (a call, a weight in kilograms, a
habit) only dilutes the scores, and what every picture shows ("has feathers") tells nothing apart.

One canonical form for phrases and texts.

A text becomes a line of folded words and marks: "Its bill's short, conical!" is `its bill short , conical .`. The marks
are "." (the end of a sentence or line), "," and ":". What of it is denied or open, `domain.assertion` decides.

Statements on a class in general: "Monarchs have white spots", "a Monarch usually has ...", "crows are larger".

They say what holds for the class, not what is shown. The subject is a name in the bare plural, or with "a" or "an",
at the start of a clause; the verb is in the present. "A crow sits on a branch", "French fries with salt" and "crows
like this one" are none.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

from seewhy.domain.problems import clean, reserved_marker
from seewhy.domain.text import Tokens, plainly, singulars, tokenise, word_set

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
_STOP_WORDS = (
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
        if skipped := _starts(words, at_word, _STOP_WORDS):
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


_STARTS = word_set("but while whereas and because since as so though although for yet that however whilst unlike both")
_PUNCTUATION = (".", "?", "\n", ",", ":", "(", ")")
_PLURAL_VERBS = word_set("have lack are do show display exhibit possess bear tend differ look appear carry grow live")
_SINGULAR_VERBS = word_set("has lacks is does shows displays exhibits possesses bears tends differs")
_FREQUENCY = word_set(
    "usually typically often generally normally always never sometimes commonly rarely seldom also mostly only almost "
    "tend tends both all mainly"
)
_COMPARATIVES = word_set(
    "bigger larger smaller longer shorter darker lighter paler brighter thicker thinner heavier slimmer stouter "
    "taller wider narrower rounder browner greyer redder blacker whiter duller stockier slenderer higher lower "
    "deeper more less"
)
_NOT_A_VERB = word_set(
    "with without in on at by of from for to and or nor like such as that which who whose near under over beside "
    "behind between is was were can could here there this these the a an it not"
)
"""What behind a bare plural is no verb of its clause."""
_SHOWN = word_set("seen shown visible depicted pictured present being found photographed displayed served in on")
_AS_HERE = (
    ("so", "does"),
    ("so", "do"),
    ("so", "is"),
    ("like", "this"),
    ("as", "here"),
    ("as", "seen"),
    ("as", "this"),
)
_CONTRASTS = frozenset(["but", "whereas", "while", "yet", "however", "though", "although"])
_MOST = 30
"""Words of a clause that are looked at."""


def subject_of(words: Sequence[str], marks: Sequence[str], start: int, end: int) -> str | None:
    """How words start..end-1 are the subject at the start of a clause: "bare", "indefinite", "definite", or None."""
    article = start > 0 and words[start - 1] in ("a", "an", "the") and not marks[start]
    first = start - article
    opens = first == 0 or marks[first][-1:] in _PUNCTUATION[:-2] or words[first - 1] in _STARTS
    if not opens or end >= len(words) or marks[end]:
        return None
    if not article:
        return "bare"
    return "definite" if words[start - 1] == "the" else "indefinite"


def is_generic(words: Sequence[str], marks: Sequence[str], start: int, end: int, *, loose: bool = False) -> bool:
    """Whether the name at words start..end-1 is the subject of a statement on its class.

    `loose`: something else is shown, so that any verb behind a bare plural, or behind a bare code, makes it one.
    """
    subject = subject_of(words, marks, start, end)
    if subject is None or _is_as_here(words, marks, end):
        return False
    verb = end
    if words[verb] in _FREQUENCY and verb + 1 < len(words):
        verb += 1
    elif words[verb].endswith("s") and verb + 1 < len(words) and not marks[verb + 1]:
        following = words[verb + 1]  # "stratus clouds are"
        verb += subject == "bare" and (following in _PLURAL_VERBS or following in _FREQUENCY)
    behind = words[verb + 1 : verb + 4]
    often = words[end] in _FREQUENCY or bool(_FREQUENCY.intersection(behind[:2]))
    said = words[verb]
    if _SHOWN.intersection(behind[:2]) and said in ("is", "are"):
        return False
    if subject == "definite":
        return loose and _compares(said, behind)
    if subject == "indefinite":
        if said not in _SINGULAR_VERBS:
            return often and words[end] in _FREQUENCY
        return loose or often or (said in ("has", "lacks", "does") and not _is_done(behind)) or _compares(said, behind)
    if said in _PLURAL_VERBS:
        plain = said in ("have", "lack", "do", "carry", "bear", "possess", "exhibit") and not _is_done(behind)
        return loose or often or plain or _compares(said, behind)
    if not loose:
        return False
    if said in _SINGULAR_VERBS:  # "A has curved edges"
        return said != "is" or _compares(said, behind)
    return words[end - 1].endswith("s") and not (said in _NOT_A_VERB or said.endswith(("ed", "ing", "s")))


def clause_end(words: Sequence[str], marks: Sequence[str], start: int) -> int:
    """Where the clause that starts at a word ends: at the sentence's end, or before a contrast."""
    for at in range(start + 1, len(words)):
        if any(mark in ".?\n" for mark in marks[at]) or words[at] in _CONTRASTS:
            return at
    return len(words)


def _is_done(behind: Sequence[str]) -> bool:
    """Whether "has" and what follows is a perfect: "has formed"."""
    return (
        bool(behind)
        and (behind[0].endswith("ed") or behind[0] in ("been", "grown", "taken", "become"))
        and (len(behind) < 2 or behind[1] in _NOT_A_VERB)
    )


def _compares(verb: str, behind: Sequence[str]) -> bool:
    return verb in ("is", "are", "has", "have", "looks", "look") and bool(_COMPARATIVES.intersection(behind))


def _is_as_here(words: Sequence[str], marks: Sequence[str], end: int) -> bool:
    """Whether the sentence says that what is shown is so too: "crows like this one", "..., and so does this tree"."""
    for at in range(end, min(end + _MOST, len(words) - 1)):
        if at > end and any(mark in ".?\n" for mark in marks[at]):
            return False
        if (words[at], words[at + 1]) in _AS_HERE:
            return True
    return False
