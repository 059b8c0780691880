from pathlib import Path

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from seewhy.vlm.prefix import branch_mask, common_prefix
from tiny import tiny_llava

IMAGE = 9


def test_branch_mask_is_exact():
    mask_TT, positions_T = branch_mask(2, [2, 1])
    assert mask_TT.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert positions_T.tolist() == [0, 1, 2, 3, 2]


def test_branch_mask_without_branches_is_causal():
    mask_TT, positions_T = branch_mask(4, [])
    assert torch.equal(mask_TT, torch.ones(4, 4, dtype=torch.bool).tril())
    assert positions_T.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("ids", "length"),
    [
        ([[1, 9, 9, 2, 3], [1, 9, 9, 2, 4]], 4),
        ([[1, 9, 9], [1, 9, 9]], 3),
        ([[1, 9, 9, 2], [1, 9, 9]], 3),
        ([[1, 9, 9], [1, 9, 9, 9]], 0),  # the second row's image is longer
        ([[1, 2, 9], [1, 3, 9]], 0),  # a question before the image: nothing to share
        ([[1, 2], [1, 2]], 0),  # no image
        ([], 0),
    ],
)
def test_common_prefix(ids: list[list[int]], length: int):
    assert common_prefix(ids, IMAGE) == length


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_shared_prefix_equals_separate_sequences(tmp_path: Path, attention: str):
    """One row with a 4-D additive mask gives the loss and gradients of the branches alone."""
    model = LlavaForConditionalGeneration.from_pretrained(tiny_llava(tmp_path), attn_implementation=attention)
    image_id = model.config.image_token_id
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(1, 3, 32, 32, generator=generator)
    prefix = [0, 17, *[image_id] * 16, 23]
    branches = [torch.randint(5, 300, (n,), generator=generator).tolist() for n in (7, 4, 11)]

    def loss_of(ids: torch.Tensor, targets: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=ids, pixel_values=pixels, **inputs).logits
        return torch.nn.functional.cross_entropy(logits[0], targets, ignore_index=-100, reduction="sum")

    def targets_of(branch: list[int]) -> list[int]:
        return [*branch[1:], -100]  # a branch's first token is predicted by the prefix: left out

    separate = sum(
        loss_of(torch.tensor([prefix + branch]), torch.tensor([-100] * len(prefix) + targets_of(branch)))
        for branch in branches
    )
    separate.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    mask_TT, positions_T = branch_mask(len(prefix), [len(b) for b in branches])
    additive = torch.zeros(mask_TT.shape).masked_fill(~mask_TT, torch.finfo(torch.float32).min)[None, None]
    targets = torch.tensor([-100] * len(prefix) + [t for b in branches for t in targets_of(b)])
    ids = torch.tensor([prefix + [t for b in branches for t in b]])
    shared = loss_of(ids, targets, attention_mask=additive, position_ids=positions_T[None])
    shared.backward()

    torch.testing.assert_close(shared, separate, rtol=1e-5, atol=1e-5)
    assert gradients
    for name, p in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=1e-5)
