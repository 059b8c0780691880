"""Which image sizes a model's processor refuses: found by asking it, before hours of sampling.

What is refused differs (Qwen-VL and GLM-4V: one side more than 200 times the other; Pixtral: a side that scaling takes
to 0 pixels) and no processor says so beforehand. All known ones refuse shapes and sizes beyond some bound, so sizes are
tried from each extreme inward until one is taken: the widest, the tallest, those with the shortest side, the smallest.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.vlm.model import VisionLanguageModel

Size = tuple[int, int]
"""Width and height in pixels."""

REMEDY = "Crop the image or pad it to another shape, or take it out of the data."

_PROCESSOR_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AssertionError, RuntimeError, OSError)
"""What processors raise on an image of a size that they cannot take, depending on where their computation breaks."""


class ImageRefused(SeeWhyError):
    """A processor cannot take an image. `reason` is what it said, on one line."""

    def __init__(self, vlm: VisionLanguageModel, size: Size, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The processor of model {vlm.name} takes no image of {size[0]} x {size[1]} pixels ({reason}). {REMEDY}"
        )


@contextmanager
def processing(vlm: VisionLanguageModel, image: Image.Image) -> Iterator[None]:
    """Raise ImageRefused for whatever the model's processor raises on an image."""
    try:
        yield
    except _PROCESSOR_ERRORS as error:
        raise ImageRefused(vlm, image.size, _one_line(error)) from error


@contextmanager
def of_file(path: str) -> Iterator[None]:
    """Name the file where a processor refuses an image."""
    try:
        yield
    except ImageRefused as error:
        raise SeeWhyError(f"Image {path}: {error}") from error


def refused_sizes(vlm: VisionLanguageModel, sizes: Iterable[Size]) -> dict[Size, str]:
    """Those of `sizes` that the model's processor refuses, with what it says. No weights are needed."""
    sizes, prompt = set(sizes), vlm.render("?", image=True)
    reasons: dict[Size, str | None] = {}

    def reason(size: Size) -> str | None:
        if size not in reasons:
            image = Image.new("RGB", size)
            try:
                with processing(vlm, image):
                    vlm.tokenise(prompt, image)
                reasons[size] = None
            except ImageRefused as error:
                reasons[size] = error.reason
        return reasons[size]

    for inward in (
        lambda size: (-size[0] / size[1], size),
        lambda size: (size[0] / size[1], size),
        lambda size: (min(size), size),
        lambda size: (size[0] * size[1], size),
    ):
        for size in sorted(sizes, key=inward):
            if reason(size) is None:
                break
    return {size: told for size, told in sorted(reasons.items()) if told is not None}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
