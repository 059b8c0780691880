"""Tuning in 4 bits and in full: what is trained, what is left, and that a killed run ends with the same bytes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

import tune_once
from families import FAMILIES, no_torchvision
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.adapter import add_adapter, train_in_full
from seewhy.vlm.loading import is_four_bit
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.tuning import tune
from tiny import tiny_llava
from tune_once import Killed, dying

CONFIG = tune_once.CONFIG


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("base"))


def trained_names(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("projector", "vision_tower", "frozen"),
    [
        ("full", "frozen", {"model.vision_tower"}),
        ("frozen", "frozen", {"model.vision_tower", "model.multi_modal_projector"}),
        ("full", "full", set()),
    ],
)
def test_what_is_trained_in_full(base: Path, projector: Any, vision_tower: Any, frozen: set[str]):
    vlm = VisionLanguageModel.load(base, device="cpu", dtype="bfloat16")
    train_in_full(vlm.model, projector=projector, vision_tower=vision_tower)
    left = {name for name, _ in vlm.model.named_parameters()} - trained_names(vlm.model)
    assert left == {name for name, _ in vlm.model.named_parameters() if name.startswith(tuple(frozen) or "none")}
    assert "lm_head.weight" in trained_names(vlm.model)
    assert {parameter.dtype for parameter in vlm.model.parameters()} == {torch.float32}


def test_qwens_merger_is_the_projector_not_the_tower(tmp_path: Path):
    with no_torchvision():
        model = VisionLanguageModel.load(FAMILIES["qwen3_vl"](tmp_path), device="cpu").model
    train_in_full(model, projector="full", vision_tower="frozen")
    visual = {name for name in trained_names(model) if name.startswith("model.visual.")}
    assert visual
    assert all("merger" in name for name in visual)


def test_lora_in_the_tower_needs_an_adapter(base: Path, tmp_path: Path):
    vlm = VisionLanguageModel.load(base, device="cpu")
    with pytest.raises(SeeWhyError, match=r"tune.vision_tower: lora needs an adapter"):
        tune(vlm, tune_once.turns(base), replace(CONFIG, method="full", vision_tower="lora"), tmp_path, seed=0)


def load(base: Path, method: str, dtype: str = "float32") -> VisionLanguageModel:
    return VisionLanguageModel.load(base, device="cpu", dtype=dtype, four_bit=method == "qlora")


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_killed_and_started_again_gives_the_same_bytes(base: Path, tmp_path: Path, method: Any):
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    config = replace(CONFIG, method=method)
    expected = tune(load(base, method), tune_once.turns(base), config, tmp_path / "whole", seed=3)
    with dying(3), pytest.raises(Killed):
        tune(load(base, method), tune_once.turns(base), config, tmp_path / "killed", seed=3)
    assert [path.name for path in (tmp_path / "killed/checkpoints").iterdir()] == ["checkpoint-2"]
    actual = tune(load(base, method), tune_once.turns(base), config, tmp_path / "killed", seed=3)
    assert (actual / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert (actual.parent / "adapter").exists() == (method == "qlora")
    assert not (actual.parent / "checkpoints").exists()


def test_full_tuning_in_bfloat16_trains_in_float32(base: Path, tmp_path: Path):
    vlm = load(base, "full", "bfloat16")
    before = {name: weight.clone() for name, weight in vlm.model.state_dict().items()}
    model = tune(vlm, tune_once.turns(base), replace(CONFIG, method="full"), tmp_path, seed=0)
    after = VisionLanguageModel.load(model, device="cpu", dtype="bfloat16").model.state_dict()
    assert {t.dtype for t in load_file(model / "model.safetensors").values()} == {torch.bfloat16}
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert {"lm_head.weight", "model.language_model.embed_tokens.weight"} <= changed
    assert not any(name.startswith("model.vision_tower.") for name in changed)


@pytest.fixture
def four_bit(base: Path) -> VisionLanguageModel:
    pytest.importorskip("bitsandbytes")
    return load(base, "qlora")


def test_only_the_language_models_linear_layers_are_folded(base: Path, four_bit: VisionLanguageModel):
    linears = {name for name, module in load(base, "lora").model.named_modules() if type(module) is nn.Linear}
    folded = {name for name, module in four_bit.model.named_modules() if is_four_bit(module)}
    assert folded == {name for name in linears if name.startswith("model.language_model.")}
    weight: Any = four_bit.model.get_submodule("model.language_model.layers.0.mlp.up_proj").weight
    assert weight.dtype == torch.uint8
    assert weight.numel() == 32 * 64 / 2  # two weights a byte


def test_the_same_layers_are_adapted_in_four_bits(base: Path, four_bit: VisionLanguageModel):
    whole, folded = (add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0) for vlm in (load(base, "lora"), four_bit))
    assert trained_names(whole) == trained_names(folded)


def test_a_4_bit_adapter_is_merged_into_the_weights_it_came_from(
    base: Path, four_bit: VisionLanguageModel, tmp_path: Path
):
    before = load(base, "lora").model.state_dict()
    turns = tune_once.turns(base)
    model = tune(four_bit, turns, replace(CONFIG, method="qlora"), tmp_path, seed=0)
    adapted = PeftModel.from_pretrained(load(base, "lora").model, str(tmp_path / "adapter"))  # pyright: ignore
    merged = VisionLanguageModel.load(model, device="cpu")
    for name, delta in deltas(adapted).items():
        torch.testing.assert_close(merged.model.state_dict()[name], before[name] + delta, rtol=1e-5, atol=1e-6)
        assert delta.abs().max() > 0
    prompts = [Prompt(turn.id, turn.image, turn.query) for turn in turns[:4]]
    tuned: Any = adapted.eval().base_model.model
    beside = VisionLanguageModel(merged.name, tuned, merged.processor)
    answers = [BatchSampler(vlm, 4).sample(prompts, Sampling(max_new_tokens=12), 0) for vlm in (merged, beside)]
    assert answers[0] == answers[1]
    assert "quantization_config" not in json.loads((model / "config.json").read_text())


def deltas(adapted: Any) -> dict[str, torch.Tensor]:
    """Base weight's name -> what the adapter adds to it."""
    return {
        f"{name.removeprefix('base_model.model.')}.weight": module.get_delta_weight("default")
        for name, module in adapted.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def test_qlora_without_bitsandbytes_names_the_extra(base: Path):
    with patch.dict("sys.modules", {"bitsandbytes": None}), pytest.raises(SeeWhyError, match=r"seewhy\[qlora\]"):
        load(base, "qlora")
