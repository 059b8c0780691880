"""How each figure of the page is computed, in words for who did not write the program.

The arms of a run or of a comparison, each a line of models over the rounds: what the page's parts share.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.proof.audit import PHRASE
from seewhy.report.table import COLUMNS, CONTROLS, Metrics

FIGURES = {
    "accuracy": (
        "Accuracy",
        "The answer names the image's label and no other. Words must match whole, and the longest label counts: "
        "\u201cFish Crow\u201d does not name \u201cCrow\u201d.",
    ),
    "accuracy_lenient": (
        "Lenient accuracy",
        "The label's letters occur somewhere in the answer: the rule of the method's research code, for comparison.",
    ),
    "ee": (
        "Gives a reason (EE)",
        "The answer states at least one concept of the bank besides a label's name. Found by matching words, without a "
        "judge; it counts only phrases of the bank, so that a reason in other words is missed: a lower bound.",
    ),
    "any_reason": (
        "Any reason",
        "The answer says anything besides a class's name, in whatever words, be it true or not; a name that breaks off "
        "says nothing. Without a judge: an upper bound beside EE. Where it is far above EE, the model gives reasons "
        "that the bank has no words for.",
    ),
    "stated_true": (
        "Reasons true, hidden, false",
        "Of all concepts that the answers state, the shares that can be seen in their image, that are true of its "
        "subject but not to be seen there, and that are neither. Held against what is recorded of each image.",
    ),
    "cs": (
        "Agrees with the expert (CS)",
        "Of the concepts that an answer states, the share that the concepts selected for its image entail; 0 for an "
        "answer that states none. Decided on the words, without a judge.",
    ),
    "fs": (
        "Fluency (FS)",
        "Perplexity of the answers under the untuned base model, weighted by tokens; lower is more fluent.",
    ),
    "selection_precision": (
        "Concept selection",
        "Precision: share of the selected concepts that can be seen. Recall: share of the listed concepts that can be "
        "seen and were selected. The whole list's precision is what telling a model everything about a class would "
        "give.",
    ),
}
"""Figure of metrics.json -> its name and how it is computed."""

TRAINING = (
    "What became training data",
    "Label only: share of a round's answers that state the name alone for want of a usable one. Queries won: share of "
    "the queries with a winner; candidates kept: share that won. Round 1 samples no candidates. Margin: median score "
    "of the winner less the next best that names the label. Near copies: share of the reasoned answers with another of "
    "their class equal to it but for case, punctuation and numbers, or alike in 80 % of their five-word sequences. "
    f"Repeat: share of them that say {PHRASE} words or more twice.",
)
CONFUSED = (
    "Confused classes",
    "Answers that name exactly one label, and not the image's. What separates two classes stands in the expert's list "
    "of one and not of the other. The example is one of the pair's images, drawn by the hash of its id.",
)
LOOKS = (
    "Where the model looks",
    "Integrated gradients of the log-probability of the reason's words, at the embeddings of the image, from the "
    "image's mean embedding to itself. Each picture is scaled to its own greatest value: it shows where, not how much.",
)


def definitions(keys: Iterable[str]) -> list[tuple[str, str]]:
    """(name, how it is computed) of those figures that are among `keys`."""
    shown = set(keys)
    return [told for key, told in FIGURES.items() if key in shown]


OURS = "rounds"
TAUGHT = {
    OURS: "concepts selected for each image, its own best answers",
    "nl": "the label sentence alone",
    "lge": "the label and its class's whole list",
    "unfiltered": "a random candidate in place of the best",
    "class_level": "the class's whole list, as if every image showed it",
}
"""What each arm learns from; the rest is the same for all."""
HEADLINES = ("accuracy", "stated_true", "ee", "cs")
"""The figures of the summary and of the curves. Each is a share."""


@dataclass(frozen=True)
class Line:
    """One arm: the base, which all arms have in common, then its models in the order of their rounds."""

    key: str
    name: str
    base: Metrics
    rounds: tuple[Metrics, ...]

    @property
    def last(self) -> Metrics:
        """The figures of its last model; the base's where it has none yet."""
        return self.rounds[-1] if self.rounds else self.base

    def steps(self, key: str) -> list[tuple[int, Metrics]]:
        """(round, figures), 0 for the base, of the models that have the figure `key`."""
        models = [(0, self.base), *((int(values["round"]), values) for values in self.rounds)]
        return [(round, values) for round, values in models if key in values]

    def has(self, key: str) -> bool:
        """Whether one of its tuned models has this figure."""
        return any(key in values for values in self.rounds)


def lines(metrics: Metrics) -> list[Line]:
    """The method, then the alternatives that have a model; of metrics.json's value or `as_metrics`."""
    base: Metrics = metrics.get("base", {})
    ours = Line(OURS, "SeeWhy", base, _rounds(metrics, OURS))
    others = [Line(key, name, base, _rounds(metrics, key)) for key, name in CONTROLS.items()]
    return [ours, *(line for line in others if line.rounds)]


def title(key: str) -> str:
    """The name of a figure, as the table's column has it."""
    return COLUMNS.get(key, key)


def as_metrics(compared: Mapping[str, Any]) -> dict[str, Any]:
    """comparison.json's value in the form of metrics.json: means over seeds, with their intervals over seeds and
    images, and what was counted."""
    arms = {
        arm: [{"round": number, **_over_seeds(figures)} for number, figures in enumerate(rounds, start=1)]
        for arm, rounds in compared.get("rounds_of", {}).items()
    }
    return {"base": {"split": compared.get("split", ""), **_over_seeds(compared.get("base", {}))}, **arms}


def _over_seeds(figures: Metrics) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in figures.items():
        if isinstance(value, int | float):
            found[key] = value
            if f"{key}_interval" in figures:
                found[f"{key}_interval"] = figures[f"{key}_interval"]
    return found


def _rounds(metrics: Metrics, key: str) -> tuple[Metrics, ...]:
    found: Sequence[Metrics] = metrics.get(key) or ()
    return tuple(sorted(found, key=lambda values: values["round"]))
