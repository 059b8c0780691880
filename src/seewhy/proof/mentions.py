"""Where the words of a phrase stand in a text: as they are, turned round, or (a long phrase) in parts."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from seewhy.proof.wording import ARTICLES, CUTS, DENIALS, NEGATORS, negated

Words = tuple[str, ...]

_LONG = 4
"""Words from which a phrase may be stated in parts."""
_SLACK = 4
"""Tokens by which the parts, taken together, may outrun the phrase."""
_MOST_ADJECTIVES = 3
"""Adjectives of a turned phrase that may stand in any order, and conjuncts of a predicate that are looked at."""
_COPULAS = frozenset(["is", "are", "was", "were", "look", "appear", "seem", "remain"])
_FILLERS = frozenset([
    "a", "an", "to", "be", "very", "quite", "rather", "also", "often", "clearly", "distinctly", "mostly", "mainly",
    "visibly", "noticeably", "all", "both", "slightly", "strongly", "bright", "brightly", "dark", "deep", "deeply",
    "pale", "light", "dull", "vivid", "plain",
])  # fmt: skip
"""What may stand before the adjectives of a predicate."""
_ENDS = CUTS | {".", ":", "but", "while", "which", "that", "as", "like", "for"}
"""What ends a predicate."""
_AFTER_DENIAL = ARTICLES | {"any", "visible", "obvious"}


@dataclass(frozen=True)
class Mention:
    """Which tokens of a line are the phrase's words."""

    tokens: frozenset[int]

    @property
    def first(self) -> int:
        return min(self.tokens)

    @property
    def last(self) -> int:
        return max(self.tokens)


class Line:
    """A canonical text as tokens. `modifiers` are the words that stand before a noun and are none."""

    def __init__(self, tokens: Sequence[str], modifiers: frozenset[str] | set[str] = frozenset()) -> None:
        self.tokens = [*tokens, "."]
        self.bag = set(tokens)
        self._modifiers = modifiers
        self._text = f" {' '.join(self.tokens)} "
        self._at: dict[str, list[int]] = defaultdict(list)
        self._offsets: list[int] = []
        offset = 0
        for i, token in enumerate(self.tokens):
            self._at["no" if token in NEGATORS else token].append(i)
            self._offsets.append(offset)
            offset += len(token) + 1
        self._predicates = [(i, self._predicate(i)) for i in range(len(tokens)) if self._predicate(i)]

    def mentions(self, words: Words) -> list[Mention]:
        """Where `words`, the noun last, stand together; denied or not."""
        found = [Mention(frozenset(tokens)) for tokens in (*self._direct(words), *self._turned(words))]
        denials = len(NEGATORS.intersection(words))
        return [m for m in found if sum(t in DENIALS for t in self.tokens[m.first : m.last + 1]) <= denials]

    def stated(self, words: Words) -> list[Mention]:
        """Where `words` stand together and are not denied; or, of a long phrase, each of its parts, close together."""
        whole = self._affirmed(words)
        parts = _parts(words)
        if whole or len(parts) < 2 or len(words) < _LONG:
            return whole
        found = [self._affirmed(part) for part in parts]
        if not all(found):
            return []
        together = []
        for start in found[0]:
            nearest = [start, *(min(rest, key=lambda m: abs(m.first - start.first)) for rest in found[1:])]
            mention = Mention(frozenset[int]().union(*(m.tokens for m in nearest)))
            span = self.tokens[mention.first : mention.last + 1]
            if "." not in span and len(span) <= len(words) + _SLACK:
                together.append(mention)
        return together

    def _affirmed(self, words: Words) -> list[Mention]:
        return [m for m in self.mentions(words) if not self._negated(m)]

    def _negated(self, m: Mention) -> bool:
        end = self._offsets[m.last] + 1 + len(self.tokens[m.last])
        return negated(self._text, self._offsets[m.first], end)

    def _direct(self, words: Words) -> Iterator[list[int]]:
        """As they stand, but for commas, 'and' and adjectives between adjectives, and articles after prepositions."""
        plain = not (CUTS | NEGATORS).intersection(words)
        for start in self._at.get("no" if words[0] in NEGATORS else words[0], ()):
            found = [start]
            for i in range(1, len(words)):
                at = self._skip(found[-1] + 1, words, i)
                if plain and i == len(words) - 1 and not self._same(at, words[i]):
                    at = self._after_more_adjectives(start, at)
                if not self._same(at, words[i]):
                    break
                found.append(at)
            else:
                yield found

    def _same(self, at: int, word: str) -> bool:
        return at < len(self.tokens) and (self.tokens[at] == word or {self.tokens[at], word} <= NEGATORS)

    def _skip(self, at: int, words: Words, i: int) -> int:
        """The token at which word `i` of a phrase is due, the word before it standing right before `at`."""
        before = words[i - 1]
        if before in NEGATORS or before in CUTS or before == "to":
            while (
                self.tokens[at] in (_AFTER_DENIAL if before in NEGATORS else ARTICLES) and self.tokens[at] != words[i]
            ):
                at += 1
        elif i < len(words) - 1 and words[i] not in CUTS | NEGATORS:
            at += self.tokens[at] == "," and words[i] != ","
            at += self.tokens[at] == "and" and words[i] != "and"
        return at

    def _after_more_adjectives(self, start: int, at: int) -> int:
        """Past one or two more adjectives: 'red and yellow breast', but not 'is yellow and red crown feathers show'."""
        if self.tokens[start - 1] in _COPULAS:
            return at
        for _ in range(2):
            after = at + (self.tokens[at] == ",")
            after += self.tokens[min(after, len(self.tokens) - 1)] == "and"
            if after == at or after >= len(self.tokens) - 1 or self.tokens[after] not in self._modifiers:
                return at
            at = after + 1
            if self.tokens[at] not in (",", "and"):
                break
        return at

    def _turned(self, words: Words) -> Iterator[list[int]]:
        """'<noun> is <adjectives>': whole conjuncts of the predicate, in any order of the adjectives."""
        if (CUTS | NEGATORS).intersection(words):
            return
        for last, conjuncts in self._predicates:
            if self.tokens[last] != words[-1]:
                continue
            for cut in range(1, len(words)):
                noun = list(range(last - len(words) + cut + 1, last + 1))
                if noun[0] >= 0 and tuple(self.tokens[i] for i in noun) == words[cut:]:
                    yield from ([*noun, *found] for found in self._said(words[:cut], conjuncts))

    def _said(self, adjectives: Words, conjuncts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        anyhow = 1 < len(adjectives) <= _MOST_ADJECTIVES and "to" not in adjectives
        orders = set(permutations(adjectives)) if anyhow else {adjectives}
        for first in range(len(conjuncts)):
            for end in range(first + 1, len(conjuncts) + 1):
                for drop in (False, True):
                    said = [i for c in conjuncts[first:end] for i in (self._without_fillers(c) if drop else c)]
                    if tuple(self.tokens[i] for i in said) in orders:
                        yield said

    def _without_fillers(self, conjunct: Sequence[int]) -> Sequence[int]:
        kept = 0
        while kept < len(conjunct) - 1 and self.tokens[conjunct[kept]] in _FILLERS:
            kept += 1
        return conjunct[kept:]

    def _predicate(self, noun: int) -> list[list[int]]:
        """What is said of the noun at this token with 'is', 'are', 'looks' or a colon: tokens, by conjunct."""
        at = noun + 1
        at += self.tokens[at] in ("that", "which")
        if self.tokens[at] not in _COPULAS | {":"} or self.tokens[noun] in _ENDS | {",", "and"}:
            return []
        at += 1 + (self.tokens[at] != ":" and self.tokens[at + 1] == ":")
        conjuncts: list[list[int]] = [[]]
        while at < len(self.tokens) and self.tokens[at] not in _ENDS:
            if self.tokens[at] in (",", "and"):
                conjuncts.append([])
            else:
                conjuncts[-1].append(at)
            at += 1
        return [c for c in conjuncts if c][:_MOST_ADJECTIVES]


def _parts(words: Words) -> list[Words]:
    """A phrase cut at its prepositions, and before 'no' and 'without', which stay with what they deny."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in CUTS or word in NEGATORS:
            parts.append([])
        if word not in CUTS:
            parts[-1].append(word)
    return [tuple(part) for part in parts if part]
