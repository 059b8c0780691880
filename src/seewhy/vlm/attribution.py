"""Attribution: which patches of an image the words of an answer come from.

`gradient` is integrated gradients (Sundararajan et al., "Axiomatic attribution for deep networks", 2017) at the image
tokens' embeddings, where they enter the language model. Its baseline is the mean of the image's own embeddings: as much
of an image, and the same everywhere. `occlusion` (Zeiler and Fergus, "Visualizing and understanding convolutional
networks", 2014) greys a block of patches at a time and measures how far the words' log-probability falls: one forward
pass a patch, the slow reference.

    targets = [[(26, 32), (33, 38)]]                                        # characters of "yellow crown" in the answer
    heat_CRK = gradient(vlm, question, image, answer, targets)              # targets x rows x columns of patches
    region = seen_region(vlm, image.size)                                   # the part of the image that they cover

Both need image tokens that are one grid of patches: models that cut an image into tiles, or sum it up in a few tokens,
are refused. `gradient` does not follow what a model adds to deeper layers from the image (Qwen3-VL's deepstack);
`occlusion` sees all of it. Chosen on the field guide's validation images (docs/decisions.md): integrated over plain
gradients, which saturate where the model is sure of a word; the positive part over the absolute value.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from seewhy.errors import SeeWhyError
from seewhy.vlm.chat import Row, answer_ids, collate, encode, encode_answered, move
from seewhy.vlm.model import VisionLanguageModel

Spans = Sequence[tuple[int, int]]
"""Pieces of an answer: (first character, the one after the last)."""

GREY = (128, 128, 128)

STEPS = 4
"""Points between baseline and image at which `gradient` is taken."""


def gradient(
    vlm: VisionLanguageModel,
    question: str,
    image: Image.Image,
    answer: str,
    targets: Sequence[Spans],
    *,
    steps: int = STEPS,
) -> np.ndarray:
    """Return the heat of each patch for each target, >= 0, (C, R, K): C targets, R rows and K columns of patches.

    d log p(target | image, question, answer before it) / d embedding, averaged over `steps` points from the mean
    embedding to the image's (0 steps: at the image alone), times embedding less mean, summed over its width. Evidence
    against the target counts as nothing. Raises SeeWhyError where the image tokens are not one grid.
    """
    row = encode_answered(vlm, question, answer, image)
    shape, length = patch_grid(vlm, row), len(answer_ids(vlm, answer))
    tokens = [_tokens_of(vlm, answer, spans) for spans in targets]
    heat_CP = torch.zeros(len(targets), shape[0] * shape[1], device=vlm.device)
    for share in [(step + 0.5) / steps for step in range(steps)] or [1.0]:
        logp_N, patches_PE, beyond_mean_PE = _blended(vlm, row, length, share)
        for c, chosen in enumerate(tokens):
            (slope_PE,) = torch.autograd.grad(logp_N[chosen].sum(), patches_PE, retain_graph=True)
            heat_CP[c] += (slope_PE.float() * beyond_mean_PE).sum(-1) / max(steps, 1)
    return heat_CP.clamp(min=0).reshape(-1, *shape).cpu().numpy()


def _blended(
    vlm: VisionLanguageModel, row: Row, length: int, share: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log-probabilities of the answer with image tokens at `share` of the way from their mean, those tokens
    (P, E), on which they depend, and the image's own less their mean."""
    at_image_T = (row["input_ids"][0] == vlm.image_token_id).to(vlm.device)
    patches: list[torch.Tensor] = []

    def blend(_module: torch.nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        given_1TE = kwargs["inputs_embeds"].detach()
        own_PE = given_1TE[0, at_image_T].float()
        beyond_mean_PE = own_PE - own_PE.mean(0)
        patches_PE = (own_PE.mean(0) + share * beyond_mean_PE).to(given_1TE.dtype).requires_grad_()
        patches.extend((patches_PE, beyond_mean_PE))
        blended_TE = given_1TE[0].index_put((at_image_T.nonzero()[:, 0],), patches_PE)
        return args, {**kwargs, "inputs_embeds": blended_TE[None]}

    hook = vlm.model.get_decoder().register_forward_pre_hook(blend, with_kwargs=True)
    try:
        with torch.enable_grad():
            logp_N = _answer_log_probs(vlm, row, length)[0]
    finally:
        hook.remove()
    return logp_N, patches[0], patches[1]


@torch.inference_mode()
def occlusion(
    vlm: VisionLanguageModel,
    question: str,
    image: Image.Image,
    answer: str,
    targets: Sequence[Spans],
    *,
    block: int = 1,
    batch_size: int = 16,
) -> np.ndarray:
    """Return how far log p(target) falls with the `block` x `block` patches around a patch in grey, (C, R, K)."""
    whole = encode_answered(vlm, question, answer, image)
    rows, columns = patch_grid(vlm, whole)
    region = seen_region(vlm, image.size)
    covered = [_greyed(image, region, (rows, columns), r, k, block) for r in range(rows) for k in range(columns)]
    length = len(answer_ids(vlm, answer))
    logp_PN = [_answer_log_probs(vlm, whole, length)]
    for start in range(0, len(covered), batch_size):
        batch = [encode_answered(vlm, question, answer, grey) for grey in covered[start : start + batch_size]]
        logp_PN.append(_answer_log_probs(vlm, collate(batch, vlm.pad_token_id, "right"), length))
    before_N, after_PN = logp_PN[0][0], torch.cat(logp_PN[1:])
    tokens = [_tokens_of(vlm, answer, spans) for spans in targets]
    fall = [(before_N[t].sum() - after_PN[:, t].sum(1)).clamp(min=0).cpu().numpy() for t in tokens]
    return np.asarray(fall, np.float32).reshape(-1, rows, columns)


def can_attribute(vlm: VisionLanguageModel, image: Image.Image) -> str | None:
    """Return why there is no heat for this image with this model, or None where there is."""
    try:
        patch_grid(vlm, encode(vlm, "?", image))
    except SeeWhyError as error:
        return str(error)
    return None


def patch_grid(vlm: VisionLanguageModel, row: Row) -> tuple[int, int]:
    """Return the rows and columns of patches behind the image tokens of an encoded question, in reading order.

    Qwen's processors say so (`image_grid_thw`); else the tokens of one view are a square. Raises SeeWhyError for tiles,
    several runs of tokens, and numbers that are no square.
    """
    places = (row["input_ids"][0] == vlm.image_token_id).nonzero()[:, 0].tolist()
    if "image_grid_thw" in row:
        _, height, width = row["image_grid_thw"][0].tolist()
        merged = int(vlm.processor.image_processor.merge_size)  # pyright: ignore[reportAttributeAccessIssue]
        shape = (height // merged, width // merged)
    else:
        side = math.isqrt(len(places))
        one_view = row["pixel_values"].ndim == 4 and len(row["pixel_values"]) == 1
        shape = (side, side) if one_view else (0, 0)
    whole = places == list(range(places[0], places[0] + len(places)))
    if not whole or shape[0] * shape[1] != len(places):
        raise SeeWhyError(
            f"Attribution is not available for the processor of {vlm.name} ({type(vlm.processor).__name__}): its "
            f"{len(places)} image tokens are not one grid of patches."
        )
    return shape


def seen_region(vlm: VisionLanguageModel, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the (left, top, right, bottom) that the patches cover, in pixels of an image of this (width, height).

    It is all of the image but for processors that cut a square out of the middle (CLIP).
    """
    width, height = size
    images = vlm.processor.image_processor  # pyright: ignore[reportAttributeAccessIssue]
    shortest = dict(getattr(images, "size", None) or {}).get("shortest_edge")
    if not getattr(images, "do_center_crop", False) or not shortest:
        return 0.0, 0.0, float(width), float(height)
    scale = min(width, height) / shortest
    half_x, half_y = (images.crop_size[side] * scale / 2 for side in ("width", "height"))
    return width / 2 - half_x, height / 2 - half_y, width / 2 + half_x, height / 2 + half_y


def _answer_log_probs(vlm: VisionLanguageModel, batch: Row, length: int) -> torch.Tensor:
    """Return log p of the last `length` tokens of each row, each given all before it, (B, N). No row is padded."""
    inputs = move({name: tensor for name, tensor in batch.items() if name != "labels"}, vlm)
    logits_BNV = vlm.model(**inputs, logits_to_keep=length + 1, use_cache=False).logits[:, :-1]
    ids_BN = inputs["input_ids"][:, -length:]
    return torch.log_softmax(logits_BNV.float(), -1).gather(-1, ids_BN[..., None])[..., 0]


def _tokens_of(vlm: VisionLanguageModel, answer: str, spans: Spans) -> list[int]:
    """Return which of `answer_ids(answer)` hold a character of `spans`."""
    if not vlm.tokenizer.is_fast:
        raise SeeWhyError(f"Attribution needs a fast tokenizer, which {vlm.name} does not have: words are not found.")
    prompt, lead = vlm.answer_context

    def tokenise(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        found = vlm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]  # pyright: ignore[reportReturnType]

    before, (_, offsets) = tokenise(prompt)[0], tokenise(prompt + lead + answer)
    skipped, shift = len(before), len(prompt) + len(lead)
    if len(answer_ids(vlm, answer)) - 1 != len(offsets) - skipped:  # a token spans both, see answer_ids
        (_, offsets), skipped, shift = tokenise(answer), 0, 0
    places = [(first - shift, last - shift) for first, last in offsets[skipped:]]
    return [n for n, (first, last) in enumerate(places) if any(first < e and last > s for s, e in spans)]


def _greyed(
    image: Image.Image, region: tuple[float, float, float, float], shape: tuple[int, int], row: int, column: int,
    block: int,
) -> Image.Image:  # fmt: skip
    """Return the image with the block of patches around one of them in grey."""
    left, top, right, bottom = region
    high, wide = (bottom - top) / shape[0], (right - left) / shape[1]
    x, y, reach = left + (column + 0.5) * wide, top + (row + 0.5) * high, block / 2
    grey = image.copy()
    first_x, first_y = round(x - reach * wide), round(y - reach * high)
    last_x, last_y = round(x + reach * wide) - 1, round(y + reach * high) - 1
    ImageDraw.Draw(grey).rectangle((first_x, first_y, max(first_x, last_x), max(first_y, last_y)), fill=GREY)
    return grey
