from pathlib import Path

import pytest
from PIL import Image

from families import FAMILIES, no_torchvision
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.chat import encode_answered
from seewhy.vlm.data import drop_too_long, image_tokens
from seewhy.vlm.model import VisionLanguageModel

SIZES = {"square": (32, 32), "wide": (96, 32), "large": (128, 128), "": (0, 0)}


def opener(path: str) -> Image.Image:
    return Image.new("RGB", SIZES[path], "red")


@pytest.fixture(params=FAMILIES)
def vlm(request: pytest.FixtureRequest, tmp_path: Path) -> VisionLanguageModel:
    with no_torchvision():
        return VisionLanguageModel.load(FAMILIES[request.param](tmp_path), device="cpu")


def tokens(vlm: VisionLanguageModel, turn: Turn) -> int:
    image = opener(turn.image) if turn.image else None
    return encode_answered(vlm, turn.query, turn.answer, image)["input_ids"].shape[1]


def test_a_turn_fits_where_its_real_row_does(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch):
    turns = [Turn(f"{image}{n}", image, "Name it.", "A crow. " * n) for image in SIZES for n in (1, 4, 9, 16)]
    lengths = {turn.id: tokens(vlm, turn) for turn in turns}
    monkeypatch.setattr(VisionLanguageModel, "max_length", sorted(set(lengths.values()))[-2])
    with pytest.warns(UserWarning, match=rf"of {len(turns)} turns have more than the {vlm.max_length} tokens"):
        kept = drop_too_long(vlm, turns, opener)
    assert kept == [turn for turn in turns if lengths[turn.id] <= vlm.max_length]


def test_an_image_that_leaves_no_place_is_named(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(VisionLanguageModel, "max_length", image_tokens(vlm, opener)("large"))
    with pytest.raises(SeeWhyError, match=r"Image large alone is .* tokens"):
        drop_too_long(vlm, [Turn("a", "", "Q", "A"), Turn("b", "large", "Q", "A")], opener)


def test_nothing_that_fits_is_an_error(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(VisionLanguageModel, "max_length", 3)
    with pytest.raises(SeeWhyError, match="nothing to tune on: each of the 1 has more than the 3 tokens"):
        drop_too_long(vlm, [Turn("a", "", "Name it.", "A crow.")], opener)


def test_all_fit_and_nothing_is_said(vlm: VisionLanguageModel, recwarn: pytest.WarningsRecorder):
    turns = [Turn(image, image, "Name it.", "A crow.") for image in SIZES]
    assert drop_too_long(vlm, turns, opener) == turns
    assert not [w for w in recwarn if "left out" in str(w.message)]
