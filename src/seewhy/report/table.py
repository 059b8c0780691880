"""Results as rows of text: shares as percentages, perplexities plain, with 95 % intervals and what was counted.

The page, the terminal and the cards of an export share these rows, so that all say the same. The models of a run, or
of a comparison over seeds, are grouped by arm (`Line`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from seewhy.report.figures import ARM_NAMES, COLUMNS, FIGURES, arm_name, of_group, title
from seewhy.results import Figures, Metrics
from seewhy.results_json import Figure
from seewhy.run.stages import METHOD


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
    base: Figures
    rounds: tuple[Figures, ...]

    @property
    def name(self) -> str:
        return arm_name(self.key)

    @property
    def last(self) -> Figures:
        """The figures of the last model; of the base where there is no other."""
        return self.rounds[-1] if self.rounds else self.base

    def steps(self, key: str) -> list[tuple[int, Figure]]:
        """Return (round, figure) of the models that have the figure `key`; round 0 is the base."""
        return [(figures.round or 0, figures[key]) for figures in (self.base, *self.rounds) if key in figures]

    def has(self, key: str) -> bool:
        """Return whether one of the tuned models has this figure."""
        return any(key in figures for figures in self.rounds)

    def of_round(self, round: int) -> Figures | None:
        """Return the figures of the model after a round, or None where there is none."""
        return next((figures for figures in self.rounds if figures.round == round), None)


def lines(metrics: Metrics) -> list[Line]:
    """Return the method, then the other arms that have a model."""
    arms = [
        Line(key, metrics.base, tuple(sorted(metrics.arms.get(key, ()), key=lambda figures: figures.round or 0)))
        for key in ARM_NAMES
    ]
    return [arm for arm in arms if arm.key == METHOD or arm.rounds]


def rows(metrics: Metrics) -> tuple[list[str], list[Row]]:
    """Return the titles of the columns for which a model has a figure, and a row per model: base, rounds, controls."""
    models = [("Base, untuned", False, metrics.base)]
    for key in ARM_NAMES:
        prefix = "Round" if key == METHOD else f"{arm_name(key)}, round"
        models += [(f"{prefix} {figures.round}", key != METHOD, figures) for figures in metrics.arms.get(key, ())]
    keys = [key for key in COLUMNS if any(key in figures for _, _, figures in models)]
    return [title(key) for key in keys], [
        Row(name, control, tuple(cell(figures, key) for key in keys)) for name, control, figures in models
    ]


def selection_cells(metrics: Metrics) -> dict[str, Cell]:
    """Return title -> cell of the concept selection; empty without ground truth."""
    return {f.title: cell(metrics.selection, f.key) for f in of_group("selection") if f.key in metrics.selection}


def cell(figures: Mapping[str, Figure], key: str) -> Cell:
    """Return a figure as text, with its interval and counts: '93.1 %', '90.8\u2013100'; empty where it is missing."""
    figure = figures.get(key)
    if figure is None:
        return EMPTY
    bounds = figure.interval or ()
    if _unit(key) == "share":
        interval = "\u2013".join(f"{100 * bound:.1f}".replace("100.0", "100") for bound in bounds)
    else:
        interval = "\u2013".join(written(key, bound) for bound in bounds)
    other, word = FIGURES[key].beside if key in FIGURES else ("", "")
    shown = other in figures and (key == "ee" or figures[other].value > 0)  # no unmarked reason is not worth a line
    beside = f"{word} {percent(figures[other].value)}" if shown else ""
    images = figures.n if isinstance(figures, Figures) else None
    return Cell(written(key, figure.value), interval, beside, _counted(figure, images))


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


def _counted(figure: Figure, images: int | None) -> tuple[str, ...]:
    counted = [] if figure.n is None else [f"n {figure.n:,}"]
    if figure.images is not None and figure.images != images:
        counted.append(f"{figure.images:,} image{'s' * (figure.images != 1)}")
    if figure.clusters is not None:
        counted.append(f"{figure.clusters:,} group{'s' * (figure.clusters != 1)}")
    return tuple(counted)
