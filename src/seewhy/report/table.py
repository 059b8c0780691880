"""The results as rows of text: one model a row, shares as percentages, perplexities plain, with 95 % intervals.

`rows` is shared by the terminal and the page, so that both say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Metrics = Mapping[str, Any]

COLUMNS = {
    "accuracy": "Accuracy",
    "accuracy_lenient": "Lenient accuracy",
    "ee": "Gives a reason (EE)",
    "cs": "Consistent (CS)",
    "fs": "Perplexity (FS)",
    "stated_true": "Reasons true",
    "stated_hidden": "Reasons hidden",
    "stated_wrong": "Reasons false",
}
EE_COUNTS = "EE counts only phrases of the concept bank"
"""What has to be known beside the figure: a reason in other words is not seen by it."""
BESIDE = {"ee": ("any_reason", "any"), "stated_true": ("stated_unverified", "unmarked")}
"""Figure -> the one that stands under it, and the word for that."""
NOTE = (
    f"{EE_COUNTS}; 'any': answers that say anything besides a name. n: answers; of reasons, those of which it is known "
    "whether they are true; of FS, tokens; and in how many images, where not in all."
)
PERPLEXITIES = frozenset(["fs"])
"""Figures that are no shares: numbers from 1 on, lower being better."""
CONTROLS = {"nl": "NL", "lge": "L+GE", "unfiltered": "Unfiltered", "class_level": "Class level"}
"""Short names of the arms that may stand beside the method."""
SELECTION = {
    "selection_precision": "precision",
    "selection_recall": "recall",
    "selection_precision_whole_list": "precision of the whole list",
}


@dataclass(frozen=True)
class Cell:
    """A figure as text; all parts are empty where it was not measured."""

    value: str
    interval: str
    beside: str = ""
    """The figure that belongs with it: 'any 96.2 %'."""
    counted: tuple[str, ...] = ()
    """What was counted, 'n 480', and in how many images, where not in all."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that stands under it, but for the interval; a line each."""
        return (*filter(None, [self.beside]), *self.counted)


@dataclass(frozen=True)
class Row:
    model: str
    control: bool
    cells: tuple[Cell, ...]


def rows(metrics: Metrics) -> tuple[list[str], list[Row]]:
    """The columns of which at least one model has a figure, and a row a model: base, rounds, controls."""
    models = [(name, control, values) for name, control, values in _models(metrics)]
    keys = [key for key in COLUMNS if any(key in values for _, _, values in models)]
    return [COLUMNS[key] for key in keys], [
        Row(name, control, tuple(cell(values, key) for key in keys)) for name, control, values in models
    ]


def selection_cells(metrics: Metrics) -> dict[str, Cell]:
    """The figures of the concept selection, of the first round that has them; empty without truth."""
    chosen = next((r for r in metrics.get("rounds", ()) if "selection_precision" in r), {})
    return {title: cell(chosen, key) for key, title in SELECTION.items() if key in chosen}


def cell(values: Metrics, key: str) -> Cell:
    """'93.1 %' and '90.8\u2013100'; of a perplexity '4.27' and '4.11\u20134.45'; with what was counted, if known."""
    if key not in values:
        return Cell("", "")
    bounds: Sequence[float] = values.get(f"{key}_interval", ())
    if key in PERPLEXITIES:
        interval = "\u2013".join(written(key, bound) for bound in bounds)
    else:
        interval = "\u2013".join(f"{100 * bound:.1f}".replace("100.0", "100") for bound in bounds)
    other, word = BESIDE.get(key, ("", ""))
    is_told = other in values and (key == "ee" or values[other] > 0)  # nothing unmarked is nothing to tell
    beside = f"{word} {percent(values[other])}" if is_told else ""
    return Cell(written(key, values[key]), interval, beside, _counted(values, key))


def _counted(values: Metrics, key: str) -> tuple[str, ...]:
    counted = [f"n {values[f'{key}_n']:,}"] if f"{key}_n" in values else []
    images, clusters = values.get(f"{key}_images"), values.get(f"{key}_clusters")
    if images is not None and images != values.get("n"):
        counted.append(f"{images:,} image{'s' * (images != 1)}")
    if clusters is not None:
        counted.append(f"{clusters:,} group{'s' * (clusters != 1)}")
    return tuple(counted)


def written(key: str, value: float) -> str:
    """A figure as text: a share as a percentage, a perplexity to three figures."""
    if key not in PERPLEXITIES:
        return percent(value)
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def print_results(metrics: Metrics, console: Console) -> None:
    """The results table and, with truth, a line on the concept selection."""
    columns, body = rows(metrics)
    first = metrics["base"]
    title = f"Results on {first['n']} {first['split']} images (95 % intervals)"
    lines = [(row.model, [_stacked(c.value, c.interval, *c.notes) for c in row.cells], row.control) for row in body]
    _print_tables(title, ["Model", *columns], lines, console)
    if any(cell.notes for row in body for cell in row.cells):
        console.print(NOTE, style="dim")
    if chosen := selection_cells(metrics):
        console.print("Concept selection: " + ", ".join(f"{title} {told(c)}" for title, c in chosen.items()))


def print_comparison(compared: Metrics, console: Console) -> None:
    """One row an arm, after its last round, and under each figure how much better the method is, paired by image."""
    seeds, last = len(compared["seeds"]), compared["rounds"]
    title = f"After round {last} on {compared['split']} images, mean of {seeds} seed{'s' * (seeds > 1)}"
    ours, arms = compared["rounds_of"]["rounds"][-1], compared["rounds_of"]
    keys = [key for key in COLUMNS if key in ours]
    names = {"rounds": "SeeWhy", **CONTROLS}
    lines = [("Base, untuned", _compared_cells(keys, compared["base"], {}), False)]
    for arm, rounds in arms.items():
        lines.append((names[arm], _compared_cells(keys, rounds[-1], compared["ours_minus"].get(arm, {})), False))
    _print_tables(title, ["Arm", *(COLUMNS[key] for key in keys)], lines, console)
    if any(f"{key}_n" in ours for key in keys):
        console.print(NOTE, style="dim")
    console.print(
        "Below an arm's figure: SeeWhy's minus the arm's (of shares in points) and its 95 % interval over seeds and"
        " images."
    )


def _compared_cells(keys: Sequence[str], figures: Metrics, better: Mapping[str, Sequence[float]]) -> list[Text]:
    """One arm's figures, each with the method's difference to it and its interval below."""
    cells = []
    for key in keys:
        below = [f"{v:+.2f}" if key in PERPLEXITIES else f"{100 * v:+.1f}" for v in better.get(key, ())]
        if below:
            below = [below[0], f"{below[1]} to {below[2]}"]
        found = cell(figures, key)
        cells.append(_stacked(found.value, *below, *found.notes))
    return cells


def _stacked(figure: str, *below: str) -> Text:
    """A figure with lines below it, which are dim."""
    return Text("\n").join([Text(figure), *(Text(line, "dim") for line in below if line)])


Line = tuple[str, Sequence[Text], bool]
"""A row's name, its cells, and whether it is dim."""


def told(cell: Cell) -> str:
    """A figure in a line of text: '93.1 % (90.8\u2013100; n 480)'."""
    beside = "; ".join(filter(None, (cell.interval, *cell.notes)))
    return f"{cell.value} ({beside})" if beside else cell.value


def _print_tables(title: str, columns: Sequence[str], lines: Sequence[Line], console: Console) -> None:
    """One table, or, where the console is too narrow, as few as will do, with about as many columns each."""
    count, unbounded = len(columns) - 1, console.options.update(width=10_000)
    for tables in range(1, count + 1):
        edges = [number * count // tables for number in range(tables + 1)]
        made = [_table(columns, lines, slice(*part)) for part in pairwise(edges)]
        if all(Measurement.get(console, unbounded, table).minimum <= console.width for table in made):
            break
    made[0].title = title
    for table in made:
        console.print(table)


def _table(columns: Sequence[str], lines: Sequence[Line], part: slice) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(columns[0], no_wrap=True, min_width=max(len(name) for name, _, _ in lines))
    for number, column in enumerate(columns[1:][part], start=part.start):
        width = max(len(line) for _, cells, _ in lines for line in cells[number].plain.split("\n"))
        table.add_column(column, justify="right", min_width=width)
    for name, cells, dim in lines:
        table.add_row(name, *cells[part], style="dim" if dim else "")
    return table


def _models(metrics: Metrics) -> list[tuple[str, bool, Metrics]]:
    rounds = [(f"Round {r['round']}", False, r) for r in metrics.get("rounds", ())]
    controls = [
        (f"{title}, round {r['round']}", True, r) for key, title in CONTROLS.items() for r in metrics.get(key, ())
    ]
    return [("Base, untuned", False, metrics["base"]), *rounds, *controls]
