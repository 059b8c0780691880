"""Attention over rows `[prefix][branch 1]...[branch Q]` (prefix.py) that computes only what is attended to.

A dense mask has every token scored against all T of its row, and then hides most of it. Here the prefix is causal
attention by itself, and the branches, padded to the longest, are a batch of their own whose keys are the prefix's and
each branch's: P*P/2 + Q*L*(P + L) scores in place of (P + Q*L)**2. The numbers are those of the dense mask.

    with branch_attention(model):
        loss = answer_loss(model, batch)     # `attend` hands over segments in place of the mask
        loss.backward()
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

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
