"""Attention over rows `[prefix][branch 1]...[branch Q]` (prefix.py) that computes only what is attended to.

A dense mask has every token scored against all T of its row, and then hides most of it. Here the prefix is causal
attention by itself, and the branches, padded to the longest, are a batch of their own whose keys are the prefix's and
each branch's: P*P/2 + Q*L*(P + L) scores in place of (P + Q*L)**2. The numbers are those of the dense mask.

    with branch_attention(model):
        loss = answer_loss(model, batch)     # `attend` hands over segments in place of the mask
        loss.backward()

Several questions and answers about one image in one sequence (docs/method.md, "Sharing the image").

A row `[prefix][branch 1]...[branch Q]`, in which every branch attends to the prefix and to itself but to no other
branch, and in which positions go on from the prefix in each, gives every branch the hidden states that it would have
in a sequence `[prefix][branch q]` of its own: the same loss and the same gradients.

    rows = share([row_1, row_2, row_3], vlm)         # rows of one image become one row, or stay as they are
    logits = model(**attend(collate(rows, ...)))     # segments become the mask

A row carries `segments` beside its tokens (0 in the prefix, q in branch q) until `attend` makes the mask of them, so
that the mask, quadratic in the row, is never stored or moved. The prefix ends before the first token that any branch
is to predict from a token of its own, so that labels may be shifted as in any sequence.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from seewhy.vlm.chat import IGNORED, Row, token_level
from seewhy.vlm.model import VisionLanguageModel

ATTENTION = "seewhy_branches"
"""Its name among transformers' implementations of attention."""
REPLACED = ("sdpa", "eager")
"""Implementations whose place it takes; others stay and get a dense mask."""


@contextmanager
def branch_attention(model: PreTrainedModel) -> Iterator[None]:
    """Has the language model attend so while it runs forward and backward."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    if before not in REPLACED:
        yield
        return
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
        _latest.clear()


def takes_segments(model: PreTrainedModel) -> bool:
    """Whether the model's attention is the one above, which takes segments (B, 1, 1, T) for a mask."""
    return model.config.get_text_config()._attn_implementation == ATTENTION


@dataclass(frozen=True)
class Layout:
    """Where the branches of one row stand."""

    prefix: int
    """P: tokens of the prefix."""
    place_QL: torch.Tensor
    """Each branch's tokens' places in the row; a short branch repeats its last."""
    own_QL: torch.Tensor
    """True where `place_QL` repeats nothing."""
    seen_LS: torch.Tensor
    """Which of the P + L keys a branch's tokens attend to."""
    padding: int
    """Tokens behind the last branch."""

    @classmethod
    def of(cls, segments: Sequence[int], device: torch.device) -> "Layout":
        """`segments` of one row: 0 in the prefix, q in branch q, below 0 in the padding."""
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


_latest: list[tuple[torch.Tensor, list[Layout]]] = []
"""The layouts of the batch that runs: every layer asks for them, and again where activations are computed twice."""


def layouts(segments_B11T: torch.Tensor) -> list[Layout]:
    """The layout of each row."""
    if not _latest or _latest[0][0] is not segments_B11T:
        rows = segments_B11T[:, 0, 0].tolist()
        _latest[:] = [(segments_B11T, [Layout.of(row, segments_B11T.device) for row in rows])]
    return _latest[0][1]


def _attend(
    module: Any,
    query_BHTE: torch.Tensor,
    keys_BGTE: torch.Tensor,
    values_BGTE: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """(B, T, H, E), in transformers' form. Without segments it is torch's attention."""
    if mask is None or mask.dtype != torch.long:
        return sdpa_attention_forward(module, query_BHTE, keys_BGTE, values_BGTE, mask, dropout, scaling, **other)
    groups = query_BHTE.shape[1] // keys_BGTE.shape[1]
    keys_BHTE, values_BHTE = repeat_kv(keys_BGTE, groups), repeat_kv(values_BGTE, groups)
    settings = {"dropout_p": dropout, "scale": scaling}
    rows = zip(query_BHTE, keys_BHTE, values_BHTE, layouts(mask), strict=True)
    return torch.stack([_row(*row, settings) for row in rows]).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # for rows that share nothing


def _row(
    query_HTE: torch.Tensor,
    keys_HTE: torch.Tensor,
    values_HTE: torch.Tensor,
    layout: Layout,
    settings: dict[str, Any],
) -> torch.Tensor:
    """Attention of one row, (H, T, E); zeros for its padding."""
    prefix = layout.prefix
    query, keys, values = (tensor[None, :, :prefix] for tensor in (query_HTE, keys_HTE, values_HTE))
    parts = [scaled_dot_product_attention(query, keys, values, is_causal=True, **settings)[0]]
    if len(layout.place_QL):
        keys, values = (_behind(prefix, tensor, layout) for tensor in (keys_HTE, values_HTE))
        query_QHLE = query_HTE[:, layout.place_QL].transpose(0, 1)
        out_QHLE = scaled_dot_product_attention(query_QHLE, keys, values, attn_mask=layout.seen_LS, **settings)
        parts.append(out_QHLE.transpose(0, 1)[:, layout.own_QL])
    if layout.padding:
        parts.append(query_HTE.new_zeros(len(query_HTE), layout.padding, query_HTE.shape[2]))
    return torch.cat(parts, 1)


def _behind(prefix: int, tensor_HTE: torch.Tensor, layout: Layout) -> torch.Tensor:
    """(Q, H, P + L, E): the prefix's keys or values before those of each branch."""
    own_QHLE = tensor_HTE[:, layout.place_QL].transpose(0, 1)
    return torch.cat([tensor_HTE[:, :prefix].expand(len(own_QHLE), -1, -1, -1), own_QHLE], 2)


MASKED = ("sdpa", "eager", "flex_attention", ATTENTION)
"""Implementations of attention, in transformers' words, that take a mask of any form."""


def share(rows: Sequence[Row], vlm: VisionLanguageModel) -> list[Row]:
    """The rows of one image as one row; or each as it is, where they have no common prefix that covers the image."""
    rows = [{**row, "position_ids": positions(vlm, row)} for row in rows]
    prefix = _prefix_of(rows, vlm) if len(rows) > 1 else 0
    if not prefix:
        return [{**row, "segments": torch.zeros_like(row["input_ids"])} for row in rows]
    shared: Row = dict(rows[0])
    for name in token_level(rows[0]):
        shared[name] = torch.cat([rows[0][name][:, :prefix], *(row[name][:, prefix:] for row in rows)], dim=1)
    lengths = [prefix, *(row["input_ids"].shape[1] - prefix for row in rows)]
    shared["segments"] = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
    return [shared]


def _prefix_of(rows: Sequence[Row], vlm: VisionLanguageModel) -> int:
    common = common_prefix([row["input_ids"][0].tolist() for row in rows], vlm.image_token_id)
    first_label = min((_first_label(row) for row in rows), default=0)
    images = rows[0]["input_ids"][0] == vlm.image_token_id
    prefix = min(common, first_label - 1)
    return prefix if prefix > 0 and not bool(images[prefix:].any()) else 0


def _first_label(row: Row) -> int:
    if "labels" not in row:
        return row["input_ids"].shape[1]
    labelled = (row["labels"][0] != IGNORED).nonzero()
    return int(labelled[0, 0]) if len(labelled) else row["labels"].shape[1]


def positions(vlm: VisionLanguageModel, row: Row) -> torch.Tensor:
    """Position of each token of a row alone: (1, T), or (1, T, 3) for models with positions in time, height and width.

    The latter (Qwen's M-RoPE) come from the model's own `get_rope_index`.
    """
    rope_index = getattr(vlm.model.base_model, "get_rope_index", None)
    if rope_index is None:
        return torch.arange(row["input_ids"].shape[1])[None]
    asked = signature(rope_index).parameters
    positions_31T, _ = rope_index(**{name: tensor for name, tensor in row.items() if name in asked})
    return positions_31T.permute(1, 2, 0)


def as_model_takes(positions_BT: torch.Tensor) -> torch.Tensor:
    """Positions of a batch, (B, T) or (B, T, 3), with the axes in the order of transformers."""
    return positions_BT if positions_BT.ndim == 2 else positions_BT.permute(2, 0, 1)


def attention_kinds(model: PreTrainedModel) -> set[str]:
    """What the language model's layers attend to, in transformers' words; one mask serves the layers of a kind."""
    text = model.config.get_text_config()
    if kinds := getattr(text, "layer_types", None):
        return set(kinds)
    if getattr(text, "sliding_window", None):
        return {"sliding_attention"}
    return {"chunked_attention" if getattr(text, "attention_chunk_size", None) else "full_attention"}


def why_not_shared(model: PreTrainedModel) -> str | None:
    """Why `attend` has no mask for this model, or None where it has one."""
    implementation = model.config.get_text_config()._attn_implementation
    if implementation not in MASKED:
        return f"attention by {implementation} takes no mask (of {', '.join(MASKED)}, any does)"
    others = attention_kinds(model) - {"full_attention", "sliding_attention"}
    return f"there are layers of {', '.join(sorted(others))}" if others else None


def attend(batch: Mapping[str, torch.Tensor], model: PreTrainedModel) -> dict[str, Any]:
    """What the model takes for a batch with `segments`: mask and positions in their place.

    Where no row shares, the mask stays the plain one and the model finds the positions itself.
    """
    inputs: dict[str, Any] = dict(batch)
    segments_BT, positions_BT = inputs.pop("segments"), inputs.pop("position_ids")
    if not bool((segments_BT > 0).any()):
        return inputs
    if takes_segments(model) and "token_type_ids" not in inputs and attention_kinds(model) == {"full_attention"}:
        return {
            **inputs,
            "attention_mask": segments_BT[:, None, None],
            "position_ids": as_model_takes(positions_BT),
        }
    allowed_BTT = branch_mask(segments_BT)
    if "token_type_ids" in inputs:
        allowed_BTT |= _same_image(inputs.pop("token_type_ids") == 1)
    seen = {"full_attention": allowed_BTT}
    if "sliding_attention" in attention_kinds(model):
        place_BT = _places(segments_BT)
        near_BTT = place_BT[:, :, None] - place_BT[:, None, :] < model.config.get_text_config().sliding_window
        seen["sliding_attention"] = allowed_BTT & near_BTT
    masks = {kind: _additive(seen[kind], model.dtype) for kind in attention_kinds(model)}
    inputs["attention_mask"] = masks if len(masks) > 1 else masks.popitem()[1]
    inputs["position_ids"] = as_model_takes(positions_BT)
    return inputs


def branch_mask(segments_BT: torch.Tensor) -> torch.Tensor:
    """Who attends to whom, (B, T, T), row = query token: the prefix (segment 0) is causal within itself; a branch is
    causal within itself and sees the whole prefix; padding sees itself."""
    mine, theirs = segments_BT[:, :, None], segments_BT[:, None, :]
    order = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    return ((mine == theirs) | (theirs == 0)) & (order[:, None] >= order[None, :])


def _places(segments_BT: torch.Tensor) -> torch.Tensor:
    """Each token's place in a sequence of its branch alone, (B, T): branches go on where the prefix ends."""
    order_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    begins_BT = segments_BT.diff(dim=1, prepend=segments_BT[:, :1]) != 0
    start_BT = torch.where(begins_BT, order_T, 0).cummax(1).values
    return order_T - start_BT + (segments_BT == 0).sum(1, keepdim=True) * (segments_BT > 0)


def _same_image(image_BT: torch.Tensor) -> torch.Tensor:
    """Tokens of one image see each other both ways (Gemma 3), (B, T, T)."""
    before_BT = torch.nn.functional.pad(image_BT, (1, 0))[:, :-1]
    number_BT = torch.where(image_BT, (image_BT & ~before_BT).cumsum(1), 0)
    return (number_BT[:, :, None] == number_BT[:, None, :]) & image_BT[:, :, None]


def _additive(allowed_BTT: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask that transformers adds to the scores and, as it has four axes, leaves alone: (B, 1, T, T)."""
    mask = torch.zeros(allowed_BTT.shape, dtype=dtype, device=allowed_BTT.device)
    return mask.masked_fill_(~allowed_BTT, torch.finfo(dtype).min)[:, None]


def common_prefix(ids: Sequence[Sequence[int]], image_token_id: int) -> int:
    """Length of the longest token prefix that all of `ids` share and that covers every image token; 0 if none does."""
    length = 0
    for column in zip(*ids, strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    covered = all(image_token_id in row[:length] and image_token_id not in row[length:] for row in ids)
    return length if covered else 0
