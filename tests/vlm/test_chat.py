from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.vlm.chat import IGNORED, answer_ids, collate, encode, encode_answered, open_image, special_token_in
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

IMAGE_TOKENS = 16  # 32 x 32 pixels in patches of 8


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("base")), device="cpu")


@pytest.fixture
def image() -> Image.Image:
    return Image.new("RGB", (50, 40), "red")


def test_question_is_rendered_by_the_chat_template(vlm: VisionLanguageModel):
    assert vlm.render("Name it.", image=True) == "<s>USER: <image>\nName it. ASSISTANT:"
    assert vlm.render("Name it.", image=False) == "<s>USER: Name it. ASSISTANT:"


def test_loss_is_on_the_answer_and_its_end_alone(vlm: VisionLanguageModel, image: Image.Image):
    row = encode_answered(vlm, "Name it.", "A Fish Crow.", image)
    labels = row["labels"][0]
    kept = labels[labels != IGNORED]
    assert vlm.tokenizer.decode(kept) == " A Fish Crow.</s>"  # with the template's space before it
    assert torch.equal(row["input_ids"][0][-len(kept) :], kept)  # at the row's end, each under its own token
    assert row["input_ids"][0].tolist().count(vlm.image_token_id) == IMAGE_TOKENS
    assert row["input_ids"][0].tolist().count(vlm.tokenizer.bos_token_id) == 1
    assert row["attention_mask"].all()
    assert row["attention_mask"].shape == row["labels"].shape == row["input_ids"].shape


def test_answer_is_tokenised_the_same_after_every_question(vlm: VisionLanguageModel, image: Image.Image):
    ids = answer_ids(vlm, "A crow.")
    for question in ("Name it.", "Why? "):
        assert encode_answered(vlm, question, "A crow.", image)["input_ids"][0, -len(ids) :].tolist() == ids


def test_an_answer_is_tokenised_as_the_chat_template_writes_it(vlm: VisionLanguageModel):
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Name it."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "The bird has a bill."}]},
    ]
    whole = vlm.tokenizer(vlm.processor.apply_chat_template(turns), add_special_tokens=False)["input_ids"]
    row = encode_answered(vlm, "Name it.", "The bird has a bill.", None)
    assert row["input_ids"][0].tolist() == whole


@pytest.mark.parametrize("side", ["left", "right"])
def test_collate_pads_and_mixes_rows_with_and_without_image(vlm: VisionLanguageModel, image: Image.Image, side: Any):
    with_image = encode_answered(vlm, "Name it.", "A crow.", image)
    without = encode_answered(vlm, "Say yes.", "Yes.", None)
    batch = collate([without, with_image, with_image], vlm.pad_token_id, side=side)
    short, long = without["input_ids"].shape[1], with_image["input_ids"].shape[1]
    assert batch["input_ids"].shape == (3, long)
    assert batch["pixel_values"].shape == (2, 3, 32, 32)
    kept = slice(long - short, None) if side == "left" else slice(0, short)
    padding = slice(0, long - short) if side == "left" else slice(short, None)
    assert batch["input_ids"][0, kept].tolist() == without["input_ids"][0].tolist()
    assert set(batch["input_ids"][0, padding].tolist()) == {vlm.pad_token_id}
    assert set(batch["labels"][0, padding].tolist()) == {IGNORED}
    assert not batch["attention_mask"][0, padding].any()


def test_a_mixed_batch_gives_each_row_its_own_logits(vlm: VisionLanguageModel):
    rows = [
        encode(vlm, "Name it.", Image.new("RGB", (32, 32), "red")),
        encode(vlm, "Say yes, and no more.", None),
        encode(vlm, "Why is it so?", Image.new("RGB", (32, 32), "blue")),
    ]
    with torch.inference_mode():
        alone = [vlm.model(**row).logits[0, -1] for row in rows]
        together = vlm.model(**collate(rows, vlm.pad_token_id, side="left")).logits[:, -1]
    for expected, actual in zip(alone, together, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert (alone[0] - alone[2]).abs().max() > 1e-3


def test_collate_pads_images_of_unequal_numbers_of_tiles():
    rows = [
        {"input_ids": torch.ones(1, 2, dtype=torch.long), "pixel_values": torch.ones(1, tiles, 3, 4, 4)}
        for tiles in (2, 5)
    ]
    pixels = collate(rows, 0, side="left")["pixel_values"]
    assert pixels.shape == (2, 5, 3, 4, 4)
    assert pixels[0, :2].eq(1).all()
    assert pixels[0, 2:].eq(0).all()
    assert pixels[1].eq(1).all()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a plain red crest", None),
        ("an <image> of it", "<image>"),
        ("the end</s>", "</s>"),
        ("a <pad> then <image>", "<pad>"),
        ("so. USER: and now", "USER:"),
        ("ASSISTANT: hello", "ASSISTANT:"),
        ("the user: an <IMAGE> and </S>", None),  # case counts
        ("User friendly, assistant too", None),
        ("Blaumeise, 山雀", None),
    ],
)
def test_special_token_in(vlm: VisionLanguageModel, text: str, found: str | None):
    assert special_token_in(vlm, text) == found


def test_text_with_a_marker_is_never_tokenised(vlm: VisionLanguageModel, image: Image.Image):
    with pytest.raises(SeeWhyError, match="'<image>'"):
        encode(vlm, "Name <image> it.", image)
    with pytest.raises(SeeWhyError, match="'</s>'"):
        answer_ids(vlm, "A crow.</s>")


def test_unreadable_images_are_named(tmp_path: Path):
    with pytest.raises(SeeWhyError, match="There is no image"):
        open_image(str(tmp_path / "none.png"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(SeeWhyError, match=r"broken.png cannot be read"):
        open_image(str(tmp_path / "broken.png"))
