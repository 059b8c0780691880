"""Processors of older LLaVA folders, which do not say how many tokens an image is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from families import tiny_fast_vlm, tiny_llava_next
from seewhy.errors import SeeWhyError
from seewhy.vlm.chat import encode
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

GAPS = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")


def lessen(folder: Path, file: str, *keys: str) -> None:
    path = folder / file
    settings: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in settings.items() if key not in keys}))


@pytest.mark.parametrize("make", [tiny_llava, tiny_llava_next])
@pytest.mark.parametrize("gaps", [GAPS, GAPS[:1], GAPS[1:], GAPS[2:], ()])
def test_what_the_configuration_says_is_filled_in(tmp_path: Path, make: Any, gaps: tuple[str, ...]):
    folder = make(tmp_path / "base")
    image = Image.new("RGB", (40, 30), "red")
    expected = encode(VisionLanguageModel.load(folder, device="cpu"), "Name it.", image)
    lessen(folder, "processor_config.json", *gaps)
    vlm = VisionLanguageModel.load(folder, device="cpu")
    row = encode(vlm, "Name it.", image)
    assert torch.equal(row["input_ids"], expected["input_ids"])
    assert vlm.model(**row).logits.isfinite().all(), "the model finds as many features as the prompt has tokens"
    vlm.save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "processor_config.json").read_text())
    assert {key: saved[key] for key in GAPS} == {
        "patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1,
    }  # fmt: skip


def test_a_vision_tower_that_we_do_not_know_is_no_guess(tmp_path: Path):
    folder = tiny_llava(tmp_path / "base")
    vlm = VisionLanguageModel.load(folder, device="cpu")
    processor: Any = vlm.processor
    processor.patch_size, processor.num_additional_image_tokens = None, 0
    vlm.model.config.vision_config.model_type = "own_vision_model"
    with pytest.raises(SeeWhyError, match=r"lacks num_additional_image_tokens.*set it in processor_config.json"):
        vlm._check_processor()


def test_a_processor_that_fails_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vlm = VisionLanguageModel.load(tiny_llava(tmp_path / "base"), device="cpu")
    processor: Any = vlm.processor
    processor.patch_size = 0
    with pytest.raises(SeeWhyError, match=r"takes no image through its chat template and processor. .*zero"):
        vlm._check_processor()


@pytest.mark.parametrize("gaps", [GAPS, GAPS[:1], GAPS[1:]])
def test_an_efficientnets_stride_is_its_patch(tmp_path: Path, gaps: tuple[str, ...]):
    folder = tiny_fast_vlm(tmp_path / "base")
    lessen(folder, "processor_config.json", *gaps)
    vlm = VisionLanguageModel.load(folder, device="cpu")
    row = encode(vlm, "Name it.", Image.new("RGB", (40, 30), "red"))
    assert int((row["input_ids"] == vlm.image_token_id).sum()) == (128 // 32) ** 2
    assert vlm.model(**row).logits.isfinite().all()
