"""A stage leaves a GPU's memory as it found it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seewhy.config import AugmentConfig, ModelConfig, TuneConfig
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run.models import Loaded, give_back_memory
from seewhy.vlm.tuning import tune

CONFIG = TuneConfig(
    epochs=1, learning_rate=1e-2, batch_size=6, micro_batch_size=3, lora_rank=4, lora_alpha=8, augment=AugmentConfig()
)
SLACK = 2**20
"""Bytes: torch's own workspaces, of which a first use leaves some."""


@pytest.fixture
def loaded(device: str, folders: Callable[[str], Path]) -> Loaded:
    if device != "cuda":
        pytest.skip("measures a GPU's memory")
    base = folders("llava")
    return Loaded(ModelConfig(device=device, batch_size=4), base, base / "log.txt")


def sample_and_release(loaded: Loaded, turns: list[Turn]) -> int:
    """Bytes that were allocated while the model was there."""
    prompts = [Prompt(turn.id, turn.image, turn.query) for turn in turns]
    loaded.in_process(loaded.base).sample(prompts, Sampling(samples=2, temperature=1.0, max_new_tokens=8), 0)
    held = torch.cuda.memory_allocated()
    loaded.release()
    return held


def test_sampling_and_tuning_give_back_all_they_took(loaded: Loaded, turns: list[Turn], tmp_path: Path):
    sample_and_release(loaded, turns)  # cuBLAS takes its workspace for good
    before = torch.cuda.memory_allocated()
    for number in range(2):
        assert sample_and_release(loaded, turns) > before
        assert torch.cuda.memory_allocated() == before
        tune(loaded.model(loaded.base), turns, CONFIG, tmp_path / str(number), seed=0)
        give_back_memory()
        assert torch.cuda.memory_allocated() <= before + SLACK
