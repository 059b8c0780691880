"""Several question-answer pairs about one image in one sequence (docs/method.md, "Sharing the image").

A row `[prefix][branch 1]...[branch Q]`, in which every branch attends to the prefix and to itself but to no other
branch, and in which positions restart after the prefix, gives each branch the hidden states it would have in a
sequence `[prefix][branch q]` of its own.

A transformers model (5.17: `sdpa` and `eager` attention) takes the mask as a 4-D additive one beside the positions, in
the model's dtype, and then does not add a causal mask of its own:

    mask_TT, positions_T = branch_mask(prefix_len, branch_lens)
    additive_11TT = torch.zeros(mask_TT.shape).masked_fill(~mask_TT, torch.finfo(torch.float32).min)[None, None]
    model(input_ids=ids_1T, pixel_values=pixels, attention_mask=additive_11TT, position_ids=positions_T[None])

A branch's first token would be predicted at the prefix's last position, which all branches share: leave it out of the
labels. The row's loss is then the sum (or, weighted by labelled tokens, the mean) of the branches' own, and so are its
gradients (tests/vlm/test_prefix.py).
"""

from collections.abc import Sequence

import torch


def branch_mask(prefix_len: int, branch_lens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Who attends to whom in `[prefix][branch 1]...[branch Q]`, and each token's position.

    Returns `mask_TT` (bool, row = query token, True = may attend) and `positions_T` (int64), T = prefix_len +
    sum(branch_lens). The prefix is causal within itself; a branch is causal within itself and sees the whole prefix.
    """
    lens = torch.tensor([prefix_len, *branch_lens])
    segment_T = torch.repeat_interleave(torch.arange(len(lens)), lens)  # 0 is the prefix, q the q-th branch
    start_T = (lens.cumsum(0) - lens)[segment_T]
    order_T = torch.arange(len(segment_T))
    same_TT = segment_T[:, None] == segment_T[None, :]
    mask_TT = (same_TT | (segment_T == 0)[None, :]) & (order_T[:, None] >= order_T[None, :])
    positions_T = order_T - start_T + prefix_len * (segment_T > 0)
    return mask_TT, positions_T


def common_prefix(ids: Sequence[Sequence[int]], image_token_id: int) -> int:
    """Length of the longest token prefix that all of `ids` share and that covers every image token; 0 if none does."""
    length = 0
    for column in zip(*ids, strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    covered = all(image_token_id in row[:length] and image_token_id not in row[length:] for row in ids)
    return length if covered else 0
