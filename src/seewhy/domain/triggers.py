"""The triggers of `assertion` and how they are matched: the longest one that starts at a token.

The phrases, and the words that end their scopes, are data in assertion.yaml, which explains the notation.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from seewhy.domain.text import read_words, word_set

BEFORE, AFTER, BOTH = "before", "after", "both"
CLAUSE, PHRASE, SENTENCE, LINE, CONDITION = "clause", "phrase", "sentence", "line", "condition"
PSEUDO, SEEMS, ASIDE = "pseudo", "seems", "aside"

_DATA = read_words("assertion.yaml")
WORDS = {name: word_set(words) for name, words in _DATA["words"].items()}
"""The words that end scopes, by name."""
BEGINNINGS = {
    name: tuple(tuple(phrase.split()) for phrase in phrases.split(";")) for name, phrases in _DATA["beginnings"].items()
}
MARKS, SENTENCE_ENDS = WORDS["marks"], WORDS["sentence_ends"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. `lists`: a list joined by "and" is all in scope."""

    status: str
    side: str
    reach: str
    lists: bool


Pattern = tuple[tuple[frozenset[str] | None, bool], ...]
"""Places of a phrase: the words that may stand there (None: any), and whether the place may be left out."""


def starts_with(tokens: Sequence[str], starts: Sequence[tuple[str, ...]]) -> bool:
    """Return whether tokens start with any of these phrases."""
    return any(tuple(tokens[: len(start)]) == start for start in starts)


def triggers_at(tokens: Sequence[str], at: int) -> list[tuple[Rule, int]]:
    """Return the longest trigger that starts at a token, and the token after it; of equals the first of the table.

    Where it looks back, the longest that looks ahead comes too: "the crest may have", "may have a crest".
    """
    best: dict[bool, tuple[Rule, int]] = {}
    single, seconds, longer = _BY_FIRST.get(tokens[at], _NO_TRIGGER)
    for rule in single:
        best.setdefault(rule.side == AFTER, (rule, at + 1))
    second = tokens[at + 1] if at + 1 < len(tokens) else ""
    for words, pattern, rule in longer if seconds is None or second in seconds else ():
        if words is None or second in words:
            end, back = _match(pattern, 1, tokens, at + 1), rule.side == AFTER
            if end > at and (back not in best or end > best[back][1]):
                best[back] = rule, end
    if True in best and (False not in best or best[False][1] < best[True][1]):
        return [best[back] for back in (True, False) if back in best and best[back][0].status != PSEUDO]
    return [best[False]] if False in best else []


def _match(pattern: Pattern, place: int, tokens: Sequence[str], at: int) -> int:
    """Return the token behind the longest match of a pattern from `place` on; -1 if there is none."""
    if place == len(pattern):
        return at
    words, optional = pattern[place]
    end = -1
    if at < len(tokens) and (tokens[at] in words if words is not None else tokens[at] not in MARKS):
        end = _match(pattern, place + 1, tokens, at + 1)
    return max(end, _match(pattern, place + 1, tokens, at)) if optional else end


def _patterns(phrases: str) -> list[Pattern]:
    return [
        tuple(
            (_words(token.removesuffix("?") or token), token.endswith("?") and token != "?")
            for token in phrase.strip(" ;").split()
        )
        for phrase in re.split(r"\s;\s", phrases)
        if phrase.strip(" ;")
    ]


def _words(token: str) -> frozenset[str] | None:
    if token == "_":
        return None
    words: set[str] = set()
    for word in token.split("/"):
        words |= set(_DATA["sets"][word[1:-1]].split()) if word.startswith("{") else {word}
    return frozenset(words)


def _second(pattern: Pattern) -> frozenset[str] | None:
    """Return the words that may be second in a match of two words or more; None if any may."""
    found: set[str] = set()
    for words, optional in pattern[1:]:
        if words is None:
            return None
        found |= words
        if not optional:
            break
    return frozenset(found)


Triggers = tuple[list[Rule], frozenset[str] | None, list[tuple[frozenset[str] | None, Pattern, Rule]]]
"""The triggers with one first word: those of that word alone; the words that may follow (None: any); the longer ones,
each with its own."""


def _index() -> dict[str, Triggers]:
    """Return triggers by each word that may be their first; with an optional first place, by the second too."""
    singles: dict[str, list[Rule]] = defaultdict(list)
    longer: dict[str, list[tuple[frozenset[str] | None, Pattern, Rule]]] = defaultdict(list)
    for row in _DATA["triggers"]:
        status, side, reach = row["rule"]
        rule = Rule(status, side, reach.rstrip("+"), reach.endswith("+"))
        for pattern in _patterns(row["phrases"]):
            for place, (words, may_be_left_out) in enumerate(pattern):
                rest = pattern[place:]
                for word in words or ():
                    if all(optional for _, optional in rest[1:]):
                        singles[word].append(rule)
                    if len(rest) > 1:
                        longer[word].append((_second(rest), rest, rule))
                if not may_be_left_out:
                    break
    index = {}
    for word in singles.keys() | longer.keys():
        sets = [words for words, *_ in longer[word]]
        every = None if None in sets else frozenset[str]().union(*(words for words in sets if words is not None))
        index[word] = (singles[word], every, longer[word])
    return index


_NO_TRIGGER: Triggers = ([], frozenset(), [])
_BY_FIRST = _index()
FIRST_WORDS = frozenset(_BY_FIRST)
