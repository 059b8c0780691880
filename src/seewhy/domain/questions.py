"""The questions put to the model: templates of four kinds, filled with the noun for what the images show.

`describe` asks for D(X) and never for a name; `simple` asks for the name, `explain` for the name and the reasons, `cot`
for a description first and the name after it (docs/method.md). The instruction of the synthesis step and the plain
label sentence are here too: the method and the built-in base model must use the same words.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from seewhy.domain.text import read_words
from seewhy.errors import SeeWhyError
from seewhy.records import QuestionKind
from seewhy.yaml_text import load

_TEMPLATES: dict[str, list[str]] = read_words("questions.yaml")
EVALUATION = _TEMPLATES["explain"][0]
"""The paper's evaluation question; it does not list the classes."""

_SYNTHESIS = "This {noun} is {label}. It shows: {concepts}. Answer the question in your own words. {query}"


@dataclass(frozen=True)
class Questions:
    """The wordings of each kind, with the noun filled in."""

    describe: tuple[str, ...]
    simple: tuple[str, ...]
    explain: tuple[str, ...]
    cot: tuple[str, ...]
    evaluation: str
    noun: str

    @classmethod
    def for_noun(cls, noun: str, extra: str | Path | None = None) -> "Questions":
        """Return questions about a `noun`; `extra` is a YAML file of more wordings: {kind: [template, ...]}.

        Raises SeeWhyError for an empty noun, or an extra file that is not a mapping of the four kinds to templates.
        """
        if not noun.strip() or "{" in noun or "\n" in noun:
            raise SeeWhyError(f"The noun {noun!r} is not a word or phrase; set data.noun to what the images show.")
        templates = {kind: tuple(texts) for kind, texts in _TEMPLATES.items()}
        for kind, more in _read_extra(extra).items():
            templates[kind] = (*templates[kind], *(t for t in more if t not in templates[kind]))
        filled = {kind: tuple(t.replace("{noun}", noun) for t in ts) for kind, ts in templates.items()}
        return cls(**filled, evaluation=EVALUATION.replace("{noun}", noun), noun=noun)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all wordings, in a fixed order: what a fingerprint of the domain covers."""
        return tuple(text for f in fields(self) for text in _as_tuple(getattr(self, f.name)))


def synthesis_prompt(label: str, concepts: Sequence[str], query: str, noun: str) -> str:
    """Return the instruction of step 3: the model is told the label and Z*(X), and answers `query` in its own words."""
    return _SYNTHESIS.format(noun=noun, label=with_article(label), concepts=", ".join(concepts), query=query)


def label_sentence(label: str) -> str:
    """Return the plain answer: what the NL control learns, and what an example falls back to."""
    return f"This is {with_article(label)}."


def general_explanation(label: str, concepts: Sequence[str]) -> str:
    """Return what the L+GE control learns: the name and all that a textbook says of the class, seen or not."""
    return f"{label_sentence(label)} Its features are: {', '.join(concepts)}."


def listed_reasons(label: str, concepts: Sequence[str], kind: QuestionKind) -> str:
    """Return the label sentence and the concepts that an image shows, in the order that a kind of question asks for.

    An answer to a cot question ends in the name, any other begins with it.
    """
    seen = f"It shows: {', '.join(concepts)}."
    return f"{seen} {label_sentence(label)}" if kind == "cot" else f"{label_sentence(label)} {seen}"


def _as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _read_extra(path: str | Path | None) -> dict[str, list[str]]:
    if path is None:
        return {}
    remedy = f"Write a mapping of {', '.join(_TEMPLATES)} to lists of questions in which {{noun}} stands for the noun."
    try:
        extra = load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SeeWhyError(f"{path}: the questions cannot be read ({error}). {remedy}") from error
    if not isinstance(extra, dict):
        raise SeeWhyError(f"{path}: this is not a mapping. {remedy}")
    for kind, templates in extra.items():
        if kind not in _TEMPLATES:
            raise SeeWhyError(f"{path}: unknown kind of question {kind!r}. {remedy}")
        if not isinstance(templates, list) or not all(isinstance(t, str) and t.strip() for t in templates):
            raise SeeWhyError(f"{path}: the questions of kind {kind!r} are not a list of texts. {remedy}")
    return extra


_LETTERS_WITH_AN = frozenset("aefhilmnorsx")
"""Letters whose names begin with a vowel: 'em', but 'you'."""
_LONGEST_INITIALS = 3
"""Capitals with a vowel among them are taken for a word when they are more than this: NASA, HERON."""
_ABBREVIATED = frozenset(["mr", "mrs", "ms", "dr", "st", "mt", "ft"])
"""Without a vowel, and yet spoken as words, all of which begin with a consonant."""

_SILENT_H = re.compile(r"hour|honou?r|honest|heir|hors$")
_SPOKEN_YOU = re.compile(
    r"eu|ew(?!a)"
    r"|uni(?![ndm]|ll)|uni(?:direc|mod)|unanim"
    r"|us[aeiu]|ut[aei]|ur[aeio]|ubi|uf[ao]|uga|uk|uly|uv[eu]|uto"
)
_SPOKEN_WITH_W = re.compile(r"(?:one|ones|oneself|once)$|oui")
_OTHER_VOWEL = re.compile(r"[aeiou]|y[^aeiou]|x(?![aeiouy])")


def with_article(name: str) -> str:
    """Return 'a Crow', 'an Owl'."""
    return f"{'an' if takes_an(name) else 'a'} {name}"


def takes_an(name: str) -> bool:
    """Return whether a name begins with the sound of a vowel when it is spoken in English."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.findall(r"\d+|[A-Za-z]+", plain)
    if not words:
        return False
    first = words[0]
    if first.isdigit():
        return _number_takes_an(first)
    if _is_spelled(first, words[1:]):
        return first[0].lower() in _LETTERS_WITH_AN
    word = first.lower()
    if _SPOKEN_YOU.match(word) or _SPOKEN_WITH_W.match(word):
        return False
    return bool(_SILENT_H.match(word) or _OTHER_VOWEL.match(word))


def _is_spelled(word: str, others: list[str]) -> bool:
    """Return whether a word is spoken letter by letter."""
    vowels = re.search(r"[aeiouy]", word.lower())
    if len(word) == 1:
        return not (word.lower() == "a" and others and others[0].isalpha())
    if re.match(r"[a-z][A-Z]{2}", word):  # mRNA
        return True
    if not vowels:
        return word.lower() not in _ABBREVIATED and (word.isupper() or word.islower())
    if not word.isupper() or len(word) > _LONGEST_INITIALS:
        return False
    shouted = any(other.isupper() and len(other) > 1 and re.search(r"[AEIOUY]", other) for other in others)
    return not shouted


def _number_takes_an(digits: str) -> bool:
    """Return whether a number is spoken eight..., eleven or eighteen (alone, as thousands or as centuries)."""
    if digits[0] == "8":
        return True
    leading = digits[: (len(digits) - 1) % 3 + 1]
    return leading in ("11", "18") or (len(digits) == 4 and digits[:2] in ("11", "18"))
