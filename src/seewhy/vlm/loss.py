"""The loss of tuning: cross-entropy of the answers' tokens, and of nothing else.

loss = answer_loss(model, collate(rows, ...))      # rows of encode_answered, or of prefix.share

How likely a model finds answers that it is shown: the sum of -log p over an answer's tokens, and their number.

A token's probability is given the image, the question and the answer's tokens before it. The token that ends an answer
is not among them: an answer that was cut has none. Answers about one image share it (prefix.py).

    (nats, tokens), ... = answer_likelihoods(vlm, turns, 16)
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
    answered,
    collate,
    encode_all,
    move,
    of_file,
    open_image,
    special_token_in,
    token_level,
)
from seewhy.vlm.data import check_length
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import attend, share, why_not_shared


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


log = logging.getLogger(__name__)


def answer_likelihoods(
    vlm: VisionLanguageModel,
    turns: Sequence[Turn],
    batch_size: int,
    opener: Callable[[str], Image.Image] = open_image,
    *,
    share_image: bool = True,
) -> list[tuple[float, int]]:
    """(negative log-likelihood in nats, tokens) of each turn's answer, `batch_size` answers at a time.

    Turns that follow one another and are about one image share it. An answer that is empty or holds a special token of
    the model is no text that could be scored: it has 0 nats and 0 tokens, and the latter are logged. Raises
    SeeWhyError, naming the turn, for a special token in a question and for one that is too long for the model.
    """
    found = [(0.0, 0)] * len(turns)
    marked = {i for i, turn in enumerate(turns) if special_token_in(vlm, turn.answer)}
    if marked:
        log.warning("%d of %d answers hold a special token of %s: not scored", len(marked), len(turns), vlm.name)
    scored = [i for i, turn in enumerate(turns) if turn.answer.strip() and i not in marked]
    shared = share_image and why_not_shared(vlm.model) is None
    for start in range(0, len(scored), batch_size):
        batch = scored[start : start + batch_size]
        rows, tokens = [], []
        for _, group in groupby(batch, key=lambda i: (turns[i].image if shared else "") or i):
            alone = _rows(vlm, [turns[i] for i in group], opener)
            tokens += [int((row["labels"] != IGNORED).sum()) for row in alone]
            rows += share(alone, vlm)
        for i, nats_T in zip(batch, _nats(vlm, rows).split(tokens), strict=True):
            found[i] = (float(nats_T.sum()), len(nats_T))
    return found


def _rows(vlm: VisionLanguageModel, turns: Sequence[Turn], opener: Callable[[str], Image.Image]) -> list[Row]:
    """The training rows of turns about one image, without the tokens that end their answers."""
    image = opener(turns[0].image) if turns[0].image else None
    with of_file(turns[0].image):
        prompts = encode_all(vlm, [turn.query for turn in turns], image)
    rows = []
    for turn, prompt in zip(turns, prompts, strict=True):
        ended = answered(vlm, prompt, turn.answer)
        names = token_level(ended)
        rows.append({name: tensor[:, :-1] if name in names else tensor for name, tensor in ended.items()})
        check_length(vlm, turn, rows[-1])
    return rows


@torch.inference_mode()
def _nats(vlm: VisionLanguageModel, rows: Sequence[Row]) -> torch.Tensor:
    """-log p of all labelled tokens (N,) in float64 on the CPU, row by row."""
    logits_NV, targets_N = answer_logits(vlm.model, move(collate(rows, vlm.pad_token_id, "right"), vlm))
    return cross_entropy(logits_NV, targets_N, reduction="none").double().cpu()
