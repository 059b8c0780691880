"""The page's section on what a language model said as judge, from RUN/judge.json (`seewhy judge`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seewhy.report.figures import model_name, of_group
from seewhy.report.sections import mapping, number, numbers, read, text
from seewhy.report.table import Cell, cell

FILE, VERB = "judge.json", "judge"
UNKNOWN = Cell("unknown", "")


def judged_values(run: Path) -> dict[str, Any] | None:
    """What the section shows; None where no answer was judged. Raises SeeWhyError for a file that cannot be used."""
    return read(run, FILE, f"{VERB} --model MODEL", _parsed)


def _parsed(found: dict[str, Any]) -> dict[str, Any]:
    judge, models = mapping(found["judge"]), mapping(found["models"])
    rows = [{"model": model_name(name), "cells": _cells(mapping(of))} for name, of in models.items()]
    together = {"model": "All together", "cells": (*[Cell("", "")] * 2, *_compared({}, mapping(found["agreement"])))}
    missing = {name: mapping(of["missing"]) for name, of in models.items()}
    return {
        "judge": text(judge["model"]),
        "split": text(found["split"]),
        "images": int(number(found["images"])),
        "of": int(number(found["of"])),
        "table": {"columns": [figure.title for figure in of_group("judge")], "rows": [*rows, together]},
        "missing": [
            f"{model_name(name)}: {', '.join(f'{reason} ({int(number(count))})' for reason, count in of.items())}"
            for name, of in missing.items()
            if of
        ],
    }


def _cells(of: Mapping[str, Any]) -> tuple[Cell, ...]:
    missing = sum(int(number(count)) for count in mapping(of["missing"]).values())
    counted = (Cell(f"{int(number(of['n'])):,}", ""), Cell(f"{missing:,}", ""))
    return *counted, *_compared(of, mapping(of["agreement"]))


def _compared(of: Mapping[str, Any], agreement: Mapping[str, Any]) -> tuple[Cell, ...]:
    """EE and CS of the judge and without it, and how far the two agree; `of` is empty for all models together."""
    free = mapping(of.get("judge_free", {}))
    ee, cs = mapping(agreement["ee"]), mapping(agreement.get("cs", {}))
    whole = not of
    return (
        _share(of, "ee"), _share(free, "ee") if free or whole else UNKNOWN, _plain(ee["raw"], share=True),
        _plain(ee["kappa"]),
        _share(of, "cs"), _share(free, "cs") if "cs" in free or whole else UNKNOWN, _plain(cs.get("spearman")),
    )  # fmt: skip


def _share(of: Mapping[str, Any], key: str) -> Cell:
    if key not in of:
        return Cell("", "")
    bounds = numbers(of[f"{key}_interval"], 2) if f"{key}_interval" in of else None
    return cell({key: number(of[key])} | ({f"{key}_interval": bounds} if bounds else {}), key)


def _plain(value: Any, *, share: bool = False) -> Cell:
    """A number from -1 to 1; unknown where it is not defined, as when one of the two says the same of all."""
    if value is None:
        return UNKNOWN
    return cell({"": number(value)}, "") if share else Cell(f"{number(value):.2f}".replace("-", "\u2212"), "")
