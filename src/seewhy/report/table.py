"""Results as rows of text: shares as percentages, perplexities plain, with 95 % intervals and what was counted.

The page, the terminal and the cards of an export share these rows, so that all say the same. The models of a run, or
of a comparison over seeds, are grouped by arm (`Line`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.figures import ARM_NAMES, COLUMNS, FIGURES, arm_name, of_group, title
from seewhy.run.stages import METHOD

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A figure as text; all parts are empty where it was not measured."""

    value: str
    interval: str
    beside: str = ""
    """The figure that belongs with it: 'any 96.2 %'."""
    counted: tuple[str, ...] = ()
    """What was counted ('n 480'), and in how many images, where not in all."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The lines below the value, without the interval."""
        return (*filter(None, [self.beside]), *self.counted)

    @property
    def line(self) -> str:
        """The whole cell in one line: '93.1 % (90.8\u2013100; n 480)'."""
        notes = "; ".join(filter(None, (self.interval, *self.notes)))
        return f"{self.value} ({notes})" if notes else self.value


EMPTY = Cell("", "")


@dataclass(frozen=True)
class Row:
    """The figures of one model. `control` is true for the models of other arms than the method's."""

    model: str
    control: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Line:
    """One arm: the base, which all arms share, then its models in the order of their rounds."""

    key: str
    base: Metrics
    rounds: tuple[Metrics, ...]

    @property
    def name(self) -> str:
        return arm_name(self.key)

    @property
    def last(self) -> Metrics:
        """The figures of the last model; of the base where there is no other."""
        return self.rounds[-1] if self.rounds else self.base

    def steps(self, key: str) -> list[tuple[int, Metrics]]:
        """Return (round, figures) of the models that have the figure `key`; round 0 is the base."""
        models = [(0, self.base), *((int(values["round"]), values) for values in self.rounds)]
        return [(round, values) for round, values in models if key in values]

    def has(self, key: str) -> bool:
        """Return whether one of the tuned models has this figure."""
        return any(key in values for values in self.rounds)


def lines(metrics: Metrics) -> list[Line]:
    """Return the method, then the other arms that have a model, of the value of metrics.json or of `as_metrics`."""
    arms = [Line(key, metrics.get("base", {}), _rounds(metrics, key)) for key in ARM_NAMES]
    return [arm for arm in arms if arm.key == METHOD or arm.rounds]


def as_metrics(compared: Metrics) -> dict[str, Any]:
    """Return comparison.json's value in the form of metrics.json: means over seeds, with intervals and counts."""
    arms = {
        arm: [{"round": number, **_means(figures)} for number, figures in enumerate(rounds, start=1)]
        for arm, rounds in compared.get("rounds_of", {}).items()
    }
    return {"base": {"split": compared.get("split", ""), **_means(compared.get("base", {}))}, **arms}


def rows(metrics: Metrics) -> tuple[list[str], list[Row]]:
    """Return the titles of the columns for which a model has a figure, and a row per model: base, rounds, controls."""
    models = [("Base, untuned", False, metrics["base"])]
    for key in ARM_NAMES:
        prefix = "Round" if key == METHOD else f"{arm_name(key)}, round"
        models += [(f"{prefix} {values['round']}", key != METHOD, values) for values in metrics.get(key, ())]
    keys = [key for key in COLUMNS if any(key in values for _, _, values in models)]
    return [title(key) for key in keys], [
        Row(name, control, tuple(cell(values, key) for key in keys)) for name, control, values in models
    ]


def selection_cells(metrics: Metrics) -> dict[str, Cell]:
    """Return title -> cell of the concept selection, of the first round that has it; empty without ground truth."""
    chosen = next((r for r in metrics.get(METHOD, ()) if "selection_precision" in r), {})
    return {f.title: cell(chosen, f.key) for f in of_group("selection") if f.key in chosen}


def cell(values: Metrics, key: str, figure: str = "") -> Cell:
    """Return `values[key]` as text, with its interval and counts: '93.1 %', '90.8\u2013100'; empty where it is missing.

    `figure` is the figure's key in the registry, where it is not `key`.
    """
    if values.get(key) is None:
        return EMPTY
    figure = figure or key
    bounds: Sequence[float] = values.get(f"{key}_interval", ())
    if _unit(figure) == "share":
        interval = "\u2013".join(f"{100 * bound:.1f}".replace("100.0", "100") for bound in bounds)
    else:
        interval = "\u2013".join(written(figure, bound) for bound in bounds)
    other, word = FIGURES[figure].beside if figure in FIGURES else ("", "")
    shown = other in values and (key == "ee" or values[other] > 0)  # no unmarked reason is not worth a line
    beside = f"{word} {percent(values[other])}" if shown else ""
    return Cell(written(figure, values[key]), interval, beside, _counted(values, key))


def written(key: str, value: float) -> str:
    """Return a figure's value as text, by its unit: '93.1 %', '4.27' (a perplexity, to three figures), '1,234'."""
    match _unit(key):
        case "count":
            return f"{value:,}"
        case "number":
            return f"{value:.2f}".replace("-", "\u2212")
        case "perplexity":
            return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
        case _:
            return percent(value)


def percent(share: float) -> str:
    """Return '93.1 %' of 0.931."""
    return f"{100 * share:.1f} %"


def points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign: '+1.2' of 0.012."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def _unit(key: str) -> str:
    return FIGURES[key].unit if key in FIGURES else "share"


def _counted(values: Metrics, key: str) -> tuple[str, ...]:
    counted = [f"n {values[f'{key}_n']:,}"] if f"{key}_n" in values else []
    images, clusters = values.get(f"{key}_images"), values.get(f"{key}_clusters")
    if images is not None and images != values.get("n"):
        counted.append(f"{images:,} image{'s' * (images != 1)}")
    if clusters is not None:
        counted.append(f"{clusters:,} group{'s' * (clusters != 1)}")
    return tuple(counted)


def _means(figures: Metrics) -> dict[str, Any]:
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    return numbers | {name: figures[name] for key in numbers if (name := f"{key}_interval") in figures}


def _rounds(metrics: Metrics, key: str) -> tuple[Metrics, ...]:
    return tuple(sorted(metrics.get(key) or (), key=lambda values: values["round"]))
