"""What the base model learns to say: descriptions, answers to small questions, and rewriting from a name and features.

The base must describe what it sees, answer a question in its own words given a name and a list of features (also ones
it has never met), and copy that name. It never reads the name of a species: names here are made of syllables, and
features that are not the world's own are made of common words of several fields.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import yaml

from seewhy.domain.marks_quiz import LOOK_AT, SHOWS, listed_features, with_feature_article
from seewhy.domain.questions import Questions, synthesis_prompt, with_article
from seewhy.fieldguide.world import Attribute, Look, make_species
from tools.training import Said

NOUNS = {"bird": ("bird", "bird", "bird", "animal"), "produce": ("fruit", "fruit", "produce", "food")}

_DESCRIBE = (
    "The {noun} has {all}.",
    "It has {all}.",
    "It has {some}, and it shows {rest}.",
    "This {noun} shows {all}.",
    "I can see {all}.",
    "{A_noun} with {all}.",
    "The {noun} has {some}. It also has {rest}.",
)
_EXPLAIN = (
    "This is {a_label}: it has {all}.",
    "It is {a_label}, because it has {all}.",
    "This is {a_label}. It has {all}.",
    "The {noun} is {a_label}. I can tell by {all}.",
    "This is {a_label}, which shows in {all}.",
    "It is {a_label}. The picture shows {all}.",
    "This is {a_label}, as it has {some} and {rest}.",
)
_COT = (
    "The {noun} has {all}. So it is {a_label}.",
    "It has {all}. This is {a_label}.",
    "I can see {all}, so this is {a_label}.",
    "It has {some}. It also has {rest}. It is {a_label}.",
)
_SIMPLE = ("This is {a_label}.", "It is {a_label}.", "The {noun} is {a_label}.")
_FRAMES = {"explain": _EXPLAIN, "cot": _COT, "simple": _SIMPLE}

_FILE = Path(__file__).with_name("fieldguide_words.yaml")
_WORDS = {name: words.split() for name, words in yaml.safe_load(_FILE.read_text(encoding="utf-8")).items()}
_SYLLABLES = _WORDS["syllables"]
_KINDS = _WORDS["kinds"]
_ONSETS = _WORDS["onsets"]
_VOWELS = _WORDS["vowels"]
_CODAS = ["", "", *_WORDS["codas"]]
_TAKEN = {word for species in make_species() for word in species.name.split()}
_PREFIXES = ("Lesser", "Greater", "Common", "Red", "Golden", "Royal", "Pink", "Granny", "Northern")
_ADJECTIVES = _WORDS["adjectives"]
_THINGS = _WORDS["things"]
_TAILS = ("on the skin", "at one end", "over the surface", "along the length", "at the base", "when cut", "on one side",
          "near the edge", "in the centre", "under the wing", "without spots")  # fmt: skip


def made_up_word(rng: random.Random) -> str:
    """Return a word of syllables, or of letters that make one: copying it must not depend on having met its pieces."""
    if rng.random() < 0.3:
        return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()
    parts = [rng.choice(choices) for _ in range(rng.choice((1, 2, 2, 3))) for choices in (_ONSETS, _VOWELS, _CODAS)]
    return "".join(parts).capitalize()


def made_up_name(rng: random.Random) -> str:
    """Return a class name that means nothing, of one to three words; never a species of the field guide."""
    word = made_up_word(rng)
    while word in _TAKEN:
        word = made_up_word(rng)
    shape = rng.random()
    if shape < 0.55:
        return f"{word} {rng.choice(_KINDS)}"
    if shape < 0.7:
        return f"{rng.choice(_PREFIXES)} {word}"
    if shape < 0.8:
        return f"{rng.choice(_PREFIXES)} {word} {rng.choice(_KINDS)}"
    return word if shape < 0.95 else rng.choice(_KINDS)


def made_up_feature(rng: random.Random) -> str:
    """Return a feature of no particular field: 'mottled border at one end'."""
    words = rng.sample(_ADJECTIVES, rng.choice((1, 1, 2)))
    text = f"{' '.join(words)} {rng.choice(_THINGS)}"
    return f"{text} {rng.choice(_TAILS)}" if rng.random() < 0.3 else text


def describe(phrases: Sequence[str], questions: Questions, rng: random.Random, *, at_least: int = 4) -> Said:
    """Return a description of `at_least` to eight of the phrases, in their order."""
    chosen = some(phrases, rng.randint(min(at_least, 8), 8), rng)
    return Said(rng.choice(questions.describe), _fill(rng.choice(_DESCRIBE), chosen, "", questions.noun, rng))


def name_it(label: str, phrases: Sequence[str], questions: Questions, rng: random.Random,
            kinds: Sequence[str] = ("simple", "explain", "explain", "cot", "cot")) -> Said:  # fmt: skip
    """Return a rewriting task: given a name and features, answer a question with all of them, in their order."""
    kind = rng.choice(kinds)
    query = rng.choice(getattr(questions, kind))
    answer = _fill(rng.choice(_FRAMES[kind]), list(phrases), label, questions.noun, rng)
    return Said(synthesis_prompt(label, phrases, query, questions.noun), answer)


def say_name(label: str, questions: Questions, rng: random.Random) -> Said:
    """Return a task to repeat a name, without features."""
    query = f"This {questions.noun} is {with_article(label)}. {rng.choice(questions.simple)}"
    return Said(query, _fill(rng.choice(_SIMPLE), [""], label, questions.noun, rng))


def guess(phrases: Sequence[str], questions: Questions, rng: random.Random) -> Said:
    """Return a question for a name that is not given: the base knows none, and says what it sees."""
    kind = rng.choice(("simple", "explain", "cot"))
    chosen = some(phrases, rng.randint(3, 6), rng)
    answer = _fill(rng.choice(_FRAMES[kind]), chosen, questions.noun, questions.noun, rng)
    return Said(rng.choice(getattr(questions, kind)), answer)


def ask(attribute: Attribute, look: Look, noun: str, rng: random.Random, *, visible: bool) -> Said:
    """Return a question about one attribute: what it is like, or whether it is as the question says."""
    name = attribute.question
    own = rng.choice(attribute.values[look[attribute.name]])
    if rng.random() < 0.6:
        return Said(
            rng.choice(LOOK_AT).format(name),
            f"It has {with_feature_article(own)}." if visible else f"The {name} cannot be seen.",
        )
    if rng.random() < 0.5:
        other = rng.choice([v for v in attribute.values if v != look[attribute.name]])
        asked = rng.choice(attribute.values[other])
        answer = f"No, it has {with_feature_article(own)}."
    else:
        asked, answer = own, "Yes, it does."
    return Said(
        SHOWS.format(noun=noun, feature=with_feature_article(asked)),
        answer if visible else f"The {name} cannot be seen.",
    )


def some(phrases: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Return `count` of the phrases, or all, from head to tail: as a guide lists them, so that none comes twice."""
    places = rng.sample(range(len(phrases)), min(len(phrases), count))
    return [phrases[place] for place in sorted(places)]


def _fill(frame: str, phrases: list[str], label: str, noun: str, rng: random.Random) -> str:
    cut = rng.randint(1, len(phrases) - 1) if len(phrases) > 1 else 1
    if not phrases[cut:] and "{rest}" in frame:
        frame = "It has {all}." if not label else "This is {a_label}: it has {all}."
    a_noun = with_article(noun)
    return frame.format(noun=noun, A_noun=a_noun[0].upper() + a_noun[1:],
                        all=_listed(phrases), some=_listed(phrases[:cut]), rest=_listed(phrases[cut:]),
                        a_label=with_article(label) if label else "")  # fmt: skip


def _listed(phrases: list[str]) -> str:
    return listed_features(phrases) if any(phrases) else ""
