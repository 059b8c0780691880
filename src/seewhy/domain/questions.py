"""What the model is asked: question templates of four kinds, parametrised by what the images show (the noun).

`describe` asks for D(X) and never for a name; `simple` asks for the name, `explain` for the name and the reasons, `cot`
for a description first and the name after it (docs/method.md). Also here, because the method and the built-in
base model must agree on them word for word: the instruction of the synthesis step and the plain label sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from seewhy.domain.text import with_article
from seewhy.errors import SeeWhyError

DESCRIBE = (
    "Describe the {noun} in this image, and only the {noun}.",
    "What does the {noun} look like?",
    "Describe the visible features of the {noun}.",
    "List what you can see of the {noun}.",
    "Describe this {noun} in detail.",
    "What visual features does this {noun} have?",
    "Tell me what this {noun} looks like, not what is around it.",
    "Give a description of the {noun} shown here.",
    "Which features of the {noun} can be seen?",
    "Describe the colours, shapes and marks of this {noun}.",
    "How would you describe the {noun} in the picture?",
    "Look at the {noun} and describe its parts.",
    "Write down the features of this {noun}.",
    "What can be seen of the {noun} in the photo?",
    "Describe the appearance of the {noun}.",
    "Please describe only the {noun}, not the background.",
    "What are the visible characteristics of this {noun}?",
    "Name the features that this {noun} shows.",
    "Describe each visible part of the {noun}.",
    "Give the details of how this {noun} looks.",
)
SIMPLE = (
    "What is the name of this {noun}?",
    "Name this {noun}.",
    "Which {noun} is this?",
    "What is the specific name of the {noun} in this image?",
    "Identify this {noun}.",
    "What {noun} is shown here?",
    "Tell me the name of this {noun}.",
    "What do you call this {noun}?",
    "Which specific {noun} does the picture show?",
    "Give the name of the {noun}.",
    "Can you name this {noun}?",
    "What kind of {noun} is this?",
    "Please identify the {noun} in the image.",
    "What is this {noun} called?",
    "Say which {noun} this is.",
    "Which kind of {noun} do you see?",
    "What is the name of the {noun} in the photo?",
    "State the name of this {noun}.",
    "Which {noun} is in the picture?",
    "What specific kind of {noun} is this?",
)
EXPLAIN = (
    "Based on the visual content, what is the specific name of this {noun}? Provide an explanation.",
    "Which {noun} is this, and why?",
    "Name this {noun} and give your reasons.",
    "What is the name of this {noun}? Explain how you can tell.",
    "Identify the {noun} and say which features show it.",
    "What {noun} is this? Justify your answer.",
    "Which {noun} is shown here, and how do you know?",
    "Name the {noun} and the features that support the name.",
    "Tell me what this {noun} is called and why you think so.",
    "What kind of {noun} is this? Give the visual evidence.",
    "Identify this {noun} and explain your answer.",
    "What is this {noun} called, and what makes you say so?",
    "Say which {noun} this is and point out the features that tell.",
    "What specific {noun} is in the image? Explain.",
    "Give the name of the {noun} with your reasons.",
    "Which {noun} is this? Support your answer with what you see.",
    "Name this {noun}. What visual features led you to it?",
    "Can you name this {noun} and explain why?",
    "What {noun} does the picture show? Give reasons from the image.",
    "State the name of this {noun} and explain which features you used.",
)
COT = (
    "Describe the {noun} first, then name it.",
    "Look at the features of this {noun} step by step, then give its name.",
    "First list what you see of the {noun}, then identify it.",
    "Think step by step: which features does the {noun} show, and what is it called?",
    "Go through the visible features and conclude which {noun} this is.",
    "Describe what you see, then say which {noun} this is.",
    "Start with the features of the {noun} and end with its name.",
    "Examine the {noun} part by part, then name it.",
    "What features do you see, and which {noun} do they point to?",
    "Reason from the visible features to the name of this {noun}.",
    "First describe this {noun} in detail, then state its name.",
    "Note the features of the {noun} one by one and then identify it.",
    "Before you name the {noun}, describe it.",
    "Let us look closely: describe the {noun} and then say what it is called.",
    "From its features to its name: what is this {noun}?",
    "Work out step by step which {noun} this is.",
    "Observe the {noun}, describe it, and conclude with its name.",
    "Describe the visible features of the {noun} and finish with its specific name.",
    "Use what you see to work out the name of this {noun}, features first.",
    "List the features of this {noun}, and then its name.",
)
EVALUATION = EXPLAIN[0]
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
        """Questions about a `noun`; `extra` is a YAML file of more wordings: {kind: [template, ...]}.

        Raises SeeWhyError for an empty noun, or an extra file that is not a mapping of the four kinds to templates.
        """
        if not noun.strip() or "{" in noun or "\n" in noun:
            raise SeeWhyError(f"The noun {noun!r} is not a word or phrase; set data.noun to what the images show.")
        templates = {"describe": DESCRIBE, "simple": SIMPLE, "explain": EXPLAIN, "cot": COT}
        for kind, more in _read_extra(extra).items():
            templates[kind] = (*templates[kind], *(t for t in more if t not in templates[kind]))
        filled = {kind: tuple(t.replace("{noun}", noun) for t in ts) for kind, ts in templates.items()}
        return cls(**filled, evaluation=EVALUATION.replace("{noun}", noun), noun=noun)

    @property
    def texts(self) -> tuple[str, ...]:
        """All wordings, in a fixed order: what a fingerprint of the domain covers."""
        return tuple(text for f in fields(self) for text in _as_tuple(getattr(self, f.name)))


def synthesis_prompt(label: str, concepts: Sequence[str], query: str, noun: str) -> str:
    """The instruction of step 3: the model is told the label and Z*(X), and answers `query` in its own words."""
    return _SYNTHESIS.format(noun=noun, label=with_article(label), concepts=", ".join(concepts), query=query)


def label_sentence(label: str) -> str:
    """The plain answer: what the NL control learns, and what an example falls back to."""
    return f"This is {with_article(label)}."


def general_explanation(label: str, concepts: Sequence[str]) -> str:
    """What the L+GE control learns: the name and all that a textbook says of the class, seen or not."""
    return f"{label_sentence(label)} Its features are: {', '.join(concepts)}."


def _as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _read_extra(path: str | Path | None) -> dict[str, list[str]]:
    if path is None:
        return {}
    kinds = ("describe", "simple", "explain", "cot")
    remedy = f"Write a mapping of {', '.join(kinds)} to lists of questions in which {{noun}} stands for the noun."
    try:
        extra = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SeeWhyError(f"{path}: the questions cannot be read ({error}). {remedy}") from error
    if not isinstance(extra, dict):
        raise SeeWhyError(f"{path}: this is not a mapping. {remedy}")
    for kind, templates in extra.items():
        if kind not in kinds:
            raise SeeWhyError(f"{path}: unknown kind of question {kind!r}. {remedy}")
        if not isinstance(templates, list) or not all(isinstance(t, str) and t.strip() for t in templates):
            raise SeeWhyError(f"{path}: the questions of kind {kind!r} are not a list of texts. {remedy}")
    return extra
