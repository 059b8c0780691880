"""What is wrong with a user's data, collected and reported together.

Readers append one line a problem (file, row or class, then the remedy) and continue, so that a data set can be mended
in one sitting. `raise_problems` turns the list into one `SeeWhyError` of bounded length.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

import numpy as np

from seewhy.errors import SeeWhyError

SHOWN = 20
"""Problems that one message spells out; the rest are counted."""

JSON_ERRORS = (ValueError, RecursionError)
"""What the JSON reader raises: for bad syntax, text that is not UTF-8 or a number of thousands of digits (ValueError),
and for brackets in brackets without end."""

Size = tuple[int, int]
"""Width and height in pixels."""

_MARKER = re.compile(
    r"<\|[^<>]{0,40}\|>|</?[A-Za-z_]\w*/?>|<</?\w+>>"
    r"|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|PAD|CLS|SEP|MASK|UNK|BOS|EOS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]"
    r"|\b(?:USER|ASSISTANT|SYSTEM|Human|Assistant)\s*:|###\s*\w+"
)


def raise_problems(where: str | Path, problems: Sequence[str]) -> None:
    """Raise `SeeWhyError` with every problem, the first `SHOWN` in full; do nothing if there is none."""
    if not problems:
        return
    lines = [f"{where}: {len(problems)} problem{'s' if len(problems) > 1 else ''}."]
    lines += [f"- {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"- and {len(problems) - SHOWN} more.")
    raise SeeWhyError("\n".join(lines))


def reserved_marker(text: str) -> str | None:
    """Return the first thing in `text` that some model reads as a control token or chat marker, or None.

    Looks for the forms in use (`<image>`, `</s>`, `<|im_start|>`, `[INST]`, `<<SYS>>`, `USER:`), whichever model is
    tuned later; full-width look-alikes count.
    """
    found = _MARKER.search(unicodedata.normalize("NFKC", text))
    return found.group() if found else None


def clean(text: str) -> str:
    """Return `text` in Unicode form NFC with every run of white space made one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def shorten(text: str, length: int = 60) -> str:
    """Return `text`, cut with an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean 'X'?)' for the closest of `known`, or nothing if none is close."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), by_fold, n=1)
    return f" (did you mean '{by_fold[close[0]]}'?)" if close else ""


class Names:
    """An index of names that finds the closest one without comparing each.

    `difflib` compares only the `COMPARED` names that share most letters and pairs of letters with the given one; so a
    bank of 2,000 classes that matches no class costs 2,000 times that, and not 2,000 times 2,000 comparisons.
    """

    COMPARED = 5
    _BUCKETS = 512

    def __init__(self, known: Iterable[str]) -> None:
        self.known = list(known)
        self._holds_BN = np.zeros((self._BUCKETS, len(self.known)), dtype=np.float32)
        for column, name in enumerate(self.known):
            self._holds_BN[self._buckets(name), column] = 1.0
        self._size_N = self._holds_BN.sum(axis=0)

    def closest(self, name: str) -> str | None:
        """Return the closest of the known names, or None if none is close."""
        buckets = self._buckets(name)
        if not self.known or not buckets:
            return None
        shared_N = self._holds_BN[buckets].sum(axis=0)
        alike_N = 2 * shared_N / (self._size_N + len(buckets))
        best = np.argsort(-alike_N, kind="stable")[: self.COMPARED]
        by_fold = {self.known[i].casefold(): self.known[i] for i in best.tolist()}
        close = get_close_matches(name.casefold(), by_fold, n=1)
        return by_fold[close[0]] if close else None

    def _buckets(self, name: str) -> list[int]:
        """Return where the letters and the pairs of letters of a name are counted."""
        folded = name.casefold()
        pairs = (31 * ord(one) + ord(other) for one, other in pairwise(f" {folded} "))
        return sorted({code % self._BUCKETS for code in (*map(ord, folded), *pairs)})


def path_problem(root: Path, image: str) -> str | None:
    """Return why `image`, relative to the resolved folder `root`, may not be read from there, or None.

    An absolute path, `..` and a link may not lead out of the folder; a link that stays inside is followed.
    """
    try:
        image.encode()
        target = (root / image).resolve()
        is_file = target.is_file()
    except UnicodeEncodeError:
        return "has a file name that is not UTF-8; rename it"
    except (OSError, RuntimeError, ValueError) as error:
        return f"is no usable path ({error}); correct it"
    if Path(image).is_absolute():
        return f"is an absolute path; give it relative to {root}"
    if not target.is_relative_to(root):
        return "leads out of the data folder (by '..' or a link); put the file inside it"
    if not is_file:
        return "is not there; correct the path or remove the entry"
    return None


def size_problems(images: Iterable[tuple[str, Size]], refused: Mapping[Size, str]) -> list[str]:
    """Return what to say of each image (how errors name it, and its width and height) whose size a model refuses."""
    return [
        f"{where}: {size[0]} x {size[1]} pixels as it is read ({refused[size]}); crop it, pad it to another shape, or "
        "remove it."
        for where, size in images
        if size in refused
    ]
