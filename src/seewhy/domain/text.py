"""A text as folded words and the marks between them: what label matcher, concept finder and `assertion` read.

NFKC and case folding; hyphens, underscores and most punctuation part words; an English possessive 's is dropped,
contractions are written out ("isn't" is "is not", "it's" is "it is"); digits part from letters but are one word's
parts. Scripts without spaces give one word a character. `spelt` folds what English spells in two ways, `unaccented`
what is written without accents.

'a' or 'an', by how a label or noun is spoken: a European, an MD-11, a one-eyed crow, an hour, an 8-spotted forester.

The first word decides. It is spoken letter by letter where it is a single letter ('X-ray', 'F-16'), has no vowel
('MD-11', 'nv'), or is written in up to three capitals ('SUV'), unless other words of the label are in capitals too
('RED FOX'; of 'FOX' alone it cannot be told). Numbers are spoken as such. A few rules for vowels that are not heard, or
not written, do the rest.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
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
_SPELT = {
    "gray": "grey", "grays": "greys", "grayish": "greyish", "center": "centre", "centers": "centres",
    "fiber": "fibre", "fibers": "fibres", "caliber": "calibre", "mold": "mould", "molds": "moulds", "moldy": "mouldy",
    "sulfur": "sulphur", "aluminum": "aluminium", "tire": "tyre", "tires": "tyres", "plow": "plough",
    "mustache": "moustache", "mustached": "moustached", "ax": "axe", "donut": "doughnut", "donuts": "doughnuts",
    "yogurt": "yoghurt", "omelet": "omelette", "chili": "chilli", "chile": "chilli", "jeweled": "jewelled",
    "pajamas": "pyjamas", "airplane": "aeroplane", "airplanes": "aeroplanes", "maneuver": "manoeuvre",
    "edema": "oedema", "luster": "lustre", "lusters": "lustres", "ocher": "ochre", "somber": "sombre",
    "theater": "theatre", "theaters": "theatres", "saber": "sabre", "sabers": "sabres", "liter": "litre",
    "artifact": "artefact", "artifacts": "artefacts", "diarrhea": "diarrhoea", "celiac": "coeliac", "fetal": "foetal",
    "ameba": "amoeba", "disk": "disc", "disks": "discs", "woolen": "woollen", "jewelry": "jewellery",
    "paneled": "panelled", "labeled": "labelled", "modeled": "modelled", "channeled": "channelled",
    "enameled": "enamelled", "program": "programme", "programs": "programmes", "sulfate": "sulphate",
    "fetus": "foetus", "esophagus": "oesophagus", "barbeque": "barbecue", "whisky": "whiskey", "racoon": "raccoon",
    "&": "and",
} | {str(number): word for number, word in enumerate(NUMBERS)}  # fmt: skip
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
def spelt(word: str) -> str:
    """A word in the one spelling that stands for all: grey, colour, mould, nevus, organize, 'three' for 3."""
    if (known := _SPELT.get(word)) is not None:
        return known
    if "ae" in word[:-2] and len(word) > 4 and word.isascii() and not word.startswith(("aer", "israel", "michael")):
        word = word[:-2].replace("ae", "e") + word[-2:]
    if "is" in word:
        word = _ISE.sub("iz", word)
    return _OR.sub(r"\1our", word) if "or" in word else word


@cache
def unaccented(text: str) -> str:
    """`text` in plain Latin letters, "Gruyere" for "Gruy\u00e8re"; other scripts keep their marks."""
    if text.isascii():
        return text
    bare = _ACCENT.sub("", unicodedata.normalize("NFD", text.translate(_UNDECOMPOSED)))
    return unicodedata.normalize("NFC", bare)


@cache
def plainly(word: str) -> str:
    """A word in the one spelling that stands for all, without accents."""
    return spelt(unaccented(word))


def umlauts_written_out(name: str) -> str:
    """A name as German writes it without umlauts: "Gruenfink" for "Gr\u00fcnfink"; otherwise as it is."""
    return unicodedata.normalize("NFC", name).translate(_UMLAUTS)


def umlauts_closed(name: str) -> str:
    """The plain letters of the umlauts that may be written out in a name: "Grunfink" for "Gruenfink"."""
    return re.sub(r"(?i)\b(?=\w{6})(\w*?[^\Waeiouq])([aou])e(?=[^\Waeiou])", r"\1\2", name)


def word_set(words: str) -> frozenset[str]:
    """The words of a space-separated list."""
    return frozenset(words.split())


def name_key(name: str) -> tuple[str, ...]:
    """The words of a name, folded: two names with the same key are the same name to the matcher."""
    return tuple(spelt(word) for word in tokenise(name).words)


def other_forms(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Other spellings of a name: last word in the plural or singular, inner words without a possessive s."""
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
    """The words of which `word` may be the plural."""
    endings = [(one, many) for one, many in (*_IRREGULAR, *_LATIN) if word.endswith(many)]
    stems = {word.removesuffix(many) + one for one, many in endings}
    if word.endswith("s") and not word.endswith("ss"):
        stems |= {word[:-1], word[:-2], word[:-3] + "y", word[:-3] + "f", word[:-3] + "fe"}
    return {stem for stem in stems if len(stem) > 2 and word in plurals(stem)}


_LETTERS_WITH_AN = frozenset("aefhilmnorsx")
"""Letters whose names begin with a vowel: 'em', but 'you'."""
_LONGEST_INITIALS = 3
"""Capitals with a vowel among them are taken for a word when they are more than this: NASA, HERON."""
_ABBREVIATED = frozenset(["mr", "mrs", "ms", "dr", "st", "mt", "ft"])
"""Without a vowel, and yet spoken as words, all of which begin with a consonant."""

_SILENT_H = re.compile(r"hour|honou?r|honest|heir|hors$")
_SPOKEN_YOU = re.compile(
    r"eu|ew(?!a)"
    r"|uni(?![ndm]|ll)|uni(?:direc|mod)|unanim"
    r"|us[aeiu]|ut[aei]|ur[aeio]|ubi|uf[ao]|uga|uk|uly|uv[eu]|uto"
)
_SPOKEN_WITH_W = re.compile(r"(?:one|ones|oneself|once)$|oui")
_OTHER_VOWEL = re.compile(r"[aeiou]|y[^aeiou]|x(?![aeiouy])")


def with_article(name: str) -> str:
    """'a Crow', 'an Owl'."""
    return f"{'an' if takes_an(name) else 'a'} {name}"


def takes_an(name: str) -> bool:
    """Whether a name begins with the sound of a vowel when it is spoken in English."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.findall(r"\d+|[A-Za-z]+", plain)
    if not words:
        return False
    first = words[0]
    if first.isdigit():
        return _number_takes_an(first)
    if _is_spelled(first, words[1:]):
        return first[0].lower() in _LETTERS_WITH_AN
    word = first.lower()
    if _SPOKEN_YOU.match(word) or _SPOKEN_WITH_W.match(word):
        return False
    return bool(_SILENT_H.match(word) or _OTHER_VOWEL.match(word))


def _is_spelled(word: str, others: list[str]) -> bool:
    """Whether a word is spoken letter by letter."""
    vowels = re.search(r"[aeiouy]", word.lower())
    if len(word) == 1:
        return not (word.lower() == "a" and others and others[0].isalpha())
    if re.match(r"[a-z][A-Z]{2}", word):  # mRNA
        return True
    if not vowels:
        return word.lower() not in _ABBREVIATED and (word.isupper() or word.islower())
    if not word.isupper() or len(word) > _LONGEST_INITIALS:
        return False
    shouted = any(other.isupper() and len(other) > 1 and re.search(r"[AEIOUY]", other) for other in others)
    return not shouted


def _number_takes_an(digits: str) -> bool:
    """Eight, eighty, eight hundred, ...; eleven and eighteen, alone, as thousands and as the centuries of a year."""
    if digits[0] == "8":
        return True
    leading = digits[: (len(digits) - 1) % 3 + 1]
    return leading in ("11", "18") or (len(digits) == 4 and digits[:2] in ("11", "18"))
