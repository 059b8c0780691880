"""What is known of a published data set, and the checks that its readers share.

Expected sizes are those of docs/method.md. Another size is told and not refused: a user may work on a part on purpose.
An index file or a listed image that is not there is an error that names the archive it is part of.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from seewhy.domain.loaders import Row, Split
from seewhy.domain.problems import path_problem
from seewhy.errors import SeeWhyError


@dataclass(frozen=True)
class Published:
    """A data set as its authors and the paper describe it."""

    name: str
    home: str
    """Where it is to be had, in words."""
    archives: str
    """What to unpack into the data folder."""
    train: int
    test: int
    classes: int

    @property
    def remedy(self) -> str:
        return f"It is part of {self.archives}, from {self.home}"

    def need(self, base: Path, *names: str) -> Path:
        """The first of `names` that is there as a file. Raises SeeWhyError where none is."""
        for name in names:
            if (base / name).is_file():
                return base / name
        raise SeeWhyError(
            f"{self.name}: {base / names[0]} is not there. {self.remedy}; unpack it again, or correct data.source."
        )

    @contextmanager
    def reading(self, base: Path, name: str) -> Iterator[None]:
        """Say what to do where an index file does not hold what its lines should: a number, a word, a known id."""
        try:
            yield
        except (ValueError, LookupError) as error:
            raise SeeWhyError(f"{base / name} is damaged ({error}). {self.remedy}; unpack it again.") from error

    def lines(self, base: Path, *names: str) -> list[tuple[str, list[str]]]:
        """(how errors name it, its words) for each line of an index file that is not empty."""
        path = self.need(base, *names)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SeeWhyError(f"{path} cannot be read ({error}). {self.remedy}; unpack it again.") from error
        numbered = enumerate(text.splitlines(), 1)
        return [(f"{path.name} line {number}", line.split()) for number, line in numbered if line.strip()]

    def size_notes(self, rows: Iterable[Row]) -> list[str]:
        """A note where the data set has another size than the paper's."""
        rows = list(rows)
        found = Counter(row.split for row in rows)
        classes = len({row.label for row in rows})
        if (found["train"], found["test"], classes) == (self.train, self.test, self.classes):
            return []
        return [
            f"{self.name}: found {found['train']:,} train and {found['test']:,} test images of {classes} classes; the "
            f"paper has {self.train:,}, {self.test:,} and {self.classes}. The full set is {self.archives}, from "
            f"{self.home}."
        ]


@dataclass
class Listing:
    """Gathers the rows that an index lists, and what is wrong with them. Missing images are counted, not spelt out."""

    published: Published
    root: Path
    rows: list[Row] = field(default_factory=list)
    _problems: list[str] = field(default_factory=list)
    _missing: list[str] = field(default_factory=list)

    def add(self, image: str, label: str, split: Split, where: str, group: str = "") -> None:
        problem = path_problem(self.root, image)
        if problem is None:
            self.rows.append(Row(image, label, split, f"{where} ({image})", group))
        elif "is not there" in problem:
            self._missing.append(image)
        else:
            self._problems.append(f"{where}: image {image!r} {problem}.")

    def wrong(self, where: str, what: str) -> None:
        self._problems.append(f"{where}: {what}.")

    def problems(self) -> list[str]:
        """All that is wrong, an empty split included."""
        problems = list(self._problems)
        if self._missing:
            listed = len(self._missing) + len(self.rows)
            problems.append(
                f"{len(self._missing):,} of {listed:,} listed images are not there, the first is {self._missing[0]}: "
                f"the download is partial. {self.published.remedy}; unpack it again."
            )
        return problems + empty_splits(self.published, self.rows)


def empty_splits(published: Published, rows: Iterable[Row]) -> list[str]:
    """A problem for each of train and test without an image."""
    filled = {row.split for row in rows}
    return [
        f"{published.name} has no {split} image here. {published.remedy}; unpack it again."
        for split in ("train", "test")
        if split not in filled
    ]


def base_of(source: Path, *inside: str, marker: str) -> Path:
    """The folder that holds `marker` (a name, or a pattern): `source`, or one of the folders `inside` it.

    `source` where none does, so that what is missing is named as the user would look for it.
    """
    for base in (source, *(source / name for name in inside)):
        if base.is_dir() and any(base.glob(marker)):
            return base
    return source
