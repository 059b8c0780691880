"""Questions about what an image's marks say, in the wordings that the bases are taught, with their right answers.

A data set whose experts marked every attribute in every image (`Dataset.attributes`) brings them: attribute -> its
phrases, which exclude each other. The attribute's name is what a question calls it ("outline of the cell").

    open_question("size of the cell", rng)                       # What is the size of the cell like?
    yes_no_question("large cell", "white blood cell")            # Does the white blood cell show a large cell?
    open_answer("large cell")                                    # It shows a large cell.
    yes_no_answer("large cell", right=False, own="small cell")   # No, it shows a small cell.

A mark without a phrase (no vacuoles, the colour of no granules) is not asked openly, nor is an attribute that has one
phrase only, as the question would give the answer away. The wrong phrase of a no question is another value's, which may
be that of a mark that is "no".
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image

from seewhy.domain.questions import with_article
from seewhy.domain.text import CUTS
from seewhy.records import Truth

Attributes = Mapping[str, Sequence[str]]
"""What a question calls an attribute -> the phrases of its values."""
Kind = Literal["open", "yes", "no", "hidden", "describe"]

LOOK_AT = ("What can you say of the {}?", "What is the {} like?", "Look at the {}. What do you see?")
"""Questions about one attribute."""
SHOWS = "Does the {noun} show {feature}?"
OPEN = 3
"""Open questions that are asked about each image."""
_UNCOUNTED = frozenset(["chromatin", "cytoplasm", "fur", "hair", "plumage", "skin", "flesh", "tissue"])
"""Nouns that take no article."""


@dataclass(frozen=True)
class Question:
    """A question. `kind` gives the right answer: the value, yes, no, that it is hidden, or whatever is visible."""

    text: str
    kind: Kind
    attribute: str
    """Name of the attribute that is asked about; empty for a description."""


@dataclass(frozen=True)
class Sheet:
    """One image, its questions, and the truth."""

    name: str
    picture: Callable[[], Image.Image]
    own: Mapping[str, Collection[str]]
    """Attribute -> the phrases of its value; empty where it has none."""
    visible: frozenset[str]
    """The attributes whose value can be seen."""
    questions: tuple[Question, ...]


def open_question(attribute: str, random: Random) -> str:
    """Return a question about one attribute that leaves the answer open."""
    return random.choice(LOOK_AT).format(attribute)


def yes_no_question(phrase: str, noun: str) -> str:
    """Return the question whether what the image shows, the `noun`, has the feature of a phrase."""
    return SHOWS.format(noun=noun, feature=with_feature_article(phrase))


def open_answer(phrase: str) -> str:
    """Return the answer that a base is taught to an open question."""
    return f"It shows {with_feature_article(phrase)}."


def yes_no_answer(phrase: str, *, right: bool, own: str = "") -> str:
    """Return the answer that a base is taught to a yes/no question about a phrase; `own` is what there is instead."""
    if right:
        return f"Yes, it shows {with_feature_article(phrase)}."
    return f"No, it shows {with_feature_article(own)}." if own else "No, it does not."


def with_feature_article(phrase: str) -> str:
    """Return 'a large cell', 'a nucleus with two lobes', 'dense chromatin', 'vacuoles in the cytoplasm'."""
    words = phrase.split()
    head = next((words[i - 1] for i, word in enumerate(words) if i and word in CUTS), words[-1]).lower()
    plural = head.endswith("s") and not head.endswith(("ss", "us", "is"))
    bare = plural or head in _UNCOUNTED or words[0].lower() in ("a", "an", "the", "no")
    return phrase if bare else with_article(phrase)


def listed_features(phrases: Sequence[str]) -> str:
    """Return 'a large cell, dense chromatin and fine granules'."""
    *most, last = map(with_feature_article, phrases)
    return f"{', '.join(most)} and {last}" if most else last


def questions_of(
    truth: Truth, attributes: Attributes, noun: str, describe: Sequence[str], random: Random
) -> Iterator[Question]:
    """Yield the questions about one image, whose truth is complete: open ones, a yes, a no, and a description.

    Which attributes are asked about is drawn, and so is the wording among those of `describe`.
    """
    true = (*truth.visible, *truth.hidden)
    own = {name: [p for p in phrases if p in truth.visible] for name, phrases in attributes.items()}
    other = {name: [p for p in phrases if p not in true] for name, phrases in attributes.items()}
    marked = [name for name in attributes if own[name]]
    told_apart = [name for name in marked if len(attributes[name]) > 1]
    for name in random.sample(told_apart, min(OPEN, len(told_apart))):
        yield Question(open_question(name, random), "open", name)
    answers: tuple[tuple[Kind, dict[str, list[str]]], ...] = (("yes", own), ("no", other))
    for kind, phrases in answers:
        if names := [name for name in attributes if phrases[name]]:
            name = random.choice(names)
            yield Question(yes_no_question(random.choice(phrases[name]), noun), kind, name)
    yield Question(random.choice(describe), "describe", "")
