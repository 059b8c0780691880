from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seewhy.domain.labels import name_ranges
from seewhy.vlm.chat import IGNORED, Row, collate, encode, encode_all, encode_answered, with_answer, with_weights
from seewhy.vlm.loss import answer_logits, answer_loss, answers_of, weights_of
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import _places, branch_attention, branch_mask, common_prefix, share
from tiny import tiny_llava

IMAGE = 9


def test_branch_mask_is_exact():
    (mask_TT,) = branch_mask(torch.tensor([[0, 0, 1, 1, 2]]))
    assert mask_TT.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_branch_mask_without_branches_is_causal():
    (mask_TT,) = branch_mask(torch.zeros(1, 4))
    assert torch.equal(mask_TT, torch.ones(4, 4, dtype=torch.bool).tril())


def test_a_branch_goes_on_where_the_prefix_ends():
    segments_BT = torch.tensor([[0, 0, 0, 1, 1, 2, 3, 3], [0, 0, 0, 0, 0, 0, -1, -1]])
    assert _places(segments_BT)[:, :6].tolist() == [[0, 1, 2, 3, 4, 3], [0, 1, 2, 3, 4, 5]]
    assert _places(segments_BT)[0, 6:].tolist() == [3, 4]


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


QUERIES = ["Name it.", "Which bird is it, and why?", "Name it.", "Describe the bird."]
ANSWERS = ["A Fish Crow.", "A red crest, so a Fish Crow.", "", "It has a long tail and a red crest."]


@pytest.fixture
def rows(vlm: VisionLanguageModel) -> list[Row]:
    image = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    prompts = encode_all(vlm, QUERIES, image)
    return [with_answer(vlm, prompt, answer) for prompt, answer in zip(prompts, ANSWERS, strict=True)]


@pytest.fixture(params=["sdpa", "eager", "branches"])
def vlm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VisionLanguageModel]:
    vlm = VisionLanguageModel.load(tiny_llava(tmp_path), device="cpu")
    if request.param == "branches":
        with branch_attention(vlm.model):
            yield vlm
    else:
        vlm.model.set_attn_implementation(request.param)
        yield vlm


def loss_and_gradients(vlm: VisionLanguageModel, rows: list[Row], tokens: int) -> tuple[torch.Tensor, dict]:
    vlm.model.zero_grad()
    loss = answer_loss(vlm.model, collate(rows, vlm.pad_token_id, "right"), tokens)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in vlm.model.named_parameters() if p.grad is not None}


def test_sharing_gives_the_loss_and_gradients_of_separate_sequences(vlm: VisionLanguageModel, rows: list[Row]):
    other = encode_answered(vlm, "Name it.", "A Crow.", Image.new("RGB", (32, 32), "red"))  # in the batch, shares none
    labelled = sum(int((row["labels"] != IGNORED).sum()) for row in [*rows, other])
    separate = [alone for row in [*rows, other] for alone in share([row], vlm)]
    together = [*share(rows, vlm), *share([other], vlm)]
    assert len(together) == 2
    assert together[0]["pixel_values"].shape == other["pixel_values"].shape  # one image for four questions
    expected, expected_gradients = loss_and_gradients(vlm, separate, labelled)
    loss, gradients = loss_and_gradients(vlm, together, labelled)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_of_answers_is_the_mean_of_their_means(vlm: VisionLanguageModel, rows: list[Row], shared: bool):  # noqa: FBT001
    alone = torch.stack([answer_loss(vlm.model, share([row], vlm)[0]) for row in rows])
    together = share(rows, vlm) if shared else [one for row in rows for one in share([row], vlm)]
    batch = collate(together, vlm.pad_token_id, "right")
    torch.testing.assert_close(answer_loss(vlm.model, batch, per="answer"), alone.mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(answer_loss(vlm.model, batch, 8, per="answer"), alone.sum() / 8, rtol=1e-5, atol=1e-6)
    answer_N, length_A = answers_of(batch["labels"])
    assert length_A.tolist() == [int((row["labels"] != IGNORED).sum()) for row in rows]
    assert answer_N.tolist() == [number for number, length in enumerate(length_A.tolist()) for _ in range(length)]


@pytest.mark.parametrize("per", ["token", "answer"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_name_counts_as_often_as_its_weight_says(
    vlm: VisionLanguageModel,
    rows: list[Row],
    per: Any,
    shared: bool,  # noqa: FBT001
):
    """The second half of every answer counts five times as much as the first."""
    losses, weights, weighted = [], [], []
    for row in rows:
        labelled_T = (row["labels"][0] != IGNORED).nonzero()[:, 0]
        weight_T = torch.ones(row["labels"].shape[1])
        weight_T[labelled_T[len(labelled_T) // 2 :]] = 5.0
        logits_NV, ids_N = answer_logits(vlm.model, share([row], vlm)[0])
        losses.append(torch.nn.functional.cross_entropy(logits_NV, ids_N, reduction="none"))
        weights.append(weight_T[labelled_T])
        weighted.append({**row, "weights": weight_T[None]})
    sums = torch.stack([(loss * weight).sum() for loss, weight in zip(losses, weights, strict=True)])
    totals = torch.stack([weight.sum() for weight in weights])
    expected = sums.sum() / totals.sum() if per == "token" else (sums / totals).mean()
    together = share(weighted, vlm) if shared else [one for row in weighted for one in share([row], vlm)]
    batch = collate(together, vlm.pad_token_id, "right")
    torch.testing.assert_close(answer_loss(vlm.model, batch, per=per), expected, rtol=1e-5, atol=1e-6)
    assert weights_of(batch).tolist() == torch.cat(weights).tolist()


def test_weights_stand_on_the_tokens_of_the_name(vlm: VisionLanguageModel):
    answer = "It is a Fish Crow, a black bird."
    (name,) = name_ranges(answer, ["Crow", "Fish Crow"])
    prompt = encode(vlm, "Name it.", None)
    row = with_weights(vlm, with_answer(vlm, prompt, answer), answer, [name], 8.0)
    heavy = row["input_ids"][row["weights"] == 8.0]
    assert str(vlm.tokenizer.decode(heavy)).strip() == "Fish Crow"
    assert bool((row["weights"][row["weights"] != 8.0] == 1.0).all())


def test_the_loss_is_that_of_transformers(vlm: VisionLanguageModel, rows: list[Row]):
    for row in rows:
        plain = answer_loss(vlm.model, share([row], vlm)[0])
        torch.testing.assert_close(plain, vlm.model(**row).loss, rtol=1e-5, atol=1e-6)


def test_every_labelled_token_is_predicted_by_its_own_branch(vlm: VisionLanguageModel, rows: list[Row]):
    same = [rows[0], rows[0]]  # the prefix could cover the whole question
    (shared,) = share(same, vlm)
    labelled = shared["labels"][0] != IGNORED
    assert int(labelled.sum()) == 2 * int((rows[0]["labels"] != IGNORED).sum())
    first = labelled.nonzero()[0, 0]
    assert shared["segments"][0, first - 1] == 1


def test_rows_without_a_common_image_stay_alone(vlm: VisionLanguageModel, rows: list[Row]):
    text = [encode_answered(vlm, "Say yes.", "Yes.", None) for _ in range(2)]
    assert len(share(text, vlm)) == 2
    assert len(share([rows[0], text[0]], vlm)) == 2


def test_encode_all_equals_encode(vlm: VisionLanguageModel):
    image = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    for row, query in zip(encode_all(vlm, QUERIES, image), QUERIES, strict=True):
        expected = encode(vlm, query, image)
        assert row.keys() == expected.keys()
        assert all(torch.equal(row[name], expected[name]) for name in row)
