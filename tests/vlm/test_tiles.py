"""`model.tiles: false` gives the model whole images alone, for every use alike and in what is saved."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from families import no_torchvision, tiny_smolvlm
from seewhy.config import ModelConfig, TuneConfig, decisive
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run.models import load_model
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.tuning import tune
from tiny import tiny_llava

PICTURE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
TOKENS = 4
"""Of one view."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_smolvlm(tmp_path_factory.mktemp("smolvlm"))


def image_tokens(vlm: VisionLanguageModel) -> int:
    processor: Any = vlm.processor
    inputs = processor(images=PICTURE, text=vlm.render("Name it.", image=True), return_tensors="pt")
    return int((inputs["input_ids"] == vlm.model.config.image_token_id).sum())


def test_the_whole_alone(folder: Path, tmp_path: Path) -> None:
    with no_torchvision():
        cut, whole = (load_model(ModelConfig(device="cpu", tiles=tiles), folder) for tiles in (True, False))
        assert image_tokens(cut) > image_tokens(whole) == TOKENS
        outline = VisionLanguageModel.outline(folder, dtype=torch.float32, tiles=False)
        assert image_tokens(outline) == TOKENS
        sampler = BatchSampler(whole, 4, lambda _path: PICTURE)
        prompts = [Prompt(str(n), "a", text) for n, text in enumerate(("Name it.", "What is it?"))]
        answers = sampler.sample(prompts, Sampling(max_new_tokens=4), 0)
        turns = [Turn(prompt.id, "a", prompt.text, "A crow.") for prompt in prompts]
        settings = TuneConfig(epochs=1, batch_size=2, lora_rank=4, learning_rate=1e-3)
        tuned = tune(whole, turns, settings, tmp_path, 0, lambda _path: PICTURE)
        again = VisionLanguageModel.load(tuned, device="cpu")
    assert len(answers) == 2
    assert image_tokens(again) == TOKENS  # of a tuned model whoever loads it


def test_a_model_without_the_choice_is_told(tmp_path: Path) -> None:
    with pytest.raises(SeeWhyError, match=r"model\.tiles is false, but .* has no choice of tiles"):
        load_model(ModelConfig(device="cpu", tiles=False), tiny_llava(tmp_path))


def test_runs_without_the_setting_are_not_stale() -> None:
    assert "tiles" not in decisive(ModelConfig())
    assert decisive(ModelConfig(tiles=False))["tiles"] is False
