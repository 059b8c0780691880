"""One canonical form for phrases and texts, and what is denied in it.

A text becomes a line of folded words and marks, one space before and after each: "Its bill's short, conical!" is
" its bill short , conical . ". The marks are "." (the end of a sentence), "," and ":".
"""

import re
import unicodedata
from functools import cache

NEGATORS = frozenset(["no", "without"])
"""The words that negate from within a phrase ('no stem'); 'lacks' and 'free of' are folded into 'without'."""
CUTS = frozenset([
    "of", "on", "over", "at", "in", "into", "between", "under", "through", "with", "along", "from", "by", "around",
    "down", "when", "where", "near", "across", "above", "below", "opposite",
])  # fmt: skip
"""The words at which a long phrase falls into parts."""
DENIALS = NEGATORS | {"not", "never", "neither", "hardly"}
ARTICLES = frozenset(["a", "an", "the", "its", "their", "his", "her"])

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
"""Scripts without spaces, of which every character is a token."""
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+|[.!?;\n\u3002]|[,()\u3001\u2013\u2014]|:")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"n['\u2019]t\b|\bcannot\b", " not"),
        (r"['\u2019]s?\b", ""),
        (r"\b(?:not (?:only|just|merely|simply)|no doubt)\b", " "),
        (r"\b(?:lack(?:s|ing|ed)?(?: of)?|free of|devoid of|absence of)\b", "without"),
        (r"\bcolou?red\b", " "),
        (r"(?<=\w)\s-+\s", " , "),
    ]
)
_FOLDED = {"leaves": "leaf", "feet": "foot", "gray": "grey", "color": "colour", "colors": "colour"}
_UNFOLDED = frozenset(["does", "this", "always", "perhaps"])


def canonical(text: str) -> str:
    """`text` as a line of folded words and marks."""
    text = unicodedata.normalize("NFKC", text).casefold()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return f" {' '.join(_fold(token) for token in _TOKEN.findall(text))} . "


@cache
def words_of(phrase: str) -> tuple[str, ...]:
    """The folded words of a phrase, without articles and marks: two wordings of one phrase have the same."""
    return tuple(w for w in canonical(phrase).split() if w not in ARTICLES and w not in ".,:")


@cache
def _fold(token: str) -> str:
    if token in _FOLDED:
        return _FOLDED[token]
    if token in ".!?;\n\u3002":
        return "."
    if token in ",()\u3001\u2013\u2014":
        return ","
    if len(token) <= 3 or token in _UNFOLDED or not token.endswith("s") or token.endswith(("ss", "us", "is")):
        return token
    if token.endswith("ies") and len(token) > 4:
        return token[:-3] + "y"
    return token[:-2] if token.endswith(("ches", "shes", "xes", "sses", "zes")) else token[:-1]


_BEFORE = re.compile(
    r" (no|not|without|never|neither|nor|instead of|rather than|unlike|hardly|hidden|invisible|missing)(?= )"
)
_STOP = re.compile(
    r" (?:but|however|although|though|while|whereas|yet|with|because|since|:) "
    r"| and (?:it|its|the|has|have|is|are|show) | \S+ .*(?<= )(?:is|are|has|have|show|feature) "
)
_STOP_OF_NO = re.compile(r" and (?:a|an) ")
_AFTER = re.compile(
    r"(?: that| which)?(?: (?:is|are|was|were|do|does|did|can|could|has|have|seem|appear))?(?: to)?(?: be| been)?"
    r"(?: (?:partly|mostly|completely|entirely|fully))?"
    r" (?:absent|missing|hidden|invisible|obscured"
    r"|not (?:be )?(?:visible|seen|present|shown|show|there|apparent|exist|clear|discernible)) "
)
_LIST_WITH_OR = re.compile(r"(?: ,(?: (?!and|or|nor|has|have|is|are|with)\w+){1,5})* ,? ?(?:or|nor) ")


def negated(line: str, start: int, end: int) -> bool:
    """Whether the mention line[start:end] of a canonical line is denied: 'no eye ring', 'the crest is not visible'.

    A negation reaches to the end of its sentence, to 'but', 'with' or a new subject or verb, or to a comma that is not
    part of an 'or' list. 'No' ends at 'and a' too: 'no crest and a red crown' states the crown.
    """
    if _AFTER.match(line, end):
        return True
    sentence = line[line.rfind(" . ", 0, start + 1) + 2 if " . " in line[: start + 1] else 0 : start]
    negators = list(_BEFORE.finditer(sentence + " "))
    if not negators:
        return False
    negator = negators[-1]
    between = sentence[negator.end() :] + " "
    if _STOP.search(between) or (negator[1] == "no" and _STOP_OF_NO.search(between)):
        return False
    return " , " not in between or " or " in between or " nor " in between or bool(_LIST_WITH_OR.match(line, end))
