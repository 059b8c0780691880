"""A question about an image, and its answer, as the model's own chat template and tokenizer write them.

Text is text: a text that holds a special token or a chat marker of the model is never tokenised. In the user's data
it is an error; generated text that holds one is dropped and counted (`special_token_in` finds it). Prompt and answer
are tokenised apart, so an answer's ids are the same after every question. Nothing here truncates.

Deviation from the research code: it deletes `<image>` from generated text afterwards and lets every other marker in.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from seewhy.errors import SeeWhyError
from seewhy.vlm.model import VisionLanguageModel

IGNORED = -100
"""Label of a token that the loss leaves out."""

Row = dict[str, torch.Tensor]
"""Tensors by name, as the model takes them, with a leading batch axis of 1."""


def open_image(path: str) -> Image.Image:
    """The image upright and in RGB. Raises SeeWhyError naming the file where it cannot be read."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise SeeWhyError(f"There is no image {path}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise SeeWhyError(f"Image {path} cannot be read ({error}): replace it or take it out of the data.") from error


def encode(vlm: VisionLanguageModel, question: str, image: Image.Image | None) -> Row:
    """Prompt ids, mask and image tensors of one question, on the CPU. Raises SeeWhyError for a special token in it."""
    _refuse_special_token(vlm, question)
    return vlm.tokenise(vlm.render(question, image=image is not None), image)


def answer_ids(vlm: VisionLanguageModel, answer: str) -> list[int]:
    """Ids of an answer and of the token that ends it. Raises SeeWhyError for a special token in the text."""
    _refuse_special_token(vlm, answer)
    return [*vlm.tokenizer(answer, add_special_tokens=False)["input_ids"], vlm.end_token_id]


def encode_answered(vlm: VisionLanguageModel, question: str, answer: str, image: Image.Image | None) -> Row:
    """One training row: the prompt, the answer, and `labels` that leave all but the answer and its end token out."""
    row = encode(vlm, question, image)
    prompt_1T = row["input_ids"]
    answer_1T = torch.tensor([answer_ids(vlm, answer)])
    for name in token_level(row):
        tail = {"input_ids": answer_1T, "attention_mask": torch.ones_like(answer_1T)}
        row[name] = torch.cat([row[name], tail.get(name, torch.zeros_like(answer_1T)).to(row[name].dtype)], dim=1)
    row["labels"] = torch.cat([torch.full_like(prompt_1T, IGNORED), answer_1T], dim=1)
    return row


def token_level(row: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors with one value a token; the others belong to the image."""
    return [name for name, tensor in row.items() if tensor.shape == row["input_ids"].shape]


def collate(rows: Sequence[Row], pad_token_id: int, side: Literal["left", "right"]) -> Row:
    """Stacks rows into a batch: tokens padded on `side`, image tensors joined on their first axis.

    Rows with and without an image may stand in one batch: image tokens say whose image is whose, in order.
    """
    fill = {"input_ids": pad_token_id, "labels": IGNORED}
    batch: dict[str, list[torch.Tensor]] = {}
    width = max(row["input_ids"].shape[1] for row in rows)
    for row in rows:
        missing = width - row["input_ids"].shape[1]
        tokens = token_level(row)
        for name, tensor in row.items():
            pad = (missing, 0) if side == "left" else (0, missing)
            padded = torch.nn.functional.pad(tensor, pad, value=fill.get(name, 0)) if name in tokens else tensor
            batch.setdefault(name, []).append(padded)
    return {name: _join(tensors) for name, tensors in batch.items()}


def _join(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Joins on the first axis; others are padded with zeros to the largest (images cut into unequal tiles)."""
    shape = [sum(t.shape[0] for t in tensors), *map(max, zip(*(t.shape[1:] for t in tensors), strict=True))]
    joined, start = tensors[0].new_zeros(shape), 0
    for tensor in tensors:
        joined[(slice(start, start + tensor.shape[0]), *map(slice, tensor.shape[1:]))] = tensor
        start += tensor.shape[0]
    return joined


def move(batch: Mapping[str, torch.Tensor], vlm: VisionLanguageModel) -> Row:
    """The batch on the model's device, pixels in its dtype."""
    dtype = vlm.model.dtype
    return {k: v.to(vlm.device, dtype if v.is_floating_point() else v.dtype) for k, v in batch.items()}


def special_token_in(vlm: VisionLanguageModel, text: str) -> str | None:
    """The first special token, or role marker of the chat template, that stands in `text`; None for plain text.

    Case counts. Such a text would be tokenised as something other than what it says.
    """
    found = [(text.index(marker), -len(marker), marker) for marker in vlm.markers if marker in text]
    return min(found)[2] if found else None


def _refuse_special_token(vlm: VisionLanguageModel, text: str) -> None:
    if marker := special_token_in(vlm, text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise SeeWhyError(f"The text {shown!r} holds {marker!r}, which model {vlm.name} reads as a marker: reword it.")
