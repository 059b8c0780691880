"""The loss of tuning: cross-entropy of the answers' tokens, and of nothing else.

loss = answer_loss(model, collate(rows, ...))      # rows of encode_answered, or of prefix.share
"""

from typing import Any, Literal

import torch
from torch.nn.functional import cross_entropy, pad

from seewhy.vlm.chat import IGNORED, Row
from seewhy.vlm.prefix import attend


def answer_loss(
    model: Any, batch: Row, total: torch.Tensor | int | None = None, *, per: Literal["token", "answer"] = "token"
) -> torch.Tensor:
    """Cross-entropy of a batch's labelled tokens: summed over tokens, or answers' means, and divided by `total`.

    `total` is by default the number of tokens, or answers, in the batch.
    """
    logits_NV, targets_N = answer_logits(model, batch)
    if per == "token":
        return cross_entropy(logits_NV, targets_N, reduction="sum") / (len(targets_N) if total is None else total)
    answer_N, length_A = answers_of(batch["labels"])
    losses_N = cross_entropy(logits_NV, targets_N, reduction="none")
    return (losses_N / length_A[answer_N]).sum() / (len(length_A) if total is None else total)


def answers_of(labels_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The answer (N) that each labelled token belongs to, and the answers' lengths (A), in the order of the rows.

    Part of a prompt stands before every answer, in a shared row as well.
    """
    labelled_BT = labels_BT[:, 1:] != IGNORED
    begins_BT = labelled_BT & ~pad(labelled_BT, (1, -1))
    answer_N = (begins_BT.flatten().cumsum(0) - 1)[labelled_BT.flatten()]
    return answer_N, answer_N.bincount()


def answer_logits(model: Any, batch: Row) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, V) and ids (N) of the N labelled tokens; the output head is asked for these columns alone."""
    inputs = attend(batch, getattr(model, "module", model))
    targets_BT = pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    columns_K = (targets_BT != IGNORED).any(0).nonzero()[:, 0]
    logits_BKV = model(**inputs, logits_to_keep=columns_K, use_cache=False).logits
    targets_BK = targets_BT[:, columns_K]
    wanted_BK = targets_BK != IGNORED
    return logits_BKV[wanted_BK].float(), targets_BK[wanted_BK]
