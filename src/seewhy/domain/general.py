"""General questions about a picture, in the words of a concept bank: what `tune.replay: self` puts to the base.

Three kinds: what a part is like, whether a concept is shown, and what the whole picture shows. None asks what class it
is of. The parts are those that the bank's concepts speak of; a concept that is asked about comes as often from the list
of the image's own class as from the whole bank, so that the answer is yes for some images and no for others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from seewhy.domain.marks_quiz import with_feature_article
from seewhy.domain.phrases import non_visual_kind
from seewhy.domain.text import COLOURS, CUTS, WORDS, read_words, word_set

Kind = Literal["part", "feature", "picture"]

_WORDS = read_words("general.yaml")
WORDINGS: Mapping[Kind, Sequence[str]] = {kind: _WORDS[kind] for kind in ("part", "feature", "picture")}
"""The templates of each kind."""
_ENDS = CUTS | word_set(_WORDS["part_ends"])
_NO_PART = COLOURS | WORDS["uninformative"]


@dataclass(frozen=True)
class GeneralQuestions:
    """General questions about the images of one data set."""

    noun: str
    parts: tuple[str, ...]
    """The parts that the bank's concepts speak of: "crown", "wing bar"."""
    concepts: tuple[str, ...]
    """The concepts of the whole bank that a picture can show."""

    @classmethod
    def of(cls, noun: str, bank: Mapping[str, Sequence[str]]) -> "GeneralQuestions":
        """Return the questions for a concept bank; concepts of no look, such as a song, are left out."""
        visual = sorted(filter(_is_visual, {concept for concepts in bank.values() for concept in concepts}))
        return cls(noun, parts_of(visual), tuple(visual))

    def ask(self, kind: Kind, listed: Sequence[str], random: Random) -> str:
        """Draw a question of a kind about an image whose class lists the concepts `listed`.

        Where the bank knows no part, or no concept that can be seen, the question is about the whole picture.
        """
        known = {"part": self.parts, "feature": self.concepts, "picture": (self.noun,)}[kind]
        wording = random.choice(WORDINGS[kind if known else "picture"])
        own = [concept for concept in listed if _is_visual(concept)]
        asked = random.choice(own if kind == "feature" and own and random.random() < 0.5 else known or ("",))
        be = "are" if _is_plural(asked) else "is"
        return wording.format(noun=self.noun, part=asked, be=be, feature=with_feature_article(asked) if asked else "")


def parts_of(concepts: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that concepts speak of, sorted: their nouns without what is said of them.

    A part is the longest end that two concepts have in common ("white wing bar", "yellow wing bar"), or else the last
    word; what follows a preposition or a verb is left out ("nucleus with two lobes").
    """
    named = {words for concept in concepts if (words := _noun_words(concept))}
    ends = [words[start:] for words in named for start in range(1, len(words))]
    shared = {end for end, count in Counter(ends).items() if count > 1 and end[0] not in _NO_PART}
    parts = {next((words[i:] for i in range(1, len(words)) if words[i:] in shared), words[-1:]) for words in named}
    return tuple(sorted(" ".join(part) for part in parts if part[-1] not in _NO_PART))


def _is_plural(noun: str) -> bool:
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def _is_visual(concept: str) -> bool:
    return non_visual_kind(concept) is None


def _noun_words(concept: str) -> tuple[str, ...]:
    """Return the words of a concept up to the first that ends its noun."""
    words = concept.lower().replace(",", " , ").split()
    end = next((place for place, word in enumerate(words) if place and word in _ENDS), len(words))
    return tuple(words[:end])
