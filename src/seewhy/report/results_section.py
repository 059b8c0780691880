"""The page's tables of results: models beside one another, and the differences of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from seewhy.report.arms import HEADLINES, title
from seewhy.report.doubts import points
from seewhy.report.table import CONTROLS, Cell, Row, rows


def results(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The results as a table's columns and rows; None where there is no figure."""
    if not metrics.get("base"):
        return None
    columns, body = rows(metrics)
    return {"columns": columns, "rows": body}


def differences(compared: Mapping[str, Any]) -> dict[str, Any] | None:
    """SeeWhy's figures less each alternative's, in points, with their paired intervals."""
    better = {arm: figures for arm, figures in compared.get("ours_minus", {}).items() if figures}
    keys = [key for key in HEADLINES if any(key in figures for figures in better.values())]
    if not keys:
        return None

    def cell(figures: Mapping[str, Sequence[float]], key: str) -> Cell:
        if key not in figures:
            return Cell("", "")
        whole, low, high = (100 * value for value in figures[key])
        return Cell(points(whole), f"{points(low)} to {points(high)}")

    body = [
        Row(CONTROLS.get(str(arm), str(arm)), control=True, cells=tuple(cell(f, key) for key in keys))
        for arm, f in better.items()
    ]
    return {"columns": [title(key) for key in keys], "rows": body}


def spread(seeds: Sequence[int] | None) -> str:
    """What the small figures beside a figure are."""
    if seeds is None:
        return "95 % interval over images"
    return "95 % interval over seeds and images" if len(seeds) > 1 else "95 % interval over images, of one seed"
