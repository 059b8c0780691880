"""The likelihood of answers: against the plain forward pass, shared and separate, and what is not scored."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.chat import encode
from seewhy.vlm.loss import answer_likelihoods
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

QUESTION = "What is the name of this bird?"


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("model")), device="cpu")


def opened(path: str) -> Image.Image:
    pixels = np.random.default_rng(len(path)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def turns() -> list[Turn]:
    return [
        Turn("1", "a", QUESTION, "This is a Fish Crow."),
        Turn("2", "a", QUESTION, "It has a red crest, a yellow bill and black wings."),
        Turn("3", "a", "Describe the bird, only the bird.", "The bird has a long tail."),
        Turn("4", "bb", QUESTION, "This is a Fish Crow."),
        Turn("5", "", "Name it and say why.", "An eye ring."),
    ]


def plainly(vlm: VisionLanguageModel, turn: Turn) -> tuple[float, int]:
    """Token by token, without labels, batches or positions of ours."""
    prompt = encode(vlm, turn.query, opened(turn.image) if turn.image else None)
    text = vlm.render(turn.query, image=bool(turn.image))
    ids = vlm.token_ids(f"{text} {turn.answer}")[len(vlm.token_ids(text)) :]
    nats = 0.0
    with torch.inference_mode():
        for place, token in enumerate(ids):
            input_ids = torch.cat([prompt["input_ids"], torch.tensor([ids[:place]], dtype=torch.long)], dim=1)
            pixels = {"pixel_values": prompt["pixel_values"]} if turn.image else {}
            logits_V = vlm.model(input_ids=input_ids, **pixels).logits[0, -1]
            nats -= float(torch.log_softmax(logits_V.double(), -1)[token])
    return nats, len(ids)


def test_it_is_what_the_model_says_token_by_token(vlm: VisionLanguageModel):
    for turn, found in zip(turns(), answer_likelihoods(vlm, turns(), 3, opened), strict=True):
        assert found == pytest.approx(plainly(vlm, turn), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_shared_and_separate_are_equal(vlm: VisionLanguageModel, batch_size: int):
    shared = answer_likelihoods(vlm, turns(), batch_size, opened)
    separate = answer_likelihoods(vlm, turns(), batch_size, opened, share_image=False)
    assert [tokens for _, tokens in shared] == [tokens for _, tokens in separate]
    assert [nats for nats, _ in shared] == pytest.approx([nats for nats, _ in separate], rel=1e-5)


def test_one_image_is_opened_once_where_it_is_shared(vlm: VisionLanguageModel):
    paths: list[str] = []

    def counting(opener: Callable[[str], Image.Image]) -> Callable[[str], Image.Image]:
        return lambda path: paths.append(path) or opener(path)

    answer_likelihoods(vlm, turns(), 16, counting(opened))
    assert paths == ["a", "bb"]
    paths.clear()
    answer_likelihoods(vlm, turns(), 16, counting(opened), share_image=False)
    assert paths == ["a", "a", "a", "bb"]


def test_the_same_call_has_the_same_bits(vlm: VisionLanguageModel):
    assert answer_likelihoods(vlm, turns(), 4, opened) == answer_likelihoods(vlm, turns(), 4, opened)


def test_what_is_no_text_is_not_scored(vlm: VisionLanguageModel, caplog: pytest.LogCaptureFixture):
    answers = ["", "  ", "A <image> of a bird.", "This is a Fish Crow."]
    given = [Turn(str(i), "a", QUESTION, answer) for i, answer in enumerate(answers)]
    with caplog.at_level(logging.WARNING):
        found = answer_likelihoods(vlm, given, 16, opened)
    assert found[:3] == [(0.0, 0)] * 3
    assert found[3] == pytest.approx(answer_likelihoods(vlm, given[3:], 1, opened)[0], rel=1e-5)
    assert "1 of 4 answers hold a special token" in caplog.text
    assert answer_likelihoods(vlm, given[:3], 16, opened) == [(0.0, 0)] * 3
    assert answer_likelihoods(vlm, [], 16, opened) == []


def test_a_marker_in_the_question_is_an_error(vlm: VisionLanguageModel):
    with pytest.raises(SeeWhyError, match="<image>"):
        answer_likelihoods(vlm, [Turn("1", "a", "What is <image>?", "A crow.")], 16, opened)


def test_a_turn_that_is_too_long_is_named(vlm: VisionLanguageModel):
    with pytest.raises(SeeWhyError, match="Turn 7 has"):
        answer_likelihoods(vlm, [Turn("7", "a", QUESTION, "a long tail, " * 200)], 16, opened)
