"""What is measured, as typed records. `results_json.py` reads and writes their files.

    metrics = read(run / Metrics.FILE, Metrics)
    metrics.base["accuracy"].value, metrics.rounds[-1]["accuracy"].interval
    write(run / Metrics.FILE, metrics)

A file holds a record's fields under their names, and `version`. Figures are flat in it: `accuracy`,
`accuracy_interval`, `accuracy_n`. Files without a version number were written by SeeWhy 0.1 and are version 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from seewhy.results_json import FLAT, OMITTED, Difference, Figure, ResultsFile

Counts = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Figure -> (hits, totals), each with one number per image, or per cluster of images. A figure is their sums' ratio."""
Verdict = Literal["true", "hidden", "false", "unverified"]
"""Of a stated concept: visible; true of the subject but out of sight; neither; not known."""
Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


@dataclass(frozen=True)
class Figures(Mapping[str, Figure]):
    """The figures of one model on one split: `figures["accuracy"].value`. See `report.figures` for what each means.

    The method's rounds also hold the figures of the concept selection (`selection_precision` and others).
    """

    figures: Mapping[str, Figure] = field(default_factory=dict, metadata=FLAT)
    split: str = field(default="", metadata=OMITTED)
    n: int | None = field(default=None, metadata=OMITTED)
    """Images."""
    answers: int | None = field(default=None, metadata=OMITTED)
    round: int | None = field(default=None, metadata=OMITTED)
    """None for the untuned base."""
    training_answers: int | None = field(default=None, metadata=OMITTED)
    """Answers that the model was tuned on in its round."""
    fallback_share: float | None = field(default=None, metadata=OMITTED)
    """The share of these that are plain label sentences."""
    stated_verified: int | None = field(default=None, metadata=OMITTED)
    """Stated concepts of which it is known whether they are true: the `n` of `stated_true`."""

    def __getitem__(self, key: str) -> Figure:
        return self.figures[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)


@dataclass(frozen=True)
class Metrics(ResultsFile):
    """metrics.json: the figures of a run's models. `arms` is arm -> its models by round; "rounds" is the method."""

    FILE: ClassVar[str] = "metrics.json"

    base: Figures
    arms: Mapping[str, tuple[Figures, ...]] = field(default_factory=dict, metadata=FLAT)

    @property
    def rounds(self) -> tuple[Figures, ...]:
        """The method's own models."""
        return self.arms.get("rounds", ())

    @property
    def selection(self) -> Mapping[str, Figure]:
        """The figures of the concept selection; empty where the truth of the images is not known."""
        return next((figures for figures in self.rounds if "selection_precision" in figures), {})


@dataclass(frozen=True)
class Comparison(ResultsFile):
    """comparison.json: the method and its controls over several seeds, after each round."""

    FILE: ClassVar[str] = "comparison.json"
    REMEDY: ClassVar[str] = "remove it and give `seewhy compare CONFIG` again"

    split: str
    seeds: tuple[int, ...]
    rounds: int
    base: Mapping[str, Figure]
    """Means over seeds, with intervals over seeds and images."""
    rounds_of: Mapping[str, tuple[Mapping[str, Figure], ...]]
    """Arm -> the same after each round."""
    ours_minus: Mapping[str, Mapping[str, Difference]]
    """Arm -> figure -> how much greater the method's is after the last round, paired by image."""

    @property
    def metrics(self) -> Metrics:
        """The means over seeds in the form of one run's metrics."""
        arms = {
            arm: tuple(Figures(figures, round=number) for number, figures in enumerate(rounds, start=1))
            for arm, rounds in self.rounds_of.items()
        }
        return Metrics(Figures(self.base, split=self.split), arms)


@dataclass(frozen=True)
class GateRound:
    """One round held against the best of those before it, on validation images."""

    round: int
    accuracy: float
    against: int | None
    """The round that was best until then; None for the first."""
    differences: Mapping[str, Difference]
    """Figure -> this round minus the best."""
    p: Mapping[str, float]
    """Figure -> the one-sided p-value of this round being worse."""
    worse_in: tuple[str, ...]
    """The figures in which it is worse than chance explains."""


@dataclass(frozen=True)
class Gate(ResultsFile):
    """gate.json: which round is best, and whether the run stopped because a round was worse."""

    FILE: ClassVar[str] = "gate.json"

    best: int
    """The round to use, from 1."""
    stopped_after: int | None
    level: float
    """The p-value from which on a round counts as worse."""
    rounds: tuple[GateRound, ...]

    @property
    def stop(self) -> bool:
        return self.stopped_after is not None


@dataclass(frozen=True)
class Support(ResultsFile):
    """support.json: how many phrases of the concept bank are in words that the descriptions use."""

    FILE: ClassVar[str] = "support.json"

    phrases: int
    supported: int
    descriptions: int
    share: float
    """The share of the phrases that are supported; 1 for a bank without phrases."""
    minimum: float
    """The share below which the run stops."""
    unsaid: Mapping[str, tuple[str, ...]]
    """Each unsupported phrase -> its words that no description has."""

    @property
    def too_low(self) -> bool:
        return self.share < self.minimum


@dataclass(frozen=True)
class StatedConcept:
    """A concept that an answer states, held against the truth of its image."""

    concept: str
    verdict: Verdict
    box: Box | None = field(default=None, metadata=OMITTED)
    """Where it is seen, if that is known."""


@dataclass(frozen=True)
class CardAnswer:
    """What one model ("base", "round 1", "lge/round 2") answered about an image."""

    model: str
    text: str
    correct: bool
    stated: tuple[StatedConcept, ...]


@dataclass(frozen=True)
class Card:
    """An image that the report shows. `image` is an absolute path."""

    id: str
    image: str
    label: str
    question: str
    answers: tuple[CardAnswer, ...]


@dataclass(frozen=True)
class Gallery(ResultsFile):
    """gallery.json: the images that the report shows."""

    FILE: ClassVar[str] = "gallery.json"

    cards: tuple[Card, ...]

    @classmethod
    def upgraded(cls, values: Any) -> Any:
        return {"cards": values} if isinstance(values, list) else values  # SeeWhy 0.1 wrote the list alone


@dataclass(frozen=True)
class NeverNamed:
    """A label that no answer names, and how many answers are about its images."""

    label: str
    of: int


@dataclass(frozen=True)
class ConfusedPair:
    """Images of `label` that were called `named`, with one of them as an example."""

    label: str
    named: str
    count: int
    of: int
    """Answers about `label`."""
    only_label: tuple[str, ...]
    """Concepts in the list of `label` and not of `named`."""
    only_named: tuple[str, ...]
    shared: int
    """Concepts in both lists."""
    id: str
    image: str
    text: str
    stated: tuple[StatedConcept, ...]


@dataclass(frozen=True)
class Confusion(ResultsFile):
    """confusion.json: the wrong answers of the last model, by the labels that they name."""

    FILE: ClassVar[str] = "confusion.json"

    model: str
    answers: int
    wrong: int
    names_none: int
    names_several: int
    names_other: int
    own_reasons: int
    """Answers naming one other label that state a concept of the image's label which the named one does not list."""
    pairs_in_all: int
    pairs: tuple[ConfusedPair, ...]
    """The most frequent pairs, in order."""
    never_named: tuple[NeverNamed, ...] = ()


@dataclass(frozen=True)
class Trial:
    """A reason whose attribute was drawn with another value, and hidden: the answers before and after."""

    example: str
    reason: str
    new: str
    """What is seen in its place."""
    fate: str
    """follows, survives, misread or silent (`interventions.fate`)."""
    answer: str
    changed: str
    hidden: str


@dataclass(frozen=True)
class ModelFaithfulness:
    """The faithfulness of one model's reasons, with the counts by image that the figures come from."""

    figures: Mapping[str, Figure]
    counts: Counts
    weights: str
    """Digest of the model's weights."""
    model: str = ""
    """Its name: "round-2", "lge/round-2"."""
    effects: Mapping[str, Difference] = field(default_factory=dict)
    """`cover_gone_effect`, `counterfactual_changes_effect`: figure minus control."""
    tests: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cover:
    """What covers a part of an image: its share of the image, and its colour."""

    share: float = 0.125
    fill: str = "mean colour of the image"


@dataclass(frozen=True)
class Faithfulness(ResultsFile):
    """faithfulness.json: whether the stated reasons depend on what the image shows. `models` is by arm."""

    FILE: ClassVar[str] = "faithfulness.json"
    REMEDY: ClassVar[str] = "remove it and give `seewhy faithfulness {run}` to make it anew"

    split: str
    images: int
    reasons: int
    """Reasons tested per image, at most."""
    seed: int
    resamples: int
    models: Mapping[str, ModelFaithfulness]
    cover: Cover = field(default_factory=Cover)


@dataclass(frozen=True)
class ModelAbility:
    """One model's answers to questions about what images show, with the counts by image that the figures come from."""

    figures: Mapping[str, Figure]
    counts: Counts
    weights: str
    arm: str
    minus_base: Mapping[str, Difference] | None = field(default=None, metadata=OMITTED)
    """Figure -> how much greater it is than the base's, paired by drawing; None for the base."""


@dataclass(frozen=True)
class BenchmarkScores:
    """One model's scores on lmms-eval's tasks: "task/metric" -> score, and what it is minus the base's."""

    scores: Mapping[str, float]
    minus_base: Mapping[str, Difference] | None = field(default=None, metadata=OMITTED)
    """None for the base."""


@dataclass(frozen=True)
class Benchmarks:
    """lmms-eval's scores of several models."""

    models: Mapping[str, BenchmarkScores]
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawings:
    """What several models answered to questions about drawings, or about images whose attributes are marked."""

    split: str
    images: int
    """Drawings of each kind, or images with marks."""
    seed: int
    resamples: int
    models: Mapping[str, ModelAbility]


@dataclass(frozen=True)
class Ability(ResultsFile):
    """general.json: what the models can still do besides the task, on drawings, marked images or benchmarks."""

    FILE: ClassVar[str] = "general.json"
    REMEDY: ClassVar[str] = "remove it and give `seewhy general {run}` to make it anew"

    drawings: Drawings | None = field(default=None, metadata=FLAT)
    lmms_eval: Benchmarks | None = field(default=None, metadata=OMITTED)

    def __post_init__(self) -> None:
        if self.drawings is None and self.lmms_eval is None:
            raise ValueError("'models' is missing")


@dataclass(frozen=True)
class Judge:
    """The language model that judged, and how it was asked."""

    model: str
    served_by: tuple[str, ...] = ()
    """The names under which the server answered."""
    base_url: str = ""
    prompt: str = ""
    temperature: float | None = None


@dataclass(frozen=True)
class ExplainsAgreement:
    """How far the judge's EE agrees with the judge-free EE: the share of equal verdicts, and Cohen's kappa."""

    n: int
    raw: float | None
    kappa: float | None


@dataclass(frozen=True)
class ConsistencyAgreement:
    """How far the judge's CS agrees with the judge-free CS: Spearman's rank correlation."""

    n: int
    spearman: float | None


@dataclass(frozen=True)
class Agreement:
    """The judge against the judge-free figures, over the answers that have both."""

    ee: ExplainsAgreement
    cs: ConsistencyAgreement | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True)
class ModelJudgement:
    """The judge's figures of one model: `ee`, `cs`, and `cs_explained` over answers with an explanation alone."""

    n: int
    """Answers judged."""
    missing: Mapping[str, int]
    """Why answers have no verdict -> how many."""
    agreement: Agreement
    figures: Mapping[str, Figure] = field(default_factory=dict, metadata=FLAT)
    judge_free: Mapping[str, Figure] = field(default_factory=dict)
    """EE and CS of the same answers without a judge."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = None


@dataclass(frozen=True)
class Judgement(ResultsFile):
    """judge.json: EE and CS as a language model judges them."""

    FILE: ClassVar[str] = "judge.json"
    REMEDY: ClassVar[str] = "remove it and give `seewhy judge --model MODEL {run}` to make it anew"

    judge: Judge
    split: str
    images: int
    """Images whose answers were put to the judge, out of `of`."""
    of: int
    models: Mapping[str, ModelJudgement]
    agreement: Agreement
    """Over the answers of all models together."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = None


@dataclass(frozen=True)
class Reason:
    """One concept that the greedy answer states. `overlay` is the picture of where it is, None where there is none."""

    concept: str
    support: float
    overlay: str | None


@dataclass(frozen=True)
class Explained:
    """What a model says of one photo.

    `label` is None where the greedy answer names none of the run's labels, or several; confidence is then 0.
    `sampled` counts what the sampled answers name ("" for none or several). `no_overlay` says why there is no picture.
    """

    image: str
    label: str | None
    confidence: float
    answer: str
    reasons: tuple[Reason, ...]
    sampled: dict[str, int]
    no_overlay: str | None
