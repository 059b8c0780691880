"""The loss of tuning, and how likely a model finds given answers: cross-entropy of the answers' tokens alone.

    loss = answer_loss(model, collate(rows, ...))                  # rows of `Schedule` or of `prefix.share`
    (nats, tokens), ... = answer_likelihoods(vlm, turns, 16)

Likelihoods leave out the token that ends an answer: an answer that was cut has none.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal

import torch
from PIL import Image
from torch.nn.functional import cross_entropy, pad

from seewhy.records import Turn
from seewhy.vlm.chat import (
    IGNORED,
    Row,
    collate,
    encode_all,
    move,
    named_image,
    open_image,
    special_token_in,
    token_level,
    with_answer,
)
from seewhy.vlm.data import check_length
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import attend, share, why_not_shared

log = logging.getLogger(__name__)


def answer_loss(
    model: Any, batch: Row, total: torch.Tensor | int | None = None, *, per: Literal["token", "answer"] = "token"
) -> torch.Tensor:
    """Return the cross-entropy of a batch's labelled tokens, summed over tokens or over answers' means, over `total`.

    `total` is the number of tokens, or answers, by default those of the batch. With `weights` (B, T) in the batch a
    token counts by its weight, in sums, means and `total`.
    """
    logits_NV, targets_N = answer_logits(model, batch)
    weights_N = weights_of(batch) if "weights" in batch else None
    if per == "token" and weights_N is None:
        return cross_entropy(logits_NV, targets_N, reduction="sum") / (len(targets_N) if total is None else total)
    losses_N = cross_entropy(logits_NV, targets_N, reduction="none")
    if weights_N is not None:
        losses_N = losses_N * weights_N
        if per == "token":
            return losses_N.sum() / (weights_N.sum() if total is None else total)
    answer_N, length_A = answers_of(batch["labels"], weights_N)
    return (losses_N / length_A[answer_N]).sum() / (len(length_A) if total is None else total)


def answers_of(labels_BT: torch.Tensor, weights_N: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the answer that each labelled token belongs to (N), and the answers' lengths (A), in the order of rows.

    An answer begins where a label follows an unlabelled token: a question stands before each, in shared rows too. Its
    length is the number of its tokens, or the sum of their weights.
    """
    labelled_BT = labels_BT[:, 1:] != IGNORED
    begins_BT = labelled_BT & ~pad(labelled_BT, (1, -1))
    answer_N = (begins_BT.flatten().cumsum(0) - 1)[labelled_BT.flatten()]
    return answer_N, answer_N.bincount(weights_N)


def weights_of(batch: Row) -> torch.Tensor:
    """Return the weight of each labelled token (N)."""
    return batch["weights"][:, 1:][batch["labels"][:, 1:] != IGNORED].float()


def answer_logits(model: Any, batch: Row) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (N, V) and ids (N) of the N labelled tokens; the output head computes their columns alone."""
    inputs = attend(batch, getattr(model, "module", model))
    targets_BT = pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    columns_K = (targets_BT != IGNORED).any(0).nonzero()[:, 0]
    logits_BKV = model(**inputs, logits_to_keep=columns_K, use_cache=False).logits
    targets_BK = targets_BT[:, columns_K]
    wanted_BK = targets_BK != IGNORED
    return logits_BKV[wanted_BK].float(), targets_BK[wanted_BK]


def answer_likelihoods(
    vlm: VisionLanguageModel,
    turns: Sequence[Turn],
    batch_size: int,
    opener: Callable[[str], Image.Image] = open_image,
    *,
    share_image: bool = True,
) -> list[tuple[float, int]]:
    """Return (negative log-likelihood in nats, tokens) of each turn's answer, given its image and question.

    `batch_size` answers are computed at a time; consecutive turns about one image share it. An empty answer, or one
    with a special token of the model, cannot be scored: it has 0 nats and 0 tokens, and the latter are logged. Raises
    SeeWhyError, naming the turn, for a special token in a question and for a turn that is too long for the model.
    """
    scores = [(0.0, 0)] * len(turns)
    marked = {i for i, turn in enumerate(turns) if special_token_in(vlm, turn.answer)}
    if marked:
        log.warning("%d of %d answers hold a special token of %s: not scored", len(marked), len(turns), vlm.name)
    scored = [i for i, turn in enumerate(turns) if turn.answer.strip() and i not in marked]
    shared = share_image and why_not_shared(vlm.model, "tune") is None
    for start in range(0, len(scored), batch_size):
        batch = scored[start : start + batch_size]
        rows, tokens = [], []
        for _, group in groupby(batch, key=lambda i: (turns[i].image if shared else "") or i):
            alone = _rows(vlm, [turns[i] for i in group], opener)
            tokens += [int((row["labels"] != IGNORED).sum()) for row in alone]
            rows += share(alone, vlm)
        for i, nats_T in zip(batch, _nats(vlm, rows).split(tokens), strict=True):
            scores[i] = (float(nats_T.sum()), len(nats_T))
    return scores


def _rows(vlm: VisionLanguageModel, turns: Sequence[Turn], opener: Callable[[str], Image.Image]) -> list[Row]:
    """Return the training rows of turns about one image, without the tokens that end their answers."""
    image = opener(turns[0].image) if turns[0].image else None
    with named_image(turns[0].image):
        prompts = encode_all(vlm, [turn.query for turn in turns], image)
    rows = []
    for turn, prompt in zip(turns, prompts, strict=True):
        ended = with_answer(vlm, prompt, turn.answer)
        names = token_level(ended)
        rows.append({name: tensor[:, :-1] if name in names else tensor for name, tensor in ended.items()})
        check_length(vlm, turn, rows[-1])
    return rows


@torch.inference_mode()
def _nats(vlm: VisionLanguageModel, rows: Sequence[Row]) -> torch.Tensor:
    """Return -log p of all labelled tokens (N,) in float64 on the CPU, in the order of rows."""
    logits_NV, targets_N = answer_logits(vlm.model, move(collate(rows, vlm.pad_token_id, "right"), vlm))
    return cross_entropy(logits_NV, targets_N, reduction="none").double().cpu()
