"""Notes on a data set, which its user should know and need not mend. Each function returns one sentence or none.

`load_domain` prints them once, and `seewhy data check` lists them.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from seewhy.domain.images import WINDOW, is_deep
from seewhy.domain.loaders.truth import left_out
from seewhy.domain.problems import shorten
from seewhy.domain.questions import label_sentence
from seewhy.records import Example

_HYPHENATED = re.compile(r"[^\W\d_]-[^\W\d_]")


def copies_notes(copies: Sequence[str]) -> list[str]:
    """Return a note on copies in splits that are published, which are kept."""
    if not copies:
        return []
    more = f", and {len(copies) - 1:,} more" if len(copies) > 1 else ""
    return [f"{copies[0]}{more}; the published splits are kept as they are, `seewhy data check` lists all copies."]


def unused_notes(classes: Sequence[str]) -> list[str]:
    """Return a note on classes of the bank of which the data set has no image."""
    if not classes:
        return []
    return [f"the bank has concepts of {listed(classes)}, of which there is no image; they are passed over."]


def deep_notes(modes: Iterable[str]) -> list[str]:
    """Return a note on images of 16 or 32 bits a pixel: one for all of them."""
    count = sum(map(is_deep, modes))
    if not count:
        return []
    low, high = WINDOW
    have = "image has" if count == 1 else "images have"
    return [
        f"{count:,} {have} 16 or 32 bits a pixel, and models see 8: of each image the {low}th percentile becomes black "
        f"and the {high}th white, so that brightness is not comparable between images. Where it has to be, convert "
        "them to 8 bits by a scale of your own."
    ]


def spoken_notes(labels: Iterable[str]) -> list[str]:
    """Return a note on labels that look like file names, and how they will be said."""
    odd = [label for label in labels if "_" in label or (" " not in label and _HYPHENATED.search(label))]
    if not odd:
        return []
    better = re.sub(r"[-_]+", " ", odd[0])
    more = f" (and {len(odd) - 1:,} more labels with a hyphen or underscore)" if len(odd) > 1 else ""
    said, folder = f'"{label_sentence(odd[0])}"', better.replace(" ", "_")
    return [
        f"label '{odd[0]}' will be said as it is written: {said}{more}. If '{better}' is what one says, rename its "
        f"class folders to '{folder}', or the label in the table to '{better}', and so in the concept file."
    ]


def left_out_notes(truth: str | None, root: Path, examples: Sequence[Example]) -> list[str]:
    """Return a note on lines of the truth file about images that the data set leaves out."""
    names = left_out(Path(truth), examples, root) if truth else []
    if not names:
        return []
    return [f"{truth} speaks of {listed(names)}, which the data set leaves out; those lines are passed over."]


def listed(names: Sequence[str], shown: int = 3) -> str:
    """Return the first names in quotes, and how many more there are."""
    first = ", ".join(f"'{shorten(name)}'" for name in names[:shown])
    return first + (f" and {len(names) - shown:,} more" if len(names) > shown else "")
