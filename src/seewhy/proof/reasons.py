"""Does an answer give any reason at all, in whatever words? The upper bound beside EE, which counts the bank's phrases.

No judge: an answer gives *any reason* when it says something besides the name. In the sentence that names the class,
what counts is what follows a word that opens a reason ("because", "with", "has", ":"); in any other sentence, all of
it. Words that carry no meaning, words of a class's name, the noun of the data set and a name that breaks off ("It has a
Lee", of a Leek) are nothing said. Whether what is said is a good reason, or true, it does not ask.

    gives_any_reason = AnyReason(labels, "vegetable")
    gives_any_reason("This is a Leek: its stalk is long.")    # True
    gives_any_reason("This is a Leek. It has a Lee")          # False
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from seewhy.domain.domain import Domain
from seewhy.domain.words import tokenise

_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_OPENS = frozenset([
    "as", "because", "by", "due", "evident", "exhibiting", "exhibits", "feature", "features", "featuring", "from",
    "given", "has", "have", "having", "identified", "indicated", "its", "marked", "show", "showing", "shows", "since",
    "their", "where", "which", "whose", "with",
])  # fmt: skip
"""Words after which a reason may follow in the sentence that names the class; so may it after a colon or a dash."""
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
"""Words that say nothing of what an image shows."""
_CUT = 2
"""Letters from which on the beginning of a name is taken for a name that breaks off."""


class AnyReason:
    """Tells whether a text says anything besides a class's name. Built once for a data set."""

    def __init__(self, names: Iterable[str], noun: str) -> None:
        """`names`: labels and aliases. `noun`: what the images show, as questions call it."""
        self._names: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        for words in filter(None, (tuple(tokenise(name).words) for name in names)):
            self._names[words[0]].add(words)
        self._words = frozenset(word for group in self._names.values() for name in group for word in name)
        self._noun = frozenset(form for word in tokenise(noun).words for form in (word, word + "s"))

    @classmethod
    def of(cls, domain: Domain) -> "AnyReason":
        """For a domain's labels, their aliases and its noun."""
        aliases = (alias for group in domain.concepts.aliases.values() for alias in group)
        return cls((*domain.labels, *aliases), domain.questions.noun)

    def __call__(self, text: str) -> bool:
        return any(self._says_something(sentence) for sentence in _SENTENCE.split(text))

    def _says_something(self, sentence: str) -> bool:
        words = tokenise(sentence).words
        if self._is_naming(words):
            words = self._after_opening(sentence, words)
        return any(self._tells(word) for word in words)

    def _is_naming(self, words: list[str]) -> bool:
        starts = ((place, name) for place, word in enumerate(words) for name in self._names.get(word, ()))
        return any(tuple(words[place : place + len(name)]) == name for place, name in starts)

    def _after_opening(self, sentence: str, words: list[str]) -> list[str]:
        """The words of a naming sentence from the first on that opens a reason."""
        place = next((i for i, word in enumerate(words) if word in _OPENS), len(words))
        if mark := _MARKS.search(sentence):
            after = tokenise(sentence[mark.end() :]).words
            place = min(place, len(words) - len(after))
        return words[place:]

    def _tells(self, word: str) -> bool:
        if word in _EMPTY or word in self._words or word in self._noun or (len(word) == 1 and word.isascii()):
            return False
        cut_off = len(word) >= _CUT and any(name.startswith(word) for name in self._words)
        return not cut_off and not word.isdecimal()
