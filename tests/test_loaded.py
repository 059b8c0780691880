"""One model at a time: what a stage leaves behind is given back before the next model is loaded."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seewhy.config import ModelConfig, TuneConfig
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run import loop
from seewhy.run.models import Loaded, load_model
from seewhy.vlm import sampling as sampling_module
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import PlainDecoder, SharedDecoder
from seewhy.vlm.tuning import tune
from tiny import tiny_llava
from tiny_run import tiny_run

SETTINGS = ModelConfig(device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("base"))


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    Image.new("RGB", (40, 32), "red").save(tmp_path / "red.png")
    return [Prompt(text, str(tmp_path / "red.png"), text) for text in ("Name it.", "Describe it.", "Why?")]


@pytest.mark.parametrize("decoder", [SharedDecoder, PlainDecoder])
def test_a_release_frees_model_and_cache(
    base: Path, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch, decoder: Any
):
    caches = []

    class Watched(decoder):
        def step(self, ids_B: torch.Tensor) -> None:
            super().step(ids_B)
            caches.append(weakref.ref(self.cache.layers[0].keys))
            if isinstance(self, SharedDecoder):
                caches.append(weakref.ref(self.prefix[0][0]))

    monkeypatch.setattr(sampling_module, decoder.__name__, Watched)
    reason = None if decoder is SharedDecoder else "of the test"
    monkeypatch.setattr(sampling_module, "why_not_shared", lambda model, use: reason)
    loaded = Loaded(SETTINGS, base, base / "log.txt")
    sampler = loaded.in_process(base)
    sampler.sample(prompts, Sampling(samples=2, temperature=1.0, max_new_tokens=5), 0)
    model, weights = weakref.ref(sampler.vlm.model), weakref.ref(sampler.vlm.model.get_input_embeddings().weight)
    del sampler
    assert caches
    assert model() is not None
    loaded.release()
    assert [ref for ref in (model, weights, *caches) if ref() is not None] == []


def test_the_next_model_is_loaded_when_the_tuned_one_is_gone(base: Path, prompts: list[Prompt], tmp_path: Path):
    """Whatever circles of references Trainer and adapter leave."""
    gc.disable()
    try:
        vlm = load_model(replace(SETTINGS, name_or_path=str(base)), base)
        model = weakref.ref(vlm.model)
        turns = [Turn(str(n), prompts[0].image, f"Name it {n}.", "A crow.") for n in range(4)]
        config = TuneConfig(epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=4)
        tuned = tune(vlm, turns, config, tmp_path, seed=0)
        del vlm
        loaded = Loaded(SETTINGS, base, base / "log.txt")
        loaded.in_process(tuned)
        assert model() is None
    finally:
        gc.enable()


@pytest.mark.slow
def test_a_run_holds_one_model_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first description to the last prediction, controls and figures included; and none when it is over."""
    alive: list[weakref.ref[VisionLanguageModel]] = []
    held: list[int] = []
    load = VisionLanguageModel.load

    def watched(*args: Any, **options: Any) -> VisionLanguageModel:
        held.append(sum(ref() is not None for ref in alive))
        vlm = load(*args, **options)
        alive.append(weakref.ref(vlm))
        return vlm

    monkeypatch.setattr(VisionLanguageModel, "load", watched)
    loop.run(tiny_run(tmp_path, rounds=2, controls=("nl",), train=2, test=1))
    assert len(held) > 6
    assert set(held) == {0}
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []
