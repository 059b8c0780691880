"""The verb that looks at a data set: data check."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.cli.verb import Verb
from seewhy.settings import load_config

if TYPE_CHECKING:
    from seewhy.domain.check import DataCheck

SHOWN = 10
"""Files, rows or classes that are listed under a finding; --json has all of them."""
SHOWN_CLASSES = 40
_STYLE = {"error": "red", "warning": "yellow", "note": "cyan"}

DATA = """\
Look at a data set before a run does.

examples:
  seewhy data check configs/cub200.yaml
"""

CHECK = """\
Look at all of a data set, and list what is wrong with it: broken files, copies and near-copies across splits and
classes, classes with few images, labels inside others, how images are stored, sizes that the model's processor refuses,
the concept bank.

examples:
  seewhy data check configs/cub200.yaml
  seewhy data check configs/cub200.yaml --json > check.json

Exit code 1 where there is an error: a run would stop at it, or its figures would be wrong. Near-copies are found by a
perceptual hash and confirmed by small grey pictures; turned and flipped copies are not found.
"""


def check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    parser.add_argument("--json", action="store_true", help="Print JSON, with every file, row and class.")


def check(given: Namespace) -> int:
    import torch

    from seewhy.cost.estimate import outline
    from seewhy.domain.check import check_data
    from seewhy.fieldguide.guide import with_guide
    from seewhy.vlm.chat import Size, refused_sizes

    config = load_config(given.config)

    def refused(sizes: Iterable[Size]) -> Mapping[Size, str]:
        return refused_sizes(outline(config, torch.float32), sizes)

    with tempfile.TemporaryDirectory() as folder:
        data = with_guide(config.data, Path(folder) / "fieldguide")
        checked = check_data(data, config.evaluate.split, refused_sizes=refused)
    if given.json:
        print(json.dumps(checked.as_json(), indent=2, ensure_ascii=False))
    else:
        show(checked, Console())
    return int(checked.errors > 0)


def show(checked: "DataCheck", console: Console) -> None:
    """The counts, then each finding with the first of what it was found in."""
    table = Table(title=checked.name, title_justify="left")
    table.add_column("class")
    splits = [split for split in ("train", "val", "test") if any(of.get(split) for of in checked.counts.values())]
    for split in splits:
        table.add_column(split, justify="right")
    fewest = sorted(checked.counts, key=lambda label: (checked.counts[label].get("train", 0), label))
    for label in fewest[:SHOWN_CLASSES]:
        table.add_row(Text(label), *(f"{checked.counts[label].get(split, 0):,}" for split in splits))
    if len(fewest) > SHOWN_CLASSES:
        table.add_row(Text(f"and {len(fewest) - SHOWN_CLASSES:,} more"), *("" for _ in splits))
    total = {split: sum(of.get(split, 0) for of in checked.counts.values()) for split in splits}
    table.add_section()
    table.add_row(f"{len(checked.counts):,} classes", *(f"{total[split]:,}" for split in splits))
    console.print(table)
    for finding in checked.findings:
        count = f" ({len(finding.items):,})" if finding.items else ""
        level = Text(f"{finding.level}: ", style=_STYLE[finding.level])
        console.print(level.append(f"{finding.message}{count}", style="default"), soft_wrap=True)
        for item in finding.items[:SHOWN]:
            console.print(Text(f"  - {item}"), soft_wrap=True)
        if len(finding.items) > SHOWN:
            console.print(f"  - and {len(finding.items) - SHOWN:,} more; --json lists all", highlight=False)
    warnings = sum(finding.level == "warning" for finding in checked.findings)
    verdict = "Nothing is wrong." if not checked.errors + warnings else f"{checked.errors} errors, {warnings} warnings."
    console.print(verdict, highlight=False)


VERBS = (
    Verb(
        "data", "look at a data set before a run", DATA, "seewhy data VERB ...",
        verbs=(Verb("check", "lint a data set", CHECK, "seewhy data check CONFIG [--json]", check_arguments, check),),
    ),
)  # fmt: skip
