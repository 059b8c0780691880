"""Find where the words of a phrase stand in a text: as they are, turned round, or (a long phrase) in parts.

Whether the text asserts them there is decided by `domain.assertion`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import permutations

from seewhy.domain.assertion import Assertions, Status
from seewhy.domain.text import ARTICLES, COLOURS, CUTS, NEGATORS, Tokens, word_set

Words = tuple[str, ...]

_LONG = 4
"""Words from which a phrase may be stated in parts."""
_SLACK = 4
"""Tokens by which the parts together may be longer than the phrase."""
_MOST_ADJECTIVES = 3
"""Adjectives of a turned phrase that may stand in any order, and conjuncts of a predicate that are read."""
_COPULAS = frozenset(["is", "are", "was", "were", "look", "appear", "seem", "remain"])
_FILLERS = frozenset([
    "a", "an", "to", "be", "very", "quite", "rather", "also", "often", "clearly", "distinctly", "mostly", "mainly",
    "visibly", "noticeably", "all", "both", "slightly", "strongly", "bright", "brightly", "dark", "deep", "deeply",
    "pale", "light", "dull", "vivid", "plain", "mounted", "set", "placed", "positioned", "located", "still",
    "completely", "entirely", "somewhat", "heavily", "uniformly", "predominantly",
])  # fmt: skip
"""Words that may stand before the adjectives of a predicate."""
_ENDS = CUTS | {".", ":", "but", "while", "which", "that", "as", "like", "for"}
"""Words that end a predicate."""
_MATERIALS = frozenset(["feather", "plumage", "fur", "hair", "scale", "skin", "colour", "tissue"])
"""Words at the end of a predicate that add nothing: "a crest of red feathers"."""
_PARTICLES = frozenset(["back", "up", "forward", "backward", "upward", "outward", "inward"])
_CONTRADICTED = ([",", "it", "is"], [",", "they", "are"])
_HELD = word_set(
    "mounted hung hanging located placed slung set positioned situated attached fitted found seen visible that which "
    "are is lying just right directly arranged running showing can be"
)
"""Words that may stand before a preposition: "engines mounted under the wings"."""
_ADVERBS = word_set("very quite rather slightly heavily somewhat so more most fairly extremely")
_NO_ADVERBS = word_set(
    "hardly barely scarcely nearly unlikely supposedly allegedly only partly fly curly scaly wooly woolly early"
)
"""Words that end like adverbs and are none, or deny what they stand before."""
_MATTER = word_set(
    "wooden metal metallic plastic leather glass rice wheat egg cotton woollen woolen silk paper steel iron stone "
    "brick concrete rubber fabric outer inner upper lower left right front rear hind main side small little large big "
    "long thick thin short broad wide narrow slender"
)
"""Words between an adjective and its noun that change nothing: "curved WOODEN runners"."""
_HAVE = word_set("have has with show shows carry bear display feature")
_PLACES = frozenset(["of", "on", "in", "at", "around", "along"])
_DETERMINERS = ARTICLES | {"this", "that", "these", "each", "both"}
_INSERTS = word_set("although though while if unlike despite usually often however in who when")
_OTHERS = word_set("male female adult juvenile other another others latter former parent most all some many")
_AFTER_DENIAL = ARTICLES | {"any", "visible", "obvious"}
_PLURAL = frozenset(["are", "were", "look", "appear", "seem", "remain", "have"])
_BETWEEN = (
    _COPULAS | CUTS | NEGATORS | word_set(". , : and or nor but has have show not it this that which a an the its")
)
"""Tokens that are no adjectives."""
_TURNED_PREPOSITIONS = frozenset(["around", "on", "of", "in", "over", "at", "across", "along", "near", "under"])
_PASSED = _MATTER | COLOURS
"""Words that may be passed over on the way to a noun of the same word."""
_FAR = 8
"""No word of a phrase without prepositions, denials and "to" stands further than this behind the word before it."""
_OWN_REACH = CUTS | NEGATORS | {"to"}


@dataclass(frozen=True)
class Mention:
    """The tokens of a line that are the phrase's words."""

    tokens: frozenset[int]

    @property
    def first(self) -> int:
        return min(self.tokens)

    @property
    def last(self) -> int:
        return max(self.tokens)


class Line:
    """A normalised text as tokens; `origins` gives the word of `source` that each token comes from, or -1.

    `modifiers` are words that stand before a noun and are none, `nouns` the last words of phrases.
    """

    def __init__(
        self, tokens: Sequence[str], origins: Sequence[int], source: Tokens,
        modifiers: Collection[str] = frozenset(), nouns: Collection[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.tokens = [*tokens, "."]
        self.bag = {"no" if token in NEGATORS else token for token in tokens}
        self._origins, self.source = origins, source
        self._modifiers, self._nouns = modifiers, nouns
        self._at: dict[str, list[int]] = defaultdict(list)
        self._predicates: dict[str, list[_Predicate]] = {}
        for i, token in enumerate(self.tokens):
            self._at["no" if token in NEGATORS else token].append(i)

    def words_of(self, m: Mention) -> list[int]:
        """Return the places of a mention's words in the text."""
        return sorted({self._origins[i] for i in m.tokens if self._origins[i] >= 0})

    @cached_property
    def reading(self) -> Assertions:
        """The assertions of the text about what it mentions."""
        return Assertions(self.source)

    def _predicates_of(self, noun: str) -> list["_Predicate"]:
        """Return the predicates of the text that speak of a noun."""
        if noun not in self._predicates:
            read = ((i, self._predicate(i)) for i in self._at.get(noun, ()) if i < len(self.tokens) - 1)
            self._predicates[noun] = [_Predicate(self.tokens, i, conjuncts) for i, conjuncts in read if conjuncts]
        return self._predicates[noun]

    def mentions(self, words: Words) -> list[Mention]:
        """Return where `words`, the noun last, stand together, denied or not."""
        return [Mention(frozenset(t)) for t in (*self._direct(words), *self._turned(words), *self._reversed(words))]

    def stated(self, words: Words) -> list[Mention]:
        """Return where `words`, or each part of a long phrase, stand close together and are asserted."""
        whole = self._affirmed(words)
        if not whole and len(words) > 1 and words[0] in NEGATORS and not (CUTS | NEGATORS).intersection(words[1:]):
            return [m for m in self.mentions(words[1:]) if self.status(m) is Status.DENIED]  # "the stem is missing"
        if whole or len(words) < _LONG or len(parts := _parts(words)) < 2:
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

    def status(self, m: Mention) -> Status:
        """Return whether the text asserts a mention."""
        return self.reading.status_of({self._origins[i] for i in m.tokens if self._origins[i] >= 0})

    def _affirmed(self, words: Words) -> list[Mention]:
        return [m for m in self.mentions(words) if self.status(m) is Status.ASSERTED]

    def _direct(self, words: Words) -> Iterator[list[int]]:
        """Yield words in order; commas, 'and', other adjectives, and articles after prepositions may stand between."""
        plain, near = _is_plain(words), _OWN_REACH.isdisjoint(words)
        for start in self._at.get("no" if words[0] in NEGATORS else words[0], ()):
            found = [start]
            for i in range(1, len(words)):
                at, word = found[-1] + 1, words[i]
                if self.tokens[at] != word or word in _PASSED:
                    if near and not any(at <= place <= at + _FAR for place in self._at.get(word, ())):
                        break
                    at = self._skip(at, words, i)
                    if plain and i == len(words) - 1 and not self._same(at, word):
                        at = self._after_more_adjectives(start, at, word)
                    if not self._same(at, word):
                        break
                found.append(at)
            else:
                yield found

    def _same(self, at: int, word: str) -> bool:
        return at < len(self.tokens) and (self.tokens[at] == word or {self.tokens[at], word} <= NEGATORS)

    def _skip(self, at: int, words: Words, i: int) -> int:
        """Return the token where word `i` of a phrase must stand, if the word before it stands right before `at`."""
        before = words[i - 1]
        if before in NEGATORS or before in CUTS or before == "to":
            while (
                self.tokens[at] in (_AFTER_DENIAL if before in NEGATORS else ARTICLES) and self.tokens[at] != words[i]
            ):
                at += 1
            if before in CUTS:  # "in the LEFT lower lobe"
                nearby = range(at, min(at + 3, len(self.tokens)))
                due = next((j for j in nearby if self.tokens[j] == words[i] or self.tokens[j] in _BETWEEN), at)
                at = due if self.tokens[due] == words[i] else at
        elif words[i] in CUTS:
            while self.tokens[at] in _HELD and self.tokens[at] != words[i]:
                at += 1
        elif i < len(words) - 1 and words[i] not in NEGATORS:
            at += self.tokens[at] == "," and words[i] != ","
            at += self.tokens[at] == "and" and words[i] != "and"
            at += _is_adverb(self.tokens[at]) and not self._same(at, words[i])
        elif i == len(words) - 1 and words[i] not in NEGATORS and before not in _FILLERS:
            between = _MATTER if before.rpartition("-")[2] in COLOURS else _MATTER | COLOURS
            after = next((j for j in range(at, at + 3) if j >= len(self.tokens) or self.tokens[j] not in between), at)
            if after < len(self.tokens) and self._same(after, words[i]):
                return after
        return at

    def _after_more_adjectives(self, start: int, at: int, noun: str) -> int:
        """Return the token after one or two more adjectives, or a noun that shares them: 'red breast and bill'.

        Not in 'is yellow and red crown feathers show'.
        """
        if self.tokens[start - 1] in _COPULAS:
            return at
        if self.tokens[at] in self._nouns and self.tokens[at + 1 : at + 3] == ["and", noun]:
            return at + 2
        unknown = self.tokens[start - 1] not in self._nouns
        for _ in range(2):
            after = at + (self.tokens[at] == ",")
            after += self.tokens[min(after, len(self.tokens) - 1)] == "and"
            if after == at or after >= len(self.tokens) - 1:
                return at
            word = self.tokens[after]
            if word not in self._modifiers and (not unknown or word in _BETWEEN or word in self._nouns):
                return at
            at = after + 1
            if self.tokens[at] not in (",", "and"):
                break
        return at

    def _reversed(self, words: Words) -> Iterator[list[int]]:
        """Yield other orders: 'white ring around the eye' for 'white eye ring', 'wings swept back'."""
        if len(words) < 2 or not _is_plain(words):
            return
        if "of" in self._at:
            yield from self._colour_of(words)
        *adjectives, modifier, noun = words
        for at in self._at.get(noun, ()):
            first = at - len(adjectives)
            if first < 0 or self.tokens[first:at] != adjectives:
                continue
            behind = at + 1
            if not adjectives and modifier.endswith(("ed", "en", "pt", "nt")) and self.tokens[behind] == modifier:
                if self.tokens[behind + 1] in _ENDS or self.tokens[behind + 1] in (",", "and", "back", "up", "forward"):
                    yield [at, behind]
            elif adjectives and modifier in self._nouns and self.tokens[self._owner(first)] == modifier:
                yield [self._owner(first), *range(first, at + 1)]
            if self.tokens[behind] in _TURNED_PREPOSITIONS and modifier in self._nouns:
                behind += 1
                while self.tokens[behind] in ARTICLES or self.tokens[behind] in ("each", "both"):
                    behind += 1
                if self.tokens[behind] == modifier:
                    yield [*range(first, at + 1), behind]

    def _owner(self, first: int) -> int:
        """Return the noun that has what stands from here on: 'the WINGS have white bars'; -1 if there is none."""
        at = first - 1
        while at > 0 and (self.tokens[at] in ARTICLES or self.tokens[at] in _FILLERS or self.tokens[at] == "two"):
            at -= 1
        return at - 1 if at > 0 and self.tokens[at] in _HAVE else -1

    def _colour_of(self, words: Words) -> Iterator[list[int]]:
        """Yield 'the red of the breast' for 'red breast'."""
        if words[0].rpartition("-")[2] not in COLOURS:
            return
        for at in self._at.get(words[0], ()):
            due = at + 2 + (self.tokens[min(at + 2, len(self.tokens) - 1)] in ARTICLES)
            if (
                self.tokens[min(at + 1, len(self.tokens) - 1)] == "of"
                and tuple(self.tokens[due : due + len(words) - 1]) == words[1:]
            ):
                yield [at, *range(due, due + len(words) - 1)]

    def _turned(self, words: Words) -> Iterator[list[int]]:
        """Yield '<noun> is <adjectives>': whole conjuncts of the predicate, in any order of the adjectives."""
        if not _is_plain(words):
            return
        for predicate in self._predicates_of(words[-1]):
            for cut in range(1, len(words)):
                noun = list(range(predicate.noun - len(words) + cut + 1, predicate.noun + 1))
                if noun[0] >= 0 and tuple(self.tokens[i] for i in noun) == words[cut:]:
                    yield from ([*noun, *found] for found in predicate.said(words[:cut]))

    def _past_insertion(self, at: int) -> int:
        """Return the token after what is inserted between a noun and its verb: ', although dark,', 'of this bird'."""
        if self.tokens[at] != "," and self.tokens[at] not in _PLACES:
            return at
        behind = self.tokens[at + 1 : at + 8]
        if self.tokens[at] == "," and behind[:1] in (["which"], ["that"]):
            return at + 1
        if self.tokens[at] == "," and behind[:1] and behind[0] in _INSERTS and "," in behind[:-1]:
            close = behind.index(",")
            return at + close + 2 if behind[close + 1] in _COPULAS else at
        if self.tokens[at] in _PLACES and len(behind) > 2 and behind[0] in _DETERMINERS:
            verb = next((i for i, token in enumerate(behind[:4]) if token in _COPULAS), 0)
            between = behind[1:verb]
            if between and not _OTHERS.intersection(between) and not _ENDS.intersection(between):
                return at + 1 + verb
        return at

    def _predicate(self, noun: int) -> list[list[int]]:
        """Return the tokens, by conjunct, that 'is', 'looks', 'of', a colon or a comma relates to the noun."""
        at = noun + 1
        if self.tokens[noun] in _ENDS or self.tokens[noun] in (",", "and"):
            return []
        at = self._past_insertion(at)
        at += self.tokens[at] in ("that", "which")
        if self.tokens[at] == "and":  # "the head and back are brown"
            verb = at + 2 + (self.tokens[at + 1] in ARTICLES)
            at = verb if verb < len(self.tokens) and self.tokens[verb] in _PLURAL else at
        mark = self.tokens[at]
        if mark not in _COPULAS and mark not in (":", "of", ","):
            return []
        at += 1 + (mark != ":" and self.tokens[min(at + 1, len(self.tokens) - 1)] == ":")
        conjuncts: list[list[int]] = [[]]
        while at < len(self.tokens) and (self.tokens[at] not in _ENDS or self.tokens[at] == "but"):
            if conjuncts[-1] and self.tokens[conjuncts[-1][0]] == "not" and self.tokens[at : at + 3] in _CONTRADICTED:
                conjuncts.append([])  # "the bill is not yellow, it is black"
                at += 2
            elif self.tokens[at] == "but" and mark == ",":
                break
            elif self.tokens[at] in (",", "and", "but"):
                conjuncts.append([])
                if mark == "," and self.tokens[at] == ",":
                    break
            else:
                conjuncts[-1].append(at)
            at += 1
        for conjunct in conjuncts:
            ends = _MATERIALS if mark == "of" else _PARTICLES
            if len(conjunct) > 1 and self.tokens[conjunct[-1]] in ends:
                conjunct.pop()
        return [c for c in conjuncts if c][:_MOST_ADJECTIVES]


class _Predicate:
    """What is said of the noun at one token, by conjunct."""

    def __init__(self, tokens: Sequence[str], noun: int, conjuncts: Sequence[Sequence[int]]) -> None:
        self.noun = noun
        self._tokens, self._conjuncts = tokens, conjuncts

    def said(self, adjectives: Words) -> Iterator[list[int]]:
        """Yield where whole conjuncts are these adjectives, in any order where there are a few."""
        anyhow = 1 < len(adjectives) <= _MOST_ADJECTIVES and "to" not in adjectives
        orders = set(permutations(adjectives)) if anyhow else {adjectives}
        yield from (said for words, said in self._readings if words in orders)

    @cached_property
    def _readings(self) -> list[tuple[Words, list[int]]]:
        """The words of neighbouring conjuncts, with and without what may stand before adjectives."""
        conjuncts, readings = self._conjuncts, []
        filled = any(self._tokens[c[0]] in _FILLERS or self._tokens[c[0]] in ARTICLES for c in conjuncts)
        drops = (frozenset[str](), ARTICLES, _FILLERS) if filled else (frozenset[str](),)
        for first in range(len(conjuncts)):
            for end in range(first + 1, len(conjuncts) + 1):
                for drop in drops:
                    said = [i for c in conjuncts[first:end] for i in self._without(drop, c)]
                    readings.append((tuple(self._tokens[i] for i in said), said))
        return readings

    def _without(self, left_out: Collection[str], conjunct: Sequence[int]) -> Sequence[int]:
        kept = 0
        while kept < len(conjunct) - 1 and self._tokens[conjunct[kept]] in left_out:
            kept += 1
        return conjunct[kept:]


@cache
def _is_plain(words: Words) -> bool:
    """Return whether a phrase has neither prepositions nor denials."""
    return (CUTS | NEGATORS).isdisjoint(words)


def _is_adverb(token: str) -> bool:
    return token in _ADVERBS or (token.endswith("ly") and len(token) > 4 and token not in _NO_ADVERBS)


@cache
def _parts(words: Words) -> list[Words]:
    """Return a phrase cut at its prepositions, and before 'no' and 'without', which stay with what they deny."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in CUTS or word in NEGATORS:
            parts.append([])
        if word not in CUTS:
            parts[-1].append(word)
    return [tuple(part) for part in parts if part]
