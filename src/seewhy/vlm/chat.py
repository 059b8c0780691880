"""A question about an image, and its answer, as tensors: written by the model's chat template, tokenizer and processor.

Text is text: a text that holds a special token or a chat marker of the model is never tokenised. In the user's data it
is an error; generated text that holds one is dropped and counted (`special_token_in` finds it). An answer's ids are the
same after every question: those that follow the shortest prompt. Nothing here truncates.

Deviation from the research code: it deletes `<image>` from generated text afterwards and lets every other marker in.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from PIL import Image, UnidentifiedImageError

from seewhy.errors import SeeWhyError
from seewhy.upright import load_upright, open_listed
from seewhy.vlm.model import VisionLanguageModel

IGNORED = -100
"""Label of a token that the loss ignores."""

PADDING = -1
"""Segment (prefix.py) of a padding token."""

Row = dict[str, torch.Tensor]
"""Tensors by name, as the model takes them, with a leading batch axis of 1."""


Size = tuple[int, int]
"""Width and height in pixels."""
Range = tuple[int, int]
"""Where characters start and end in a text, the end not included."""


def open_image(path: str) -> Image.Image:
    """Return the image at `path` upright and in RGB. Raises SeeWhyError, naming the file, where it cannot be read."""
    try:
        with open_listed(path) as image:
            return load_upright(image).convert("RGB")
    except FileNotFoundError as error:
        raise SeeWhyError(f"There is no image {path}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise SeeWhyError(f"Image {path} cannot be read ({error}): replace it or take it out of the data.") from error


def encode(vlm: VisionLanguageModel, question: str, image: Image.Image | None) -> Row:
    """Return prompt ids, mask and image tensors of one question, on the CPU.

    Raises SeeWhyError for a special token in it, and ImageRefused for an image that the processor cannot take.
    """
    _refuse_special_token(vlm, question)
    prompt = vlm.render(question, image=image is not None)
    if image is None:
        return vlm.tokenise(prompt, None)
    with processing(vlm, image):
        return vlm.tokenise(prompt, image)


def encode_all(vlm: VisionLanguageModel, questions: Sequence[str], image: Image.Image | None) -> list[Row]:
    """Encode several questions about one image, which is processed once: the rows share its tensors."""
    rows = [encode(vlm, questions[0], image)]
    spliced = image is not None and _splice(vlm, questions[0], rows[0])
    for question in questions[1:]:
        row = spliced(question) if spliced else None
        rows.append(encode(vlm, question, image) if row is None else row)
    return rows


def _splice(vlm: VisionLanguageModel, question: str, row: Row) -> Callable[[str], Row | None] | None:
    """Return a function from another question to its row, which reuses the image tokens of `row`.

    None where the image is not one token of the prompt that became a run of tokens, or where plain text ends the run:
    a tokenizer might join it to a question's first word.
    """
    ids, (before, after) = row["input_ids"][0].tolist(), _around_image(vlm, question)
    end = len(ids) - len(after)
    if before + after == [] or ids[: len(before)] != before or ids[end:] != after or end <= len(before):
        return None
    if ids[end - 1] not in vlm.tokenizer.added_tokens_decoder:
        return None

    def other(question: str) -> Row | None:
        _refuse_special_token(vlm, question)
        before_too, after = _around_image(vlm, question)
        if before_too != before:
            return None
        tail = torch.tensor([after])
        new = dict(row)
        for name in token_level(row):
            like = {"input_ids": tail, "attention_mask": torch.ones_like(tail)}.get(name, torch.zeros_like(tail))
            new[name] = torch.cat([row[name][:, :end], like.to(row[name].dtype)], dim=1)
        return new

    return other


def _around_image(vlm: VisionLanguageModel, question: str) -> tuple[list[int], list[int]]:
    """Return the ids before and after the image's place in a prompt; both empty unless there is exactly one."""
    ids = vlm.token_ids(vlm.render(question, image=True))
    if ids.count(vlm.image_mark_id) != 1:
        return [], []
    place = ids.index(vlm.image_mark_id)
    return ids[:place], ids[place + 1 :]


def answer_ids(vlm: VisionLanguageModel, answer: str) -> list[int]:
    """Return the ids of an answer and of the token that ends it.

    They are what the tokenizer adds to a prompt's ids, so that the first word is written as the model writes it (with
    the template's space before it, or without). Raises SeeWhyError for a special token in the text.
    """
    _refuse_special_token(vlm, answer)
    prompt, lead = vlm.answer_context

    def ids(text: str) -> list[int]:
        return vlm.tokenizer(text, add_special_tokens=False)["input_ids"]

    before, whole = ids(prompt), ids(prompt + lead + answer)
    if whole[: len(before)] != before:  # a token spans both: tokenised apart
        before, whole = [], ids(answer)
    return [*whole[len(before) :], vlm.end_token_id]


def encode_answered(vlm: VisionLanguageModel, question: str, answer: str, image: Image.Image | None) -> Row:
    """Return one training row: prompt and answer, with `labels` on the answer and its end token alone."""
    return with_answer(vlm, encode(vlm, question, image), answer)


def with_answer(vlm: VisionLanguageModel, prompt: Row, answer: str) -> Row:
    """Return the training row of an encoded prompt and its answer."""
    row = dict(prompt)
    prompt_1T = row["input_ids"]
    answer_1T = torch.tensor([answer_ids(vlm, answer)])
    for name in token_level(row):
        tail = {"input_ids": answer_1T, "attention_mask": torch.ones_like(answer_1T)}
        row[name] = torch.cat([row[name], tail.get(name, torch.zeros_like(answer_1T)).to(row[name].dtype)], dim=1)
    row["labels"] = torch.cat([torch.full_like(prompt_1T, IGNORED), answer_1T], dim=1)
    return row


def with_weights(vlm: VisionLanguageModel, row: Row, answer: str, names: Sequence[Range], weight: float) -> Row:
    """Return a training row with `weights` (1, T) in the loss: `weight` for tokens of the ranges of `names`, else 1."""
    weights_1T = torch.ones(row["input_ids"].shape)
    whole = answer_ids(vlm, answer)
    before = row["input_ids"].shape[1] - len(whole)
    for start, end in names:
        first, last = (_agreeing(whole, answer_ids(vlm, answer[:place])[:-1]) for place in (start, end))
        weights_1T[:, before + first : before + last] = weight
    return {**row, "weights": weights_1T}


def _agreeing(whole: Sequence[int], part: Sequence[int]) -> int:
    """Return how many ids two sequences have in common at their beginning."""
    return next((place for place, (a, b) in enumerate(zip(whole, part, strict=False)) if a != b), len(part))


def token_level(row: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors with a value (positions: one or three) a token; others belong to the image."""
    shape = row["input_ids"].shape
    return [name for name, tensor in row.items() if tensor.shape == shape or name == "position_ids"]


def collate(rows: Sequence[Row], pad_token_id: int, side: Literal["left", "right"]) -> Row:
    """Stack rows into a batch: tokens padded on `side`, image tensors joined on their first axis.

    Rows with and without an image may be mixed: image tokens say whose image is whose, in order.
    """
    fill = {"input_ids": pad_token_id, "labels": IGNORED, "segments": PADDING}
    batch: dict[str, list[torch.Tensor]] = {}
    width = max(row["input_ids"].shape[1] for row in rows)
    for row in rows:
        missing = width - row["input_ids"].shape[1]
        tokens = token_level(row)
        for name, tensor in row.items():
            pad = (0, 0) * (tensor.ndim - 2) + ((missing, 0) if side == "left" else (0, missing))
            padded = torch.nn.functional.pad(tensor, pad, value=fill.get(name, 0)) if name in tokens else tensor
            batch.setdefault(name, []).append(padded)
    return {name: _join(tensors) for name, tensors in batch.items()}


def _join(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Join on the first axis; pad the others with zeros to the largest (images cut into unequal tiles)."""
    shape = [sum(t.shape[0] for t in tensors), *map(max, zip(*(t.shape[1:] for t in tensors), strict=True))]
    joined, start = tensors[0].new_zeros(shape), 0
    for tensor in tensors:
        joined[(slice(start, start + tensor.shape[0]), *map(slice, tensor.shape[1:]))] = tensor
        start += tensor.shape[0]
    return joined


def move(batch: Mapping[str, torch.Tensor], vlm: VisionLanguageModel) -> Row:
    """Return the batch on the model's device, with pixels in its dtype."""
    dtype = vlm.model.dtype
    return {k: v.to(vlm.device, dtype if v.is_floating_point() else v.dtype) for k, v in batch.items()}


def special_token_in(vlm: VisionLanguageModel, text: str) -> str | None:
    """Return the first special token or role marker of the chat template in `text`, or None. Case counts."""
    found = [(text.index(marker), -len(marker), marker) for marker in vlm.markers if marker in text]
    return min(found)[2] if found else None


def _refuse_special_token(vlm: VisionLanguageModel, text: str) -> None:
    if marker := special_token_in(vlm, text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise SeeWhyError(f"The text {shown!r} holds {marker!r}, which model {vlm.name} reads as a marker: reword it.")


_PROCESSOR_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AssertionError, RuntimeError, OSError)
"""What processors raise on an image whose size they cannot take."""


class ImageRefused(SeeWhyError):
    """The processor cannot take an image of this size. `reason` is the processor's own message, on one line."""

    def __init__(self, vlm: VisionLanguageModel, size: Size, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The processor of model {vlm.name} takes no image of {size[0]} x {size[1]} pixels ({reason}). "
            "Crop the image or pad it to another shape, or take it out of the data."
        )


@contextmanager
def processing(vlm: VisionLanguageModel, image: Image.Image) -> Iterator[None]:
    """Raise ImageRefused for whatever the model's processor raises on an image."""
    try:
        yield
    except _PROCESSOR_ERRORS as error:
        raise ImageRefused(vlm, image.size, _one_line(error)) from error


@contextmanager
def named_image(path: str) -> Iterator[None]:
    """Name the file in the error where a processor refuses an image."""
    try:
        yield
    except ImageRefused as error:
        raise SeeWhyError(f"Image {path}: {error}") from error


def refused_sizes(vlm: VisionLanguageModel, sizes: Iterable[Size]) -> dict[Size, str]:
    """Return those of `sizes` that the model's processor refuses, each with the reason. No weights are needed.

    Processors refuse different things (Qwen-VL and GLM-4V: one side over 200 times the other; Pixtral: a side that
    scaling takes to 0 pixels) and do not say so beforehand. All known ones refuse shapes and sizes beyond some bound,
    so blank images are tried from each extreme inward until one is taken: widest, tallest, shortest side, smallest.
    """
    sizes, prompt = set(sizes), vlm.render("?", image=True)
    reasons: dict[Size, str | None] = {}

    def accepted(size: Size) -> bool:
        if size not in reasons:
            image = Image.new("RGB", size)
            try:
                with processing(vlm, image):
                    vlm.tokenise(prompt, image)
                reasons[size] = None
            except ImageRefused as error:
                reasons[size] = error.reason
        return reasons[size] is None

    inward: Sequence[Callable[[Size], float]] = (
        lambda size: -size[0] / size[1],
        lambda size: size[0] / size[1],
        min,
        lambda size: size[0] * size[1],
    )
    for key in inward:
        for size in sorted(sizes, key=lambda size: (key(size), size)):
            if accepted(size):
                break
    return {size: reason for size, reason in sorted(reasons.items()) if reason is not None}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
