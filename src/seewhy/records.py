"""What flows between the stages: frozen, typed records, each of which knows the example it speaks of.

A record is written as one Parquet row, its fields in the order they stand here. Fields are `str`, `int`, `float`,
`bool`, or a tuple of `str`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

QuestionKind = Literal["describe", "simple", "explain", "cot"]
ReplayKind = Literal["part", "feature", "picture", "description"]
AnswerSource = Literal["synthesised", "sampled", "rewritten", "listed", "label sentence"]
"""Where a training answer's text came from: the base that was told label and concepts, the tuned model that was not, or
that was (it had no usable candidate); without a usable text name and concepts by template, or the bare name."""
OWN: tuple[AnswerSource, ...] = ("synthesised", "sampled")
"""The sources of answers for which nothing had to stand in."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image. `image` is its path relative to the domain's root; `sha256` is of the file's bytes."""

    id: str
    image: str
    sha256: str
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known to be true of one image, where that is known: it measures and never feeds the method.

    `visible`, `hidden` and `absent` hold concept phrases: true and to be seen, true and not to be seen, false. `boxes`
    gives, for a visible phrase, the (left, top, right, bottom) in pixels of where it is seen. Where the record is
    `complete`, what stands in no list is false too; else nobody knows.
    """

    example_id: str
    visible: tuple[str, ...]
    hidden: tuple[str, ...]
    boxes: Mapping[str, tuple[int, int, int, int]]
    absent: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question about one image, as put to a model. `id` comes back with every text that answers it."""

    id: str
    image: str
    """Absolute path of the image."""
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model answers. Temperature 0 is greedy decoding."""

    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 128


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as a model is tuned on it. `image` is an absolute path, or empty for text alone."""

    id: str
    image: str
    query: str
    answer: str
    names: tuple[tuple[int, int], ...] = ()
    """Ranges of characters of the answer that name the label: (start, end), end not included."""


@dataclass(frozen=True, slots=True)
class Description:
    """One text that the model wrote about an image without being told its label: an element of D(X)."""

    example_id: str
    query: str
    sample: int
    text: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the untuned base said about a train image, to be mixed into tuning. `fault` says why it is not; "" if it is.

    A "description" is one of step 1; the other kinds answer general questions.
    """

    example_id: str
    kind: ReplayKind
    query: str
    text: str
    fault: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The InfoNCE score of one concept of an example's label, and whether it was kept in Z*(X)."""

    example_id: str
    concept: str
    score: float
    selected: bool


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person's verdict changes of a run's training.

    "concept": whether an image shows a concept, `value` "right" or "wrong". "label": the example's label is wrong.
    "bank": for class `label` the concept has the wording `value`, or is struck where that is empty. "carry": what is
    said of some images counts for the others too.
    """

    kind: str
    example_id: str
    label: str
    concept: str
    value: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled answer, judged. `reason` says why it won or lost; `score` is NaN where it was never scored."""

    example_id: str
    round: int
    kind: QuestionKind
    query: str
    sample: int
    text: str
    score: float
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One training example of a round. `source` is where the text came from, `reason` why it was kept.

    `id` is `<example_id>/<round>/<number>`.
    """

    id: str
    example_id: str
    round: int
    kind: QuestionKind
    query: str
    text: str
    source: AnswerSource
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's greedy answer on an evaluation split."""

    example_id: str
    query: str
    text: str


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely the untuned base finds a model's answer: -log p in nats, summed over the answer's tokens.

    0 tokens: an answer that is empty, or no text (a special token stands in it).
    """

    example_id: str
    nll: float
    tokens: int
