"""The ways in which a class name is written or said, and where a text does so.

A name may have hyphens, spaces or neither; a label may be said in other words of its own ("the leaf is healthy"); a
lone letter or number counts only if it is no article and no quantity.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from seewhy.domain.text import (
    COLOURS,
    NUMBERS,
    WORDS,
    Tokens,
    inflections,
    name_key,
    standard_spelling,
    tokenise,
    word_set,
)

Words = tuple[str, ...]

_CLOSED = 8
"""Letters from which a word may be written as two: "bull mastiff" for bullmastiff."""
_HYPHENED = 6
"""Letters from which a word may be written with a hyphen: "pick-up" for pickup."""
_MOST_FORMS = 200
_GAP = 9
"""Words between the two halves of a label that is said in other words, at most."""
_THING = 2
"""Words that may follow the first half, as in "tomato LEAF is healthy" for the label "tomato healthy"."""

STATES, _DEGREES, _LINKS, _UNITS = WORDS["states"], WORDS["degrees"], WORDS["links"], WORDS["units"]
_FUNCTION, _DESIGNATORS = WORDS["function"], WORDS["designators"]
_NOT_BEFORE_STATE, _NOT_BEFORE_NUMBER = WORDS["not_before_state"], WORDS["not_before_number"]
_ROMAN = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_COPULAS = word_set("is are was were looks look appears appear seems seem remains remain")
_ARTICLES = frozenset(["a", "an", "the", "is", "as", "called", "named"])
_WEAK = frozenset(["a", "i", "one", "an"])
"""Letters and numbers that are common words of English too."""


_AND_IT = frozenset({("and", "it"), ("and", "they"), ("and", "this")})
_RANGES = (["or"], ["to"], ["and"], ["versus"], ["vs"])


@dataclass(frozen=True, slots=True)
class Form:
    """A spelling of a label, folded. `label` is None for a phrase that holds a label's word and names nothing."""

    label: str | None
    words: Words
    own_stops: bool = False
    """The label itself holds a comma or bracket, so its words may stand in several clauses."""
    alone: bool = False
    """A lone letter, number or function word, that counts only where it can be nothing else."""


class Forms:
    """An index of spellings, by their letters without the spaces."""

    def __init__(self) -> None:
        self._forms: dict[str, Form] = {}
        self._longest: dict[str, int] = {}

    def __contains__(self, words: Words) -> bool:
        return _letters(words) in self._forms

    def add(self, form: Form) -> None:
        """Add a spelling, unless another has the same letters."""
        words = form.words
        if words and self._forms.setdefault(_letters(words), form) is form:
            most = len(words) + sum(len(word) >= _HYPHENED for word in words)
            starts = {words[0], _letters(words[:2]), _letters(words[:3])}
            if words[0].isalpha():
                starts |= {words[0][:cut] for cut in range(3, len(words[0]) - 1)}
            for start in starts:
                self._longest[start] = max(self._longest.get(start, 0), most)

    def longest(self, words: Sequence[str], tokens: Tokens, start: int) -> tuple[int, Form] | None:
        """Return the longest spelling that starts at a word: (end, form)."""
        most = self._longest.get(words[start], 0)
        if not most or not tokens.may_start[start]:
            return None
        letters, found = "", None
        for end in range(start + 1, min(start + most, len(words)) + 1):
            letters = _letters((letters, words[end - 1])) if letters else words[start]
            form = self._forms.get(letters)
            if form is not None and tokens.may_end[end - 1] and _stands(form, words, tokens, start, end):
                found = (end, form)
        return found


class Frames:
    """Labels of two halves, that may be said with other words between them: "leaf with late blight", "healthy leaf"."""

    def __init__(self) -> None:
        self._heads = Forms()
        self._head: dict[Words, Words] = {}  # each spelling of a first half -> the first half
        self._tails: dict[tuple[Words, bool], dict[str, str]] = defaultdict(dict)
        self._longest: dict[tuple[Words, bool], int] = defaultdict(int)

    def add(self, label: str, head: Words, tail: Words, *, state: bool) -> None:
        """Add the frame "<head> shows <tail>", or with `state` "<head> is <tail>"."""
        for form in (head, *inflections(head)):
            if self._head.setdefault(form, head) == head:
                self._heads.add(Form("", form))
        for form in (tail, *inflections(tail)):
            self._tails[head, state].setdefault(_letters(form), label)
            self._longest[head, state] = max(self._longest[head, state], len(form) + 1)

    def longest(self, words: Sequence[str], tokens: Tokens, start: int) -> tuple[int, Form] | None:
        """Return the label said in other words from this word on: (end, form)."""
        head = self._heads.longest(words, tokens, start)
        if head is None:
            return None
        end, first = head[0], self._head[head[1].words]
        found = self._linked(words, tokens, end, first) or self._stated(words, tokens, end, first)
        return found and (found[0], Form(found[1], tuple(words[start : found[0]]), own_stops=True))

    def _linked(self, words: Sequence[str], tokens: Tokens, end: int, head: Words) -> tuple[int, str] | None:
        if not (tails := self._tails.get((head, False))):
            return None
        linked = next((at for at in range(end, min(end + _THING + 1, len(words))) if words[at] in _LINKS), end)
        if (linked > end and any(tokens.marks[end : linked + 1])) or _NOT_BEFORE_STATE.intersection(words[end:linked]):
            return None
        for at in range(linked, min(linked + _GAP, len(words))):
            if (tokens.marks[at] not in ("", ":", ",", "(")) or (tokens.marks[at] and at != end):
                return None
            if (at > end or tokens.marks[at]) and (found := self._tail(words, tokens, at, tails, (head, False))):
                return found
            if words[at] not in _LINKS:
                return None
        return None

    def _stated(self, words: Sequence[str], tokens: Tokens, end: int, head: Words) -> tuple[int, str] | None:
        if not (tails := self._tails.get((head, True))):
            return None
        number = all(len(tail) == 1 or tail.isdigit() or tail in NUMBERS for tail in tails)
        if end < len(words) and tokens.marks[end] in (":", ",") and not (number and tokens.marks[end] == ","):
            found = self._tail(words, tokens, end, tails, (head, True))  # "tomato leaf: healthy"
            if found and (found[0] == len(words) or tokens.marks[found[0]]):
                return found
        if end < len(words) and tokens.marks[end] in (
            "",
            ",",
        ):  # "the leaf, which is healthy", "..., and it is healthy"
            end += words[end] in ("which", "that") or 2 * (tuple(words[end : end + 2]) in _AND_IT)
        near = range(end, min(end + _THING + 1, len(words)))
        verb = next((at for at in near if words[at] in _COPULAS), None)
        if verb is None or any(tokens.marks[end + 1 : verb + 1]):
            it = next((at for at in near if tokens.marks[at]), None)  # "this is a peach leaf. It looks healthy"
            if it is None or tokens.marks[it] not in (".", ",") or words[it] != "it":
                return None
            verb = it + 1
            if verb >= len(words) or words[verb] not in _COPULAS or any(tokens.marks[end:it]):
                return None
            end = verb
        if _FUNCTION.intersection(words[end:verb]) or _NOT_BEFORE_STATE.intersection(words[end:verb]):
            return None
        for at in range(verb + 1, min(verb + _GAP, len(words))):
            if tokens.marks[at] not in ("", ",") or words[at] in _NOT_BEFORE_STATE:
                return None
            found = self._tail(words, tokens, at, tails, (head, True))
            if number and (words[at] in _NOT_BEFORE_NUMBER or (found and words[found[0] : found[0] + 1] in _RANGES)):
                return None
            if found and (found[0] == len(words) or tokens.marks[found[0]] or words[found[0]] in _FUNCTION):
                return found
        return None

    def _tail(
        self, words: Sequence[str], tokens: Tokens, start: int, tails: dict[str, str], key: tuple[Words, bool]
    ) -> tuple[int, str] | None:
        found, most = None, self._longest[key]
        for end in range(start + 1, min(start + most, len(words)) + 1):
            if any(tokens.marks[start + 1 : end]):
                break
            label = tails.get(_letters(words[start:end]))
            if label is not None and tokens.may_end[end - 1]:
                found = (end, label)
        return found


def spellings(name: str, label: str | None) -> Iterator[Form]:
    """Return the name's own spelling first, then its plurals, possessives and the like."""
    key = name_key(name)
    stops = any(tokenise(name).marks[1:-1])
    alone = len(key) == 1 and ((len(key[0]) == 1 and key[0].isascii()) or key[0] in NUMBERS or key[0] in _WEAK)
    yield Form(label, key, stops, alone)
    if alone:
        return
    if roman := _in_roman(key):
        yield Form(label, roman, stops)
    possessive = {standard_spelling(word) for word in re.findall(r"(\w+)['\u2019]s", name.casefold())}
    forms = inflections(tuple(word + "s" if word in possessive else word for word in key)) if possessive else ()
    for number, form in enumerate((*inflections(key), *forms)):
        if number > _MOST_FORMS:
            return
        yield Form(label, form, stops)


def name_halves(name: str) -> Iterator[tuple[Words, Words, bool]]:
    """Yield (head, tail, whether the tail is a state) for each way to split a name that other words may join."""
    key = name_key(name)
    for at in range(1, len(key) - 1):
        if key[at] == "with":
            yield key[:at], key[at + 1 :], False
    parts = [part for part in (name_key(part) for part in re.split(r"__+| - |: ", name)) if part]
    if len(parts) == 2:
        yield parts[0], parts[1], False
        if parts[1][:1] == parts[0][:1] and len(parts[1]) > 1:  # "Apple___Apple_scab"
            yield parts[0], parts[1][1:], False
    if len(key) > 1 and key[-2] in _DESIGNATORS and (key[-1] in NUMBERS or key[-1].isdigit() or len(key[-1]) == 1):
        yield key[:-1], key[-1:], True  # "grade: 4"
    if len(key) > 1 and key[0] in STATES:
        yield key[1:], key[:1], True
    if len(key) > 1 and key[-1] in STATES:
        yield key[:-1], key[-1:], True


def shared_halves(names: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Words, Words, bool]]:
    """Return (label, head, tail, whether the tail is a state) of names whose halves other labels have too.

    A thing that may be healthy may also show a disease ("potato healthy", "potato early blight": "the potato plant
    shows early blight"); and what there is in several degrees is of one of them ("the retinopathy is severe").
    """
    keys = [(name_key(name), label) for name, label in names]
    things = {key[:-1] for key, _ in keys if len(key) > 1 and key[-1] in STATES}
    things |= {key[1:] for key, _ in keys if len(key) > 1 and key[0] in STATES}
    graded: dict[Words, set[str]] = defaultdict(set)
    for key, label in keys:
        if len(key) > 1 and key[0] in _DEGREES:
            graded[key[1:]].add(label)
    for key, label in keys:
        for at in range(1, len(key)):
            if key[:at] in things and key[at] not in STATES and key[at] != "with":
                yield label, key[:at], key[at:], False
        if key[0] in _DEGREES and len(graded[key[1:]]) > 1:
            yield label, key[1:], key[:1], True


def _in_roman(key: Words) -> Words | None:
    """Return "Stage II" for "stage 2", and vice versa."""
    if len(key) < 2 or key[-2] not in _DESIGNATORS:
        return None
    if key[-1] in NUMBERS[1:]:
        return (*key[:-1], _ROMAN[NUMBERS.index(key[-1])])
    return (*key[:-1], NUMBERS[_ROMAN.index(key[-1])]) if key[-1] in _ROMAN[1:] else None


def reordered(name: str) -> Words | None:
    """Return "healthy tomato" for a class called "tomato healthy", "apple scab" for "Apple___Apple_scab", else None."""
    key = name_key(name)
    if len(key) > 2 and key[0] == key[1] and "__" in name:
        return key[1:]
    return (key[-1], *key[:-1]) if len(key) > 1 and key[-1] in STATES and key[0] not in STATES else None


def is_standalone_name(words: Sequence[str], tokens: Tokens, at: int) -> bool:
    """Return whether a lone letter or number is a name there, and no article, pronoun or quantity."""
    word = words[at]
    before = words[at - 1] if at and not tokens.marks[at].strip(":(") else ""
    after = words[at + 1] if at + 1 < len(words) and not tokens.marks[at + 1] else ""
    if before in _DESIGNATORS:
        return True
    if word in _WEAK:
        weak = word != "a" and before not in _ARTICLES and bool(before)
        return (not after or after in _FUNCTION) and not weak and not (word == "i" and after)
    return not after or after in _FUNCTION or after in _DESIGNATORS or before in ("a", "an") or after.endswith("ed")


def is_measure(words: Sequence[str], end: int) -> bool:
    """Return whether a name that ends in a number is one of a measure: "737-800 feet"."""
    return end < len(words) and words[end] in _UNITS and (words[end - 1].isdigit() or words[end - 1] in NUMBERS)


def _letters(words: Iterable[str]) -> str:
    """Return words without the spaces, but for those between numbers."""
    text = ""
    for word in words:
        text += "-" + word if text and text[-1].isdigit() and word[0].isdigit() else word
    return text


def _stands(form: Form, words: Sequence[str], tokens: Tokens, start: int, end: int) -> bool:
    """Return whether words with a spelling's letters are it: in one clause, split as its words or by hyphens."""
    if not form.own_stops:
        for at in range(start + 1, end):
            if tokens.marks[at] and not (tokens.marks[at] == "(" and words[at].isdigit()):  # "Coupe (2012)"
                return False
    if form.words == tuple(words[start:end]):
        return not form.alone or is_standalone_name(words, tokens, start)
    borders, at = {0: ""}, 0
    for word in form.words:
        at += len(word)
        borders[at] = word
    at = 0
    for i in range(start, end - 1):
        at += len(words[i])
        if at in borders or tokens.joined[i + 1]:
            continue
        whole = next((word for place, word in sorted(borders.items()) if place > at), "")
        pieces = (words[i], words[i + 1])
        if len(whole) < _CLOSED or min(map(len, pieces)) < 3 or words[i] in COLOURS:
            return False
    return True
