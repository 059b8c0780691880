"""The draw of tokens, from random numbers that depend on neither batch nor device."""

import torch

from seewhy.records import Sampling
from seewhy.run.storage import digest


def uniforms(seed: int, place: int, sampling: Sampling) -> torch.Tensor:
    """Return a random number in [0, 1) for each token of a prompt's answers, (samples, max_new_tokens).

    `place` is the prompt's place in the call. The numbers depend on neither batch nor device."""
    generator = torch.Generator().manual_seed(int(digest([seed, place])[:15], 16))
    return torch.rand(sampling.samples, sampling.max_new_tokens, generator=generator)


LIKELIEST = 64
"""Ids a row among which the smallest set of mass `top_p` is looked for before all are sorted."""


def _nucleus(probs_BV: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likeliest ids and their probabilities, 0 outside the smallest set of mass `top_p`, (B, K) each.

    On a CPU a full sort takes a quarter of a small model's step, so that it is done only where the set is larger than
    `LIKELIEST`, or where one id in it is as likely as one outside, so that the order of equals would decide.
    """
    if probs_BV.device.type == "cpu" and probs_BV.shape[-1] > LIKELIEST:
        best_BK, order_BK = probs_BV.topk(LIKELIEST)
        outside_BK = best_BK.cumsum(-1) - best_BK >= top_p
        at_edge_BK = outside_BK[:, 1:] & ~outside_BK[:, :-1] & (best_BK[:, 1:] == best_BK[:, :-1])
        if bool(outside_BK[:, -1].all()) and not bool(at_edge_BK.any()):
            return best_BK.masked_fill(outside_BK, 0), order_BK
    sorted_BV, order_BV = probs_BV.sort(-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV  # mass of the likelier ids: the likeliest is always kept
    sorted_BV[before_BV >= top_p] = 0
    return sorted_BV, order_BV


def draw(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor) -> torch.Tensor:
    """Return one id a row: the likeliest at temperature 0, else where the cumulative distribution over the smallest set
    of mass `top_p`, in the order of ids, passes the row's number in [0, 1).

    transformers' TopPLogitsWarper is not used: it rounds otherwise, so tokens differ (1 in 1,440), and is no faster."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV.float() / sampling.temperature, -1)
    if sampling.top_p < 1:
        best_BK, order_BK = _nucleus(probs_BV, sampling.top_p)
        probs_BV = torch.zeros_like(probs_BV).scatter_(-1, order_BK, best_BK)
    reached_BV = probs_BV.cumsum(-1)
    below_one_B1 = uniform_B[:, None].clamp(max=1 - 2**-22)  # else its product with the whole mass might round to that
    return torch.searchsorted(reached_BV, below_one_B1 * reached_BV[:, -1:], right=True)[:, 0]
