"""`tune.interpolate`: weights end on the line from those before tuning to those after, and so does what is exported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

import tune_once
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.tuning import tune
from tiny import tiny_llava


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("base"))


def load(path: Path, dtype: str = "float32") -> VisionLanguageModel:
    return VisionLanguageModel.load(path, device="cpu", dtype=dtype)


def tuned(base: Path, folder: Path, dtype: str = "float32", **changes: Any) -> dict[str, torch.Tensor]:
    config = replace(tune_once.CONFIG, **changes)
    four_bit = config.method == "qlora"
    vlm = VisionLanguageModel.load(base, device="cpu", dtype=dtype, four_bit=four_bit)
    return load(tune(vlm, tune_once.turns(base), config, folder, seed=0), dtype).model.state_dict()


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora"},
        {"method": "lora", "vision_tower": "full"},
        {"method": "lora", "vision_tower": "lora", "projector": "frozen"},
        {"method": "full"},
        {"method": "qlora"},
    ],
)
def test_a_share_of_the_change_of_every_weight_is_kept(base: Path, tmp_path: Path, settings: dict[str, Any]):
    if settings["method"] == "qlora":
        pytest.importorskip("bitsandbytes")
    start = load(base).model.state_dict()
    whole = tuned(base, tmp_path / "whole", **settings)
    part = tuned(base, tmp_path / "part", **settings, interpolate=0.25)
    changed = [name for name in start if not torch.equal(whole[name], start[name])]
    assert changed
    for name, before in start.items():
        torch.testing.assert_close(part[name], before + 0.25 * (whole[name] - before), rtol=1e-4, atol=1e-6)


def test_the_adapter_is_that_of_the_interpolated_model(base: Path, tmp_path: Path):
    part = tuned(base, tmp_path, interpolate=0.25)
    adapted: Any = PeftModel.from_pretrained(load(base).model, str(tmp_path / "adapter"))  # pyright: ignore
    for name, weight in adapted.merge_and_unload().state_dict().items():
        torch.testing.assert_close(weight, part[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_model_in_bfloat16_is_interpolated_before_it_is_rounded(base: Path, tmp_path: Path, method: str):
    start = load(base, "bfloat16").model.state_dict()
    whole = tuned(base, tmp_path / "whole", "bfloat16", method=method)
    part = tuned(base, tmp_path / "part", "bfloat16", method=method, interpolate=0.5)
    for name, before in start.items():
        assert part[name].dtype == torch.bfloat16
        torch.testing.assert_close(part[name].float(), (before.float() + whole[name].float()) / 2, rtol=1e-2, atol=2e-3)


def test_all_of_the_change_is_kept_to_the_last_bit(base: Path, tmp_path: Path):
    default = tuned(base, tmp_path / "default")
    said = tuned(base, tmp_path / "said", interpolate=1.0)
    assert all(torch.equal(default[name], said[name]) for name in default)
