"""Which turns fit into a model, found before any time is spent on tuning.

A turn that is too long is left out whole, and counted: cut, it would lose its end token or some of the image's tokens.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.chat import encode, encode_answered
from seewhy.vlm.image_sizes import of_file
from seewhy.vlm.model import VisionLanguageModel

_PROBE = "?"
_SHAPES = ((64, 64), (1200, 400), (400, 1200))
"""Sizes of which some differ in tokens in every model in which any do."""
_NAMED = 5
"""Turns that a warning names."""


def fitting(vlm: VisionLanguageModel, turns: Sequence[Turn], opener: Callable[[str], Image.Image]) -> list[Turn]:
    """The turns that have at most as many tokens as the model has positions for; warns of others, and how many.

    Raises SeeWhyError for a text that cannot be tuned on (a special token in it) and for an image that leaves no place
    for text, naming them, and where there is no turn or none fits.
    """
    tokens_of = image_tokens(vlm, opener)
    lengths = {turn.id: _text_tokens(vlm, turn) + tokens_of(turn.image) for turn in turns}
    long = [turn.id for turn in turns if lengths[turn.id] > vlm.max_length]
    if len(long) == len(turns):
        of = f"each of the {len(turns)} has more than the {vlm.max_length} tokens of model {vlm.name}"
        raise SeeWhyError(f"There is nothing to tune on: {of if turns else 'no turns are left'}.")
    if long:
        named = ", ".join(long[:_NAMED]) + (", ..." if len(long) > _NAMED else "")
        warnings.warn(
            f"{len(long)} of {len(turns)} turns have more than the {vlm.max_length} tokens of model {vlm.name} and are "
            f"left out whole: {named}.",
            stacklevel=3,
        )
    return [turn for turn in turns if turn.id not in set(long)]


def image_tokens(vlm: VisionLanguageModel, opener: Callable[[str], Image.Image]) -> Callable[[str], int]:
    """Tokens that the image of a path adds to a prompt; images are opened only where their size makes a difference."""
    text = encode(vlm, _PROBE, None)["input_ids"].shape[1]

    @cache
    def of_size(size: tuple[int, int]) -> int:
        return encode(vlm, _PROBE, Image.new("RGB", size))["input_ids"].shape[1] - text

    @cache
    def fixed() -> int | None:
        found = {of_size(size) for size in _SHAPES}
        return found.pop() if len(found) == 1 else None

    @cache
    def of_path(path: str) -> int:
        if not path:
            return 0
        with of_file(path):
            found = of_size(opener(path).size) if fixed() is None else fixed() or 0
        if found + text >= vlm.max_length:
            raise SeeWhyError(
                f"Image {path} alone is {found} tokens, and model {vlm.name} has {vlm.max_length} for it and its text: "
                "make it smaller, or take a model with a longer context."
            )
        return found

    return of_path


def _text_tokens(vlm: VisionLanguageModel, turn: Turn) -> int:
    try:
        return encode_answered(vlm, turn.query, turn.answer, None)["input_ids"].shape[1]
    except SeeWhyError as error:
        raise SeeWhyError(f"Turn {turn.id}: {error}") from error
