"""Questions that the base model was taught to answer, about drawings of birds and produce, and their truth.

What a tuned model still answers is its general ability: birds are what the field guide's runs are about, produce is
what no such run has shown it. The birds are those of the field guide's splits, the produce has random looks; both
follow from the split and the seed alone.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Literal

from seewhy.domain.marks_quiz import LOOK_AT, OPEN, SHOWS, Question, Sheet
from seewhy.domain.questions import Questions
from seewhy.fieldguide.draw import Drawing
from seewhy.fieldguide.guide import attribute_visibility, draw_example
from seewhy.fieldguide.produce import draw_produce
from seewhy.fieldguide.world import BIRD, PRODUCE, Attribute, Look, make_species, random_look

Subject = Literal["bird", "produce"]

ATTRIBUTES: Mapping[Subject, tuple[Attribute, ...]] = {"bird": BIRD, "produce": PRODUCE}
NOUNS: Mapping[Subject, str] = {"bird": "bird", "produce": "fruit"}
_NO_ARTICLE = frozenset(["skin", "flesh", "legs", "wings", "bloom", "produce"])


def sheets(subject: Subject, split: str, count: int, seed: int) -> list[Sheet]:
    """Return `count` drawings of a subject with their questions."""
    draw = partial(_bird, split) if subject == "bird" else partial(_fruit, split)
    made = []
    for number in range(count):
        look, drawing = draw(number)
        seen = {
            attribute.name: visible
            for attribute, _, visible in attribute_visibility(drawing, look, ATTRIBUTES[subject])
        }
        visible = frozenset(name for name, there in seen.items() if there)
        random = _random(f"quiz/{seed}/{subject}/{split}/{number}")
        questions = tuple(_questions(subject, look, visible, random))
        own = {attribute.name: attribute.values[look[attribute.name]] for attribute in ATTRIBUTES[subject]}
        made.append(Sheet(f"{subject} {number}", drawing.image.copy, own, visible, questions))
    return made


def featured(text: str) -> str:
    """Return 'a red crown', 'an oval body', 'blue wings'."""
    head = re.split(r" (?:when|over|of|at|on) ", text)[0].rsplit(" ", 1)[-1]
    if head in _NO_ARTICLE or (head.endswith("s") and not head.endswith("ss")) or text.startswith(("no ", "pores")):
        return text
    return ("an " if text[0].lower() in "aeiou" else "a ") + text


def listed(phrases: Sequence[str]) -> str:
    """Return 'a red crown, blue wings and a forked tail'."""
    items = [featured(p) for p in phrases if p]
    if not items:
        return ""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _bird(split: str, number: int) -> tuple[Look, Drawing]:
    species = make_species()
    return draw_example(species[number % len(species)], split, number // len(species))


def _fruit(split: str, number: int) -> tuple[Look, Drawing]:
    random = _random(f"produce/{split}/{number}")
    look = random_look(PRODUCE, random)
    return look, draw_produce(look, random)


def _random(text: str) -> Random:
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _questions(subject: Subject, look: Look, visible: frozenset[str], random: Random):
    noun, attributes = NOUNS[subject], ATTRIBUTES[subject]
    seen = [a for a in attributes if a.name in visible]
    hidden = [a for a in attributes if a.name not in visible]
    for attribute in random.sample(seen, min(OPEN, len(seen))):
        yield Question(_look_at(attribute, random), "open", attribute.name)
    for attribute in random.sample(hidden, min(1, len(hidden))):
        yield Question(_look_at(attribute, random), "hidden", attribute.name)
    for attribute, kind in zip(random.sample(seen, min(2, len(seen))), ("yes", "no"), strict=False):
        own = look[attribute.name]
        value = own if kind == "yes" else random.choice([v for v in attribute.values if v != own])
        feature = featured(random.choice(attribute.values[value]))
        yield Question(SHOWS.format(noun=noun, feature=feature), kind, attribute.name)
    yield Question(random.choice(Questions.for_noun(noun).describe), "describe", "")


def _look_at(attribute: Attribute, random: Random) -> str:
    return random.choice(LOOK_AT).format(attribute.question)
