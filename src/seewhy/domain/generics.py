"""Generic sentences, which speak of a class and not of what is shown: "Monarchs have white spots", "crows are larger".

The subject is a name in the bare plural, or with "a" or "an", at the start of a clause; the verb is in the present.
"A crow sits on a branch", "French fries with salt" and "crows like this one" are not generic.
"""

from collections.abc import Sequence

from seewhy.domain.text import WORDS

_STARTS = WORDS["clause_openers"]
_PUNCTUATION = (".", "?", "\n", ",", ":", "(", ")")
_PLURAL_VERBS = WORDS["plural_verbs"]
_SINGULAR_VERBS = WORDS["singular_verbs"]
_FREQUENCY = WORDS["frequency"]
_COMPARATIVES = WORDS["comparatives"]
_NOT_A_VERB = WORDS["not_a_verb"]
_SHOWN = WORDS["shown"]
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
    """Return how words start..end-1 are the subject of a clause: "bare", "indefinite", "definite", or None."""
    article = start > 0 and words[start - 1] in ("a", "an", "the") and not marks[start]
    first = start - article
    opens = first == 0 or marks[first][-1:] in _PUNCTUATION[:-2] or words[first - 1] in _STARTS
    if not opens or end >= len(words) or marks[end]:
        return None
    if not article:
        return "bare"
    return "definite" if words[start - 1] == "the" else "indefinite"


def is_generic(words: Sequence[str], marks: Sequence[str], start: int, end: int, *, loose: bool = False) -> bool:
    """Return whether the name at words start..end-1 is the subject of a statement on its class.

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
    """Return where the clause that starts at a word ends: at the sentence's end, or before a contrast."""
    for at in range(start + 1, len(words)):
        if any(mark in ".?\n" for mark in marks[at]) or words[at] in _CONTRASTS:
            return at
    return len(words)


def _is_done(behind: Sequence[str]) -> bool:
    """Return whether "has" and what follows is a perfect: "has formed"."""
    return (
        bool(behind)
        and (behind[0].endswith("ed") or behind[0] in ("been", "grown", "taken", "become"))
        and (len(behind) < 2 or behind[1] in _NOT_A_VERB)
    )


def _compares(verb: str, behind: Sequence[str]) -> bool:
    return verb in ("is", "are", "has", "have", "looks", "look") and bool(_COMPARATIVES.intersection(behind))


def _is_as_here(words: Sequence[str], marks: Sequence[str], end: int) -> bool:
    """Return whether the sentence includes what is shown: "crows like this one", "..., and so does this tree"."""
    for at in range(end, min(end + _MOST, len(words) - 1)):
        if at > end and any(mark in ".?\n" for mark in marks[at]):
            return False
        if (words[at], words[at + 1]) in _AS_HERE:
            return True
    return False
