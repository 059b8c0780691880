"""Tuning on a GPU: by an adapter in bfloat16, in 4 bits, with gradient checkpointing, and what is left is loaded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seewhy.config import AugmentConfig, TuneConfig
from seewhy.records import Prompt, Sampling, Turn
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.tuning import tune

pytestmark = pytest.mark.gpu

Load = Callable[..., VisionLanguageModel]

PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)
CONFIG = TuneConfig(
    epochs=2, learning_rate=1e-2, batch_size=6, micro_batch_size=3, lora_rank=4, lora_alpha=8, lora_dropout=0.0,
    augment=PLAIN,
)  # fmt: skip


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tuned_model_is_loaded_and_answers(load: Load, device: str, turns: list[Turn], tmp_path: Path, dtype: str):
    model = tune(load("llava", dtype), turns, CONFIG, tmp_path, seed=0)
    again = VisionLanguageModel.load(model, device=device, dtype=dtype)
    assert str(again.model.dtype) == f"torch.{dtype}"
    prompts = [Prompt(turn.id, turn.image, turn.query) for turn in turns]
    texts = BatchSampler(again, 8).sample(prompts, Sampling(max_new_tokens=8), 0)
    assert [len(answers) for answers in texts] == [1] * len(turns)


def test_checkpointed_activations_give_the_same_adapter(load: Load, turns: list[Turn], tmp_path: Path):
    adapters = []
    for checkpointing in (False, True):
        folder = tmp_path / str(checkpointing)
        config = replace(CONFIG, gradient_checkpointing=checkpointing)
        tune(load("llava", "float32"), turns, config, folder, seed=0)
        adapters.append(adapter_of(folder))
    plain, checkpointed = adapters
    apart = sum(float((plain[name] - checkpointed[name]).square().sum()) for name in plain)
    whole = sum(float(plain[name].square().sum()) for name in plain)
    assert (apart / whole) ** 0.5 < 1e-2  # AdamW's first steps make much of small gradients


@pytest.mark.parametrize("family", ["llava", "qwen25_vl"])
def test_checkpointing_in_bfloat16(load: Load, turns: list[Turn], tmp_path: Path, family: str):
    tune(load(family, "bfloat16"), turns, replace(CONFIG, gradient_checkpointing=True), tmp_path, seed=0)
    trained = adapter_of(tmp_path)
    assert all(bool(weight.isfinite().all()) for weight in trained.values())
    assert any(bool(weight.any()) for name, weight in trained.items() if "lora_B" in name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_qlora(load: Load, turns: list[Turn], tmp_path: Path, checkpointing: bool):  # noqa: FBT001
    pytest.importorskip("bitsandbytes")
    config = replace(CONFIG, method="qlora", gradient_checkpointing=checkpointing)
    model = tune(load("smolvlm", "bfloat16", four_bit=True), turns, config, tmp_path, seed=0)
    weights: dict[str, Any] = load_file(model / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert any(bool(weight.any()) for name, weight in adapter_of(tmp_path).items() if "lora_B" in name)


def test_full_tuning(load: Load, turns: list[Turn], tmp_path: Path):
    model = tune(load("llava", "bfloat16"), turns, replace(CONFIG, method="full", learning_rate=1e-3), tmp_path, seed=0)
    assert (model / "model.safetensors").exists()
