"""Several questions and answers about one image in one sequence (docs/method.md, "Sharing the image").

In a row `[prefix][branch 1]...[branch Q]` every branch attends to the prefix and to itself, and its positions go on
from the prefix. Its hidden states, loss and gradients are those of a sequence `[prefix][branch q]` of its own.

    rows = share([row_1, row_2, row_3], vlm)             # rows about one image become one row, or stay as they are
    with branch_attention(vlm.model):
        loss = answer_loss(model, collate(rows, ...))    # calls `attend`, which turns segments into a mask
        loss.backward()

A row carries `segments` (0 in the prefix, q in branch q, -1 in padding) instead of a mask, which would be quadratic in
its length. Under `branch_attention` even the model sees segments: the prefix is causal attention of its own, and the
branches are a batch whose keys are the prefix's and their own. This scores P*P/2 + Q*L*(P + L) pairs instead of
(P + Q*L)**2, with the same result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from seewhy.vlm.chat import IGNORED, Row, token_level
from seewhy.vlm.model import VisionLanguageModel

ATTENTION = "seewhy"
"""Name under which transformers finds the attention that `replaced_attention` put in place."""
REPLACEABLE = ("sdpa", "eager")
"""Implementations that `branch_attention` replaces. Others get a dense mask."""
MASKED = (*REPLACEABLE, "flex_attention", ATTENTION)
"""Implementations that take a mask of any form."""

Attention = Callable[..., tuple[torch.Tensor, None]]
"""A function of transformers' attention interface: (module, query, keys, values, mask, ...) -> ((B, T, H, E), None)."""


def why_not_shared(model: PreTrainedModel, use: Literal["tune", "sample"]) -> str | None:
    """Return why questions about one image cannot share it in this model, or None where they can.

    Tuning and scoring need attention that takes a mask of any form. Sampling replaces the attention, so every layer
    must be plain softmax attention to all earlier tokens.
    """
    text, kinds = model.config.get_text_config(), attention_kinds(model)
    if use == "sample":
        plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=text).layers)
        if kinds == {"full_attention"} and plain and not getattr(text, "attn_logit_softcapping", None):
            return None
        return "it has layers that do not attend to all that came before"
    if text._attn_implementation not in MASKED:
        return f"attention by {text._attn_implementation} takes no mask (of {', '.join(MASKED[:-1])}, any does)"
    others = kinds - {"full_attention", "sliding_attention"}
    return f"there are layers of {', '.join(sorted(others))}" if others else None


def attention_kinds(model: PreTrainedModel) -> set[str]:
    """Return what the language model's layers attend to, in transformers' terms ("full_attention", ...)."""
    text = model.config.get_text_config()
    if kinds := getattr(text, "layer_types", None):
        return set(kinds)
    if getattr(text, "sliding_window", None):
        return {"sliding_attention"}
    return {"chunked_attention" if getattr(text, "attention_chunk_size", None) else "full_attention"}


_replacements: dict[int, Attention] = {}
"""The attention in use, by id of the text config whose layers use it. Holds nothing outside `replaced_attention`."""


@contextmanager
def replaced_attention(model: PreTrainedModel, attention: Attention) -> Iterator[None]:
    """Compute the language model's attention by `attention`, also where backward() runs layers in another thread."""
    config = model.config.get_text_config()
    implementation, earlier = config._attn_implementation, _replacements.get(id(config))
    config._attn_implementation = ATTENTION
    _replacements[id(config)] = attention
    try:
        yield
    finally:
        config._attn_implementation = implementation
        if earlier is None:
            del _replacements[id(config)]
        else:
            _replacements[id(config)] = earlier


def _dispatch(module: Any, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """Call the replacement. Transformers keeps this function for good, so it must not hold a model or a cache."""
    return _replacements[id(module.config)](module, *args, **kwargs)


AttentionInterface.register(ATTENTION, _dispatch)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # for batches in which no row is shared


@contextmanager
def branch_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the language model attend by segments, forward and backward, where its implementation can be replaced."""
    if model.config.get_text_config()._attn_implementation not in REPLACEABLE:
        yield
        return
    with replaced_attention(model, BranchAttention()):
        yield


def takes_segments(model: PreTrainedModel) -> bool:
    """Return whether the model runs under `branch_attention` and takes segments (B, 1, 1, T) for a mask."""
    return isinstance(_replacements.get(id(model.config.get_text_config())), BranchAttention)


@dataclass(frozen=True)
class Layout:
    """Where the branches of one row stand."""

    prefix: int
    """P: tokens of the prefix."""
    place_QL: torch.Tensor
    """Places of each branch's tokens in the row. A short branch repeats its last place."""
    own_QL: torch.Tensor
    """False where `place_QL` repeats a place."""
    seen_LS: torch.Tensor
    """Which of the P + L keys a branch's tokens attend to."""
    padding: int
    """Tokens behind the last branch."""

    @classmethod
    def of(cls, segments: Sequence[int], device: torch.device) -> "Layout":
        """Return the layout of one row from its segments."""
        prefix, padding = segments.count(0), sum(segment < 0 for segment in segments)
        starts = [i for i in range(prefix, len(segments) - padding) if segments[i] != segments[i - 1]]
        ends_Q = torch.tensor([*starts[1:], len(segments) - padding][: len(starts)], dtype=torch.long)
        starts_Q = torch.tensor(starts, dtype=torch.long)
        longest = int((ends_Q - starts_Q).max()) if starts else 0
        place_QL = starts_Q[:, None] + torch.arange(longest)
        own_QL = place_QL < ends_Q[:, None]
        seen_LS = torch.ones(longest, prefix + longest, dtype=torch.bool).tril(prefix)
        place_QL = place_QL.minimum(ends_Q[:, None] - 1)
        return cls(prefix, place_QL.to(device), own_QL.to(device), seen_LS.to(device), padding)


class BranchAttention:
    """Attention over rows of prefix and branches that computes only what is attended to."""

    def __init__(self) -> None:
        self._latest: tuple[torch.Tensor, list[Layout]] | None = None  # all layers of a batch ask for the same

    def __call__(
        self,
        module: Any,
        query_BHTE: torch.Tensor,
        keys_BGTE: torch.Tensor,
        values_BGTE: torch.Tensor,
        mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **other: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return (B, T, H, E). A mask that holds no segments leads to torch's own attention."""
        if mask is None or mask.dtype != torch.long:
            return sdpa_attention_forward(module, query_BHTE, keys_BGTE, values_BGTE, mask, dropout, scaling, **other)
        groups = query_BHTE.shape[1] // keys_BGTE.shape[1]
        keys_BHTE, values_BHTE = repeat_kv(keys_BGTE, groups), repeat_kv(values_BGTE, groups)
        settings = {"dropout_p": dropout, "scale": scaling}
        rows = zip(query_BHTE, keys_BHTE, values_BHTE, self._layouts(mask), strict=True)
        return torch.stack([_attend_row(*row, settings) for row in rows]).transpose(1, 2).contiguous(), None

    def _layouts(self, segments_B11T: torch.Tensor) -> list[Layout]:
        if self._latest is None or self._latest[0] is not segments_B11T:
            rows = segments_B11T[:, 0, 0].tolist()
            self._latest = segments_B11T, [Layout.of(row, segments_B11T.device) for row in rows]
        return self._latest[1]


def _attend_row(
    query_HTE: torch.Tensor,
    keys_HTE: torch.Tensor,
    values_HTE: torch.Tensor,
    layout: Layout,
    settings: dict[str, Any],
) -> torch.Tensor:
    """Return the attention of one row, (H, T, E), with zeros for its padding."""
    prefix = layout.prefix
    query, keys, values = (tensor[None, :, :prefix] for tensor in (query_HTE, keys_HTE, values_HTE))
    parts = [scaled_dot_product_attention(query, keys, values, is_causal=True, **settings)[0]]
    if len(layout.place_QL):
        keys, values = (_with_prefix(prefix, tensor, layout) for tensor in (keys_HTE, values_HTE))
        query_QHLE = query_HTE[:, layout.place_QL].transpose(0, 1)
        out_QHLE = scaled_dot_product_attention(query_QHLE, keys, values, attn_mask=layout.seen_LS, **settings)
        parts.append(out_QHLE.transpose(0, 1)[:, layout.own_QL])
    if layout.padding:
        parts.append(query_HTE.new_zeros(len(query_HTE), layout.padding, query_HTE.shape[2]))
    return torch.cat(parts, 1)


def _with_prefix(prefix: int, tensor_HTE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return the keys or values of the prefix before those of each branch, (Q, H, P + L, E)."""
    own_QHLE = tensor_HTE[:, layout.place_QL].transpose(0, 1)
    return torch.cat([tensor_HTE[:, :prefix].expand(len(own_QHLE), -1, -1, -1), own_QHLE], 2)


def share(rows: Sequence[Row], vlm: VisionLanguageModel) -> list[Row]:
    """Return the rows about one image as one row, or each as it is where no common prefix covers the image.

    The prefix ends before the first token from which any branch predicts, so labels shift as in any sequence.
    """
    rows = [{**row, "position_ids": positions(vlm, row)} for row in rows]
    prefix = _shared_prefix(rows, vlm) if len(rows) > 1 else 0
    if not prefix:
        return [{**row, "segments": torch.zeros_like(row["input_ids"])} for row in rows]
    shared: Row = dict(rows[0])
    for name in token_level(rows[0]):
        shared[name] = torch.cat([rows[0][name][:, :prefix], *(row[name][:, prefix:] for row in rows)], dim=1)
    lengths = [prefix, *(row["input_ids"].shape[1] - prefix for row in rows)]
    shared["segments"] = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
    return [shared]


def _shared_prefix(rows: Sequence[Row], vlm: VisionLanguageModel) -> int:
    """Return the length of the rows' common prefix; 0 where it does not hold every image token."""
    common = common_prefix([row["input_ids"][0].tolist() for row in rows], vlm.image_token_id)
    images = rows[0]["input_ids"][0] == vlm.image_token_id
    prefix = min(common, min(map(_first_label, rows)) - 1)
    return prefix if prefix > 0 and not bool(images[prefix:].any()) else 0


def _first_label(row: Row) -> int:
    if "labels" not in row:
        return row["input_ids"].shape[1]
    labelled = (row["labels"][0] != IGNORED).nonzero()
    return int(labelled[0, 0]) if len(labelled) else row["labels"].shape[1]


def common_prefix(ids: Sequence[Sequence[int]], image_token_id: int) -> int:
    """Return the length of the longest common prefix of `ids` that covers every image token; 0 if none does."""
    length = 0
    for column in zip(*ids, strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    covered = all(image_token_id in row[:length] and image_token_id not in row[length:] for row in ids)
    return length if covered else 0


def positions(vlm: VisionLanguageModel, row: Row) -> torch.Tensor:
    """Return the position of each token of a row: (1, T), or (1, T, 3) in time, height and width (Qwen's M-RoPE)."""
    rope_index = getattr(vlm.model.base_model, "get_rope_index", None)
    if rope_index is None:
        return torch.arange(row["input_ids"].shape[1])[None]
    asked = signature(rope_index).parameters
    positions_31T, _ = rope_index(**{name: tensor for name, tensor in row.items() if name in asked})
    return positions_31T.permute(1, 2, 0)


def as_model_takes(positions_BT: torch.Tensor) -> torch.Tensor:
    """Return the positions of a batch, (B, T) or (B, T, 3), with their axes in transformers' order."""
    return positions_BT if positions_BT.ndim == 2 else positions_BT.permute(2, 0, 1)


def attend(batch: Mapping[str, torch.Tensor], model: PreTrainedModel) -> dict[str, Any]:
    """Return the model's inputs for a batch with `segments`: a mask and positions in their place.

    Where no row is shared, the mask stays the plain one and the model finds the positions itself.
    """
    inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name != "weights"}
    segments_BT, positions_BT = inputs.pop("segments"), inputs.pop("position_ids")
    if not bool((segments_BT > 0).any()):
        return inputs
    kinds = attention_kinds(model)
    inputs["position_ids"] = as_model_takes(positions_BT)
    if takes_segments(model) and "token_type_ids" not in inputs and kinds == {"full_attention"}:
        return {**inputs, "attention_mask": segments_BT[:, None, None]}
    allowed_BTT = branch_mask(segments_BT)
    if "token_type_ids" in inputs:
        allowed_BTT |= _same_image(inputs.pop("token_type_ids") == 1)
    masks = {}
    for kind in kinds:
        seen_BTT = allowed_BTT
        if kind == "sliding_attention":
            place_BT = _places(segments_BT)
            window = model.config.get_text_config().sliding_window
            seen_BTT = allowed_BTT & (place_BT[:, :, None] - place_BT[:, None, :] < window)
        masks[kind] = _additive(seen_BTT, model.dtype)
    inputs["attention_mask"] = masks if len(masks) > 1 else masks.popitem()[1]
    return inputs


def branch_mask(segments_BT: torch.Tensor) -> torch.Tensor:
    """Return which key each query attends to, (B, T, T): the prefix is causal, and so is a branch, which also sees the
    whole prefix. Padding sees itself."""
    mine, theirs = segments_BT[:, :, None], segments_BT[:, None, :]
    order = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    return ((mine == theirs) | (theirs == 0)) & (order[:, None] >= order[None, :])


def _places(segments_BT: torch.Tensor) -> torch.Tensor:
    """Return each token's place in a sequence of its branch alone, (B, T)."""
    order_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    begins_BT = segments_BT.diff(dim=1, prepend=segments_BT[:, :1]) != 0
    start_BT = torch.where(begins_BT, order_T, 0).cummax(1).values
    return order_T - start_BT + (segments_BT == 0).sum(1, keepdim=True) * (segments_BT > 0)


def _same_image(image_BT: torch.Tensor) -> torch.Tensor:
    """Return which tokens belong to the same image and see each other both ways (Gemma 3), (B, T, T)."""
    before_BT = torch.nn.functional.pad(image_BT, (1, 0))[:, :-1]
    number_BT = torch.where(image_BT, (image_BT & ~before_BT).cumsum(1), 0)
    return (number_BT[:, :, None] == number_BT[:, None, :]) & image_BT[:, :, None]


def _additive(allowed_BTT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask that is added to the scores, (B, 1, T, T). Transformers leaves masks with four axes as is."""
    mask = torch.zeros(allowed_BTT.shape, dtype=dtype, device=allowed_BTT.device)
    return mask.masked_fill_(~allowed_BTT, torch.finfo(dtype).min)[:, None]
