"""The results as rows of text: one model a row, shares as percentages with their 95 % intervals.

`rows` is shared by the terminal and the page, so that both say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Metrics = Mapping[str, Any]

COLUMNS = {
    "accuracy": "Accuracy",
    "accuracy_lenient": "Lenient accuracy",
    "ee": "Gives a reason (EE)",
    "stated_true": "Reasons true",
    "stated_hidden": "Reasons hidden",
    "stated_wrong": "Reasons false",
}
CONTROLS = {"nl": "NL", "lge": "L+GE", "unfiltered": "Unfiltered", "class_level": "Class level"}
"""Short names of the arms that may stand beside the method."""
SELECTION = {
    "selection_precision": "precision",
    "selection_recall": "recall",
    "selection_precision_whole_list": "precision of the whole list",
}


@dataclass(frozen=True)
class Cell:
    """A share as text; both parts are empty where it was not measured."""

    value: str
    interval: str


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
    """'93.1 %' and '90.8\u2013100'."""
    if key not in values:
        return Cell("", "")
    bounds: Sequence[float] = values.get(f"{key}_interval", ())
    return Cell(percent(values[key]), "\u2013".join(f"{100 * bound:.1f}".replace("100.0", "100") for bound in bounds))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def print_results(metrics: Metrics, console: Console) -> None:
    """The results table and, with truth, a line on the concept selection."""
    columns, body = rows(metrics)
    first = metrics["base"]
    title = f"Results on {first['n']} {first['split']} images (95 % intervals)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Model", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", min_width=9)
    for row in body:
        cells = [f"{c.value}\n[dim]{c.interval}[/dim]" if c.interval else c.value for c in row.cells]
        table.add_row(row.model, *cells, style="dim" if row.control else "")
    console.print(table)
    if chosen := selection_cells(metrics):
        console.print("Concept selection: " + ", ".join(f"{title} {c.value}" for title, c in chosen.items()))


def print_comparison(compared: Metrics, console: Console) -> None:
    """One row an arm, after its last round, and under each figure how much better the method is, paired by image."""
    seeds, last = len(compared["seeds"]), compared["rounds"]
    title = f"After round {last} on {compared['split']} images, mean of {seeds} seed{'s' * (seeds > 1)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Arm", no_wrap=True)
    ours, arms = compared["rounds_of"]["rounds"][-1], compared["rounds_of"]
    keys = [key for key in COLUMNS if key in ours]
    for key in keys:
        table.add_column(COLUMNS[key], justify="right", min_width=9)
    names = {"rounds": "SeeWhy", **CONTROLS}
    table.add_row("Base, untuned", *(percent(compared["base"][key]) if key in compared["base"] else "" for key in keys))
    for arm, rounds in arms.items():
        better = compared["ours_minus"].get(arm, {})
        cells = []
        for key in keys:
            text = percent(rounds[-1][key]) if key in rounds[-1] else ""
            if key in better:
                whole, low, high = (100 * value for value in better[key])
                text += f"\n[dim]{whole:+.1f} ({low:+.1f} to {high:+.1f})[/dim]"
            cells.append(text)
        table.add_row(names[arm], *cells)
    console.print(table)
    console.print("Below an arm's figure: SeeWhy's minus the arm's, in points, with its 95 % interval over images.")


def _models(metrics: Metrics) -> list[tuple[str, bool, Metrics]]:
    rounds = [(f"Round {r['round']}", False, r) for r in metrics.get("rounds", ())]
    controls = [
        (f"{title}, round {r['round']}", True, r) for key, title in CONTROLS.items() for r in metrics.get(key, ())
    ]
    return [("Base, untuned", False, metrics["base"]), *rounds, *controls]
