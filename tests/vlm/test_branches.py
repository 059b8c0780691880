from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from seewhy.vlm.prefix import BranchAttention, Layout, branch_attention, branch_mask, takes_segments

ROWS = [[0, 0, 0, 1, 1, 2, 3, 3, 3], [0, 0, 0, 0, 0, 1, 1, -1, -1], [0, 0, 0, 0, -1, -1, -1, -1, -1]]


def test_layout_is_exact():
    layout = Layout.of([0, 0, 1, 1, 2, 3, 3, 3, -1], torch.device("cpu"))
    assert (layout.prefix, layout.padding) == (2, 1)
    assert layout.place_QL.tolist() == [[2, 3, 3], [4, 4, 4], [5, 6, 7]]
    assert layout.own_QL.int().tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert layout.seen_LS.int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("segments", [ROWS, ROWS[2:], [[0] * 4]])
@pytest.mark.parametrize("groups", [1, 2])
def test_it_attends_as_under_the_dense_mask(segments: list[list[int]], groups: int):
    torch.manual_seed(0)
    length, segments_BT = len(segments[0]), torch.tensor(segments)
    query = torch.randn(len(segments), 4, length, 8, requires_grad=True)
    keys, values = (torch.randn(len(segments), 4 // groups, length, 8, requires_grad=True) for _ in range(2))
    upstream = torch.randn(len(segments), length, 4, 8) * (segments_BT >= 0)[:, :, None, None]

    mask = branch_mask(segments_BT)[:, None]
    repeated = (tensor.repeat_interleave(groups, 1) for tensor in (keys, values))
    expected = scaled_dot_product_attention(query, *repeated, attn_mask=mask, scale=0.3).transpose(1, 2)
    module = SimpleNamespace(num_key_value_groups=groups, is_causal=True)
    actual, _ = BranchAttention()(module, query, keys, values, segments_BT[:, None, None], scaling=0.3)

    own = segments_BT >= 0
    torch.testing.assert_close(actual[own], expected[own])
    assert not actual[~own].any()
    for tensor in (query, keys, values):
        wanted, found = (torch.autograd.grad(out, tensor, upstream, retain_graph=True)[0] for out in (expected, actual))
        torch.testing.assert_close(found, wanted)


def test_it_scores_no_more_than_is_attended_to(monkeypatch: pytest.MonkeyPatch):
    scored = []

    def counted(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, **settings: object) -> torch.Tensor:
        scored.append((*query.shape[:3], keys.shape[2]))
        return scaled_dot_product_attention(query, keys, values, **settings)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("seewhy.vlm.prefix.scaled_dot_product_attention", counted)
    query, keys, values = (torch.randn(1, 2, 9, 4) for _ in range(3))
    BranchAttention()(None, query, keys, values, torch.tensor([[[ROWS[0]]]]))  # pyright: ignore[reportArgumentType]
    assert scored == [(1, 2, 3, 3), (3, 2, 3, 6)]


@pytest.mark.parametrize(("implementation", "replaced"), [("sdpa", True), ("eager", True), ("flex_attention", False)])
def test_it_stands_in_for_attention_while_it_is_asked_to(implementation: str, replaced: bool):  # noqa: FBT001
    text = SimpleNamespace(_attn_implementation=implementation)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))
    with branch_attention(model):  # pyright: ignore[reportArgumentType]
        assert takes_segments(model) == replaced  # pyright: ignore[reportArgumentType]
    assert text._attn_implementation == implementation
