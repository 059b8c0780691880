"""A shared tuning step has the loss and the gradients of separate ones, on a GPU and in bfloat16 as well."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from seewhy.config import AugmentConfig
from seewhy.records import Turn
from seewhy.vlm.adapter import add_adapter
from seewhy.vlm.chat import collate, move
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import branch_attention

pytestmark = pytest.mark.gpu

LOSS = {"float32": 1e-5, "bfloat16": 2e-2}
GRADIENTS = {"float32": 1e-3, "bfloat16": 1e-1}
"""Largest relative differences: of the loss, and of the norm of all gradients."""


def adapted_of(vlm: VisionLanguageModel) -> Any:
    """The model under an adapter that already does something, so that all its weights have gradients."""
    torch.manual_seed(0)
    adapted = add_adapter(vlm.model, rank=4, alpha=8, dropout=0.0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return adapted


def step(vlm: VisionLanguageModel, adapted: Any, turns: list[Turn], *, shared: bool) -> tuple[float, torch.Tensor]:
    """The loss, and all gradients as one vector, of one step as tune() takes it."""
    schedule = Schedule(
        vlm, turns, pairs=len(turns), epochs=1, changes=AugmentConfig(), seed=0, share_image=shared
    )  # fmt: skip
    halves = (turns[:3], turns[3:])
    rows = [row for of_image in halves for row in schedule.rows(of_image, None)]
    assert len(rows) == (2 if shared else 6)
    batch = move(collate(rows, vlm.pad_token_id, "right"), vlm)
    adapted.zero_grad(set_to_none=True)
    half = vlm.model.dtype != torch.float32
    with branch_attention(vlm.model):
        with torch.autocast(vlm.device.type, vlm.model.dtype, enabled=half):
            loss = answer_loss(adapted, batch)
        loss.backward()
    gradients = [p.grad.flatten().double() for p in adapted.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(gradients)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llava", "qwen25_vl", "smolvlm", "gemma3"])
def test_sharing_equals_separate(load: Callable[..., VisionLanguageModel], turns: list[Turn], family: str, dtype: str):
    vlm = load(family, dtype)
    adapted = adapted_of(vlm)
    loss, gradient = step(vlm, adapted, turns, shared=True)
    loss_alone, gradient_alone = step(vlm, adapted, turns, shared=False)
    assert loss == pytest.approx(loss_alone, rel=LOSS[dtype])
    assert float((gradient - gradient_alone).norm() / gradient_alone.norm()) < GRADIENTS[dtype]


def test_rows_of_other_questions_have_other_gradients(load: Callable[..., VisionLanguageModel], turns: list[Turn]):
    """The tolerance of bfloat16 is one that a wrong mask would not pass."""
    vlm = load("llava", "bfloat16")
    adapted = adapted_of(vlm)
    _, gradient = step(vlm, adapted, turns, shared=True)
    wrong = [Turn(t.id, t.image, turns[place - 1].query, t.answer) for place, t in enumerate(turns)]
    _, other = step(vlm, adapted, wrong, shared=False)
    assert float((gradient - other).norm() / other.norm()) > GRADIENTS["bfloat16"]
