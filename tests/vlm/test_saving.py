"""No round is tuned that cannot be saved."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, Trainer

from seewhy.config import TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.tuning import tune
from tiny import tiny_llava

CONFIG = TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=2, lora_alpha=4)


def base(folder: Path, **sampling: Any) -> Path:
    """A tiny LLaVA with more in its generation_config.json."""
    path = tiny_llava(folder) / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **sampling}))
    return folder


def turns(folder: Path) -> list[Turn]:
    Image.new("RGB", (40, 40), "red").save(folder / "red.png")
    return [Turn(str(n), str(folder / "red.png"), f"Name it {n}.", "A crow.") for n in range(4)]


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize(
    "sampling", [{"temperature": 0.2}, {"top_p": 0.9, "top_k": 1, "do_sample": False}, {"length_penalty": 2.0}]
)
def test_a_base_that_asks_for_a_temperature_but_not_to_sample(tmp_path: Path, sampling: dict[str, Any], method: Any):
    """LLaVA-1.5 and others: transformers loads such a file with a warning, and refuses to write it."""
    untuned = VisionLanguageModel.load(base(tmp_path / "base", **sampling, eos_token_id=[1, 7]), device="cpu")
    ends = untuned.stop_token_ids
    model = tune(untuned, turns(tmp_path), replace(CONFIG, method=method), tmp_path / "out", seed=0)
    again = VisionLanguageModel.load(model, device="cpu")
    assert again.stop_token_ids == ends == [1, 7]
    saved = json.loads((model / "generation_config.json").read_text())
    assert not sampling.keys() & saved.keys() - {"do_sample"}


def test_a_generation_config_that_can_be_saved_stays(tmp_path: Path):
    folder = base(tmp_path / "base", do_sample=True, temperature=0.2)
    vlm = VisionLanguageModel.load(folder, device="cpu")
    untouched = AutoModelForImageTextToText.from_pretrained(folder).generation_config
    assert vlm.model.generation_config == untouched


def test_what_cannot_be_saved_is_found_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vlm = VisionLanguageModel.load(base(tmp_path / "base"), device="cpu")
    vlm.processor.tokenizer.init_kwargs["odd"] = object()  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(Trainer, "train", Mock(side_effect=AssertionError("a step was taken")))
    with pytest.raises(SeeWhyError, match=r"base cannot be tuned: .*TypeError: .* Mend .*tokenizer_config\.json"):
        tune(vlm, turns(tmp_path), CONFIG, tmp_path / "out", seed=0)
