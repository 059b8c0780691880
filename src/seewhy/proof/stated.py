"""Which concepts an answer states (EE, explanation existence), and whether it gives any reason at all.

    stated = StatedConcepts.of(domain)
    stated("This is a Sorrel Wren: its crown is red.")   # ("red crown",)

Deviations of EE from the paper, which asks GPT-4o whether an answer holds a valid explanation:

1. Here an answer explains itself when it states at least one concept of the whole bank, any class's, besides a label's
   name: no judge, the same figure every time. A true reason in words that no list has is missed: EE is a lower bound.
2. What is stated is decided for precision. A concept counts
   - when its words stand together and in order ("short, conical bill"; "a short, thick and yellow bill" is a short
     thick bill and a yellow bill), whatever their case, hyphens, plurals and spelling;
   - turned round, as "<noun> is <adjectives>": "its bill is short and conical", "a crest of red feathers", "a white
     ring around the eye"; with an adjective or a verb shared: "a yellow breast and bill";
   - if it has four words or more, also when each of its parts (cut at prepositions: "green skin showing", "russet
     patches") stands so, in any order, close together in one sentence.
   It does not count
   - where the text does not assert it (`domain.assertion`): "no eye ring", "it may have a crest", "unlike the male,
     which has a crest"; "crows have black wings", about another class than the one that the text names;
   - where its words belong to a longer concept ("dark green skin" is not "green skin") or to a label ("Red-crowned
     Crane" is not "red crown");
   - where the noun is only the first half of another of the bank ("black wing bar" is not "black wings").

`AnyReason` is the upper bound beside EE. An answer gives *any reason* when it says something besides the name. In the
sentence that names the class, what counts is what follows a word that opens a reason ("because", "with", "has", ":");
in any other sentence, all of it. Words without meaning, words of a class's name, the noun of the data set and a name
that breaks off ("It has a Lee", about a Leek) do not count. Whether the reason is good, or true, is not asked.

    gives_any_reason = AnyReason(labels, "vegetable")
    gives_any_reason("This is a Leek: its stalk is long.")    # True
    gives_any_reason("This is a Leek. It has a Lee")          # False
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from seewhy.domain.domain import Domain
from seewhy.domain.generics import clause_end, is_generic
from seewhy.domain.text import (
    COLOURS,
    CUTS,
    NEGATORS,
    canonical_tokens,
    canonical_words,
    join_colours,
    join_compounds,
    tokenise,
)
from seewhy.errors import SeeWhyError
from seewhy.proof.mentions import Line, Mention, Words

_CLOSED = 6
"""Letters from which a word of a phrase also matches two words: "eye ring" for "eyering"."""

Index = dict[str, list[tuple[Words, frozenset[str]]]]


class StatedConcepts:
    """Finds the concepts of a bank that a text states.

    Example:
        >>> stated = seewhy.StatedConcepts(["red crown", "black wings"], names=["Crow"])
        >>> stated("Its crown is red, and it has no black wings.")
        ('red crown',)
    """

    def __init__(self, phrases: Iterable[str], names: Iterable[str] = ()) -> None:
        """Take all concepts (`phrases`), and labels and aliases (`names`), whose words are no reason.

        Raises SeeWhyError for a phrase without a word.
        """
        self._phrases: dict[Words, str] = {}
        for phrase in phrases:
            if not (words := _key(phrase)):
                raise SeeWhyError(f"The concept {phrase!r} has no words; mend or remove it in the concept bank.")
            self._phrases.setdefault(words, phrase)
        self._vocabulary = {word for words in self._phrases for word in words}
        names_words = {tuple(self._plain(w) for w in _key(name)) for name in names} - {()}
        self._nouns = {words[-1] for words in self._phrases} | {
            w for words in self._phrases for w in _before_cuts(words)
        }
        self._modifiers = {w for words in self._phrases for w in words[:-1]} - {words[-1] for words in self._phrases}
        self._compounds = {words[-2:] for words in self._phrases if len(words) > 1}
        pairs = {pair for words in self._phrases for pair in pairwise(words)}
        self._open = {"".join(pair): pair for pair in pairs if min(map(len, pair)) > 2 and pair[0] not in COLOURS}
        self._nouns |= {first for first, second in pairs if second in self._nouns} - COLOURS - CUTS
        self._closed = {word for word in self._vocabulary if len(word) >= _CLOSED}
        self._by_word = _index(self._phrases)
        self._names_by_word = _index(names_words)
        self._stated = lru_cache(maxsize=100_000)(self._find)

    @classmethod
    def of(cls, domain: Domain) -> "StatedConcepts":
        """Return one for all concepts of all classes of a domain."""
        aliases = (alias for group in domain.concepts.aliases.values() for alias in group)
        return cls(domain.concepts.all_concepts, (*domain.labels, *aliases))

    def __call__(self, text: str) -> tuple[str, ...]:
        """Return the concepts that `text` states, in the order in which they stand, each once."""
        return self._stated(text)

    def _find(self, text: str) -> tuple[str, ...]:
        line = self._line(text)
        names = [m for words in _candidates(self._names_by_word, line.bag) for m in line.mentions(words)]
        found = [
            (m, words)
            for words in _candidates(self._by_word, line.bag)
            for m in line.stated(words)
            if not self._goes_on(words, line.tokens[m.last + 1])
        ]
        taken = [n.tokens for n in names if not any(n.tokens < m.tokens for m, _ in found)]
        found = [(m, words) for m, words in found if not any(m.tokens & tokens for tokens in taken)]
        if found and (clauses := list(_general_clauses(line, names))):
            found = [(m, words) for m, words in found if not any(line.words_of(m)[0] in clause for clause in clauses)]
        longest = [(m, words) for m, words in found if not any(m.tokens < other.tokens for other, _ in found)]
        longest.sort(key=lambda pair: (pair[0].first, pair[1]))
        return tuple(dict.fromkeys(self._phrases[words] for _, words in longest))

    def _line(self, text: str) -> Line:
        source = tokenise(text)
        words, origins = [], []
        for word, origin in zip(*canonical_tokens(source), strict=True):
            parts = self._open.get(word, (word,)) if word not in self._vocabulary else (word,)
            words += [self._plain(part) for part in parts]
            origins += [origin] * len(parts)
        words, origins = join_colours(*join_compounds(words, origins, self._closed))
        return Line(words, origins, source, self._modifiers, self._nouns)

    def _goes_on(self, words: Words, following: str) -> bool:
        return (words[-1], following) in self._compounds

    def _plain(self, word: str) -> str:
        """Return 'crown' for 'crowned' where the bank has a crown and nothing 'crowned'."""
        if not word.endswith("ed") or len(word) < 5 or word in self._vocabulary:
            return word
        stems = (word[:-2], word[:-1], word[:-3], word[:-3] + "y")
        return next((stem for stem in stems if stem in self._vocabulary), word)


def _general_clauses(line: Line, names: list[Mention]) -> Iterator[range]:
    """Yield the words of statements about a class in general ("crows have black wings"), unless it is the one shown."""
    words, marks = line.source.words, line.source.marks
    spans = [(line.words_of(m), tuple(line.tokens[i] for i in sorted(m.tokens))) for m in names]
    general = []
    for at, name in spans:
        end = clause_end(words, marks, at[-1])
        loose = not {"this", "here"}.isdisjoint((*words[: at[0]], *words[end:]))
        if is_generic(words, marks, at[0], at[-1] + 1, loose=loose):
            general.append((at, name))
    shown = {name for at, name in spans if (at, name) not in general}
    for at, name in general:
        if name not in shown:
            yield range(at[0], clause_end(words, marks, at[-1]))


def _key(phrase: str) -> Words:
    return tuple(join_colours(list(canonical_words(phrase)))[0])


def _before_cuts(words: Words) -> list[str]:
    """Return the words before prepositions: nouns, like the last word."""
    return [word for word, following in pairwise(words) if following in CUTS]


def _index(phrases: Iterable[Words]) -> Index:
    """Return phrases by their rarest word, each with the words that a text must hold to state it."""
    phrases = sorted(phrases)
    counts = Counter(word for words in phrases for word in set(words))
    index: Index = defaultdict(list)
    for words in phrases:
        needed = frozenset(w for w in words if w not in NEGATORS and w not in CUTS) or frozenset(words)
        index[min(needed, key=lambda w: (counts[w], w))].append((words, needed))
    return dict(index)


def _candidates(index: Index, bag: set[str]) -> Iterator[Words]:
    for word in sorted(bag & index.keys()):
        yield from (words for words, needed in index[word] if needed <= bag)


_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_OPENS = frozenset([
    "as", "because", "by", "due", "evident", "exhibiting", "exhibits", "feature", "features", "featuring", "from",
    "given", "has", "have", "having", "identified", "indicated", "its", "marked", "show", "showing", "shows", "since",
    "their", "where", "which", "whose", "with",
])  # fmt: skip
"""Words after which a reason may follow in the sentence that names the class, as after a colon or a dash."""
_MARKS = re.compile(r"[:;\u2013\u2014]| - ")
_EMPTY = _OPENS | frozenset([
    "a", "all", "also", "am", "an", "and", "answer", "any", "appear", "appears", "are", "at", "based", "be", "being",
    "but", "called", "can", "cannot", "class", "clearly", "content", "depicted", "depicts", "do", "does", "for", "he",
    "here", "i", "identify", "image", "in", "is", "it", "kind", "known", "label", "likely", "look", "looks", "like",
    "me", "most", "my", "name", "named", "no", "not", "object", "of", "on", "or", "our", "photo", "photograph",
    "picture", "probably", "reason", "reasons", "see", "seem", "seems", "seen", "she", "so", "some", "specific",
    "species", "sure", "that", "the", "there", "therefore", "they", "think", "this", "those", "these", "to", "type",
    "very", "visible", "visual", "was", "we", "were", "what", "why", "would", "yes", "you",
])  # fmt: skip
"""Words that say nothing about what an image shows."""
_CUT = 2
"""Letters from which the beginning of a name counts as a name that breaks off."""


class AnyReason:
    """Decides whether a text says anything besides a class's name."""

    def __init__(self, names: Iterable[str], noun: str) -> None:
        """Take labels and aliases (`names`), and what the images show, as questions call it (`noun`)."""
        self._names: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        for words in filter(None, (tuple(tokenise(name).words) for name in names)):
            self._names[words[0]].add(words)
        self._words = frozenset(word for group in self._names.values() for name in group for word in name)
        self._noun = frozenset(form for word in tokenise(noun).words for form in (word, word + "s"))

    @classmethod
    def of(cls, domain: Domain) -> "AnyReason":
        """Return one for a domain's labels, their aliases and its noun."""
        aliases = (alias for group in domain.concepts.aliases.values() for alias in group)
        return cls((*domain.labels, *aliases), domain.questions.noun)

    def __call__(self, text: str) -> bool:
        return any(self._says_something(sentence) for sentence in _SENTENCE.split(text))

    def _says_something(self, sentence: str) -> bool:
        words = tokenise(sentence).words
        if self._is_naming(words):
            words = self._after_opening(sentence, words)
        return any(self._has_meaning(word) for word in words)

    def _is_naming(self, words: list[str]) -> bool:
        starts = ((place, name) for place, word in enumerate(words) for name in self._names.get(word, ()))
        return any(tuple(words[place : place + len(name)]) == name for place, name in starts)

    def _after_opening(self, sentence: str, words: list[str]) -> list[str]:
        """Return the words of a naming sentence, from the first that opens a reason."""
        place = next((i for i, word in enumerate(words) if word in _OPENS), len(words))
        if mark := _MARKS.search(sentence):
            after = tokenise(sentence[mark.end() :]).words
            place = min(place, len(words) - len(after))
        return words[place:]

    def _has_meaning(self, word: str) -> bool:
        if word in _EMPTY or word in self._words or word in self._noun or (len(word) == 1 and word.isascii()):
            return False
        cut_off = len(word) >= _CUT and any(name.startswith(word) for name in self._words)
        return not cut_off and not word.isdecimal()
