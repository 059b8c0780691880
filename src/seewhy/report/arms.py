"""The arms of a run or of a comparison, each a line of models over the rounds: what the page's parts share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.table import COLUMNS, CONTROLS, Metrics

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
