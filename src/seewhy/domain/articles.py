"""'a' or 'an', by how a label or noun is spoken: a European, an MD-11, a one-eyed crow, an hour, an 8-spotted forester.

The first word decides. It is spoken letter by letter where it is a single letter ('X-ray', 'F-16'), has no vowel
('MD-11', 'nv'), or is written in up to three capitals ('SUV'), unless other words of the label are in capitals too
('RED FOX'; of 'FOX' alone it cannot be told). Numbers are spoken as such. A few rules for vowels that are not heard, or
not written, do the rest.
"""

import re
import unicodedata

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
