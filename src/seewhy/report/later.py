"""The page's sections that later commands fill: `seewhy faithfulness`, `seewhy general`, `seewhy judge`.

A file that cannot be used takes nothing else from the page: its section says why, and how to make it anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from seewhy.errors import SeeWhyError
from seewhy.report import forgotten, judged, tested

F = TypeVar("F")


@dataclass(frozen=True)
class Section:
    """What one section shows, or why there is nothing to show; neither where the command was not given."""

    values: dict[str, Any] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Later:
    tested: Section = field(default_factory=Section)
    forgotten: Section = field(default_factory=Section)
    judged: Section = field(default_factory=Section)


def find_later(folder: Path, seeds: Sequence[int] | None = None) -> Later:
    """Of a run, or of a comparison over `seeds`: then means over those of its runs that have the file.

    A comparison shows no judge's figures, which are those of one run.
    """
    runs = [folder] if seeds is None else [folder / f"seed-{seed}" for seed in seeds]
    drawings = runs[0] / "fieldguide" / "images"  # the same in every run
    return Later(
        _section(runs, tested.VERB, tested.read_tested, lambda found: tested.tested_values(found, drawings)),
        _section(runs, forgotten.VERB, forgotten.read_ability, forgotten.forgotten_values),
        _section(runs if seeds is None else (), judged.VERB, judged.judged_values, lambda found: found[0]),
    )


def _section(
    runs: Sequence[Path], verb: str, read: Callable[[Path], F | None], values: Callable[[list[F]], dict[str, Any]]
) -> Section:
    """The section of one file. `runs` counts those that have it, `left` names the command for each other one."""
    try:
        found = {run: of for run in runs if (of := read(run)) is not None}
        if not found:
            return Section()
        left = [f"seewhy {verb} {run}" for run in runs if run not in found]
        return Section(
            {**values(list(found.values())), "runs": len(found), "left": left, "run": next(iter(found)).name}
        )
    except SeeWhyError as error:
        return Section(fault=str(error))
