"""What a run will look at and ask: counted from the data set's lists and the headers of its images, no pixel read.

Sizes are those at which images are read: upright, and a longer side of at most `images.LONGEST_SIDE`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from seewhy.config import RunConfig
from seewhy.domain.concepts import fit_concepts
from seewhy.domain.domain import each_image, read_bank
from seewhy.domain.images import image_size
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.problems import Size
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide

COUNTED = 1_000
"""Images, evenly spread over the list, whose sizes stand for those of all in what a run costs."""


@dataclass(frozen=True)
class Workload:
    """How many images of what sizes, the wordings of the questions, and the concepts of each class."""

    images: Mapping[str, int]
    """Split -> number of images."""
    sizes: Mapping[Size, int]
    questions: Questions
    bank: Mapping[str, Sequence[str]]
    files: Sequence[tuple[str, Size]] = ()
    """Every image, as errors name it, with its size."""

    @classmethod
    def read(cls, config: RunConfig) -> "Workload":
        """Raises SeeWhyError where the data is not there or a header cannot be read."""
        with TemporaryDirectory() as scratch:
            data = with_guide(config.data, Path(scratch) / "fieldguide")
            reading = read_data(data)
            bank, _ = fit_concepts(read_bank(data, reading)[0], sorted({row.label for row in reading.rows}))
            if not reading.rows:
                raise SeeWhyError(f"{data.source} has no images that can be used: `seewhy data check` says why.")
            found = list(each_image(size_of, [reading.root / row.image for row in reading.rows]))
        files = [(row.where, size) for row, size in zip(reading.rows, found, strict=True)]
        sizes = Counter(found[:: max(1, len(found) // COUNTED)])
        images = Counter(row.split for row in reading.rows)
        return cls(images, sizes, Questions.for_noun(data.noun, data.questions), dict(bank), files)


def size_of(path: Path) -> Size:
    """Width and height at which an image is read, from its header."""
    try:
        return image_size(path)
    except SeeWhyError as error:
        raise SeeWhyError(
            f"Image {path} cannot be read ({error}): `seewhy data check` lists all that cannot."
        ) from error


def spread(sizes: Mapping[Size, int], most: int) -> list[tuple[Size, float]]:
    """At most `most` sizes that stand for all, from narrow to wide and small to large, with the share of each."""
    total = sum(sizes.values())
    ordered = sorted(sizes, key=lambda size: (size[0] / size[1], size[0] * size[1]))
    if len(ordered) <= most:
        return [(size, sizes[size] / total) for size in ordered]
    every = [size for size in ordered for _ in range(sizes[size])]
    return [(every[int((place + 0.5) * total / most)], 1 / most) for place in range(most)]
