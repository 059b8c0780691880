"""A stage leaves a GPU's memory as it found it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seewhy.config import AugmentConfig, ModelConfig, TuneConfig
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run.models import Loaded, give_back_memory
from seewhy.vlm.tuning import tune

pytestmark = pytest.mark.gpu

CONFIG = TuneConfig(
    epochs=1, learning_rate=1e-2, batch_size=6, micro_batch_size=3, lora_rank=4, lora_alpha=8, augment=AugmentConfig()
)
MODEL = 70_000 * 2
"""Bytes of the tiny model's weights."""


@pytest.fixture
def loaded(device: str, folders: Callable[[str], Path]) -> Loaded:
    if device != "cuda":
        pytest.skip("measures a GPU's memory")
    base = folders("llava")
    return Loaded(ModelConfig(device=device, batch_size=4), base, base / "log.txt")


def sample(loaded: Loaded, turns: list[Turn]) -> int:
    """Bytes that are allocated while the model is there, before it is let go."""
    prompts = [Prompt(turn.id, turn.image, turn.query) for turn in turns]
    loaded.in_process(loaded.base).sample(prompts, Sampling(samples=2, temperature=1.0, max_new_tokens=8), 0)
    held = torch.cuda.memory_allocated()
    loaded.release()
    return held


def tune_base(loaded: Loaded, turns: list[Turn], folder: Path) -> None:
    tune(loaded.model(loaded.base), turns, CONFIG, folder, seed=0)
    give_back_memory()


def test_sampling_and_tuning_give_back_all_they_took(loaded: Loaded, turns: list[Turn], tmp_path: Path):
    sample(loaded, turns)
    tune_base(loaded, turns, tmp_path / "first")
    before = torch.cuda.memory_allocated()  # with the workspaces that cuBLAS takes for good
    for number in range(2):
        assert sample(loaded, turns) >= before + MODEL
        assert torch.cuda.memory_allocated() <= before + MODEL / 2
        tune_base(loaded, turns, tmp_path / str(number))
        assert torch.cuda.memory_allocated() <= before + MODEL / 2
