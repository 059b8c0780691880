"""What verbs that measure a finished run say of its page, which they write anew."""

import json
from pathlib import Path

from seewhy.errors import SeeWhyError
from seewhy.run.progress import say


def renew_page(run: str) -> None:
    """Write the page of a run anew, and that of the comparison that it is a seed of; say where they are.

    A run that cannot have one, as it is not finished, is told of it and stays as it is. On standard error, so that
    what is printed as JSON stays JSON.
    """
    from seewhy.report.page import write_page

    for folder in (run, *_comparison(Path(run))):
        try:
            say(f"Wrote {write_page(folder)}")
        except SeeWhyError as error:
            say(f"{folder} has no page of it yet. {error}")


def _comparison(run: Path) -> list[str]:
    """The folder of the comparison that has this run for one of its seeds."""
    try:
        seeds = json.loads((run.resolve().parent / "comparison.json").read_text(encoding="utf-8"))["seeds"]
        return [str(run.parent)] if run.resolve().name in [f"seed-{seed}" for seed in seeds] else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
