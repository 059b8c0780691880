"""Tests on a GPU: `pytest -m gpu tests/gpu`. SEEWHY_GPU_TESTS_DEVICE=cpu runs those that a CPU can on it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from families import FAMILIES, no_torchvision
from seewhy.records import Turn
from seewhy.vlm.model import VisionLanguageModel

QUESTIONS = ("Name it.", "Describe the bird, only the bird.", "Which bird is it, and why?")
ANSWERS = ("A Fish Crow.", "It has a red crest and a long tail.", "A red crest, so a Fish Crow.")

Load = Callable[..., VisionLanguageModel]


@pytest.fixture(scope="session")
def device() -> str:
    """Where the tests run. Skips them where there is no GPU."""
    asked = os.environ.get("SEEWHY_GPU_TESTS_DEVICE", "cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch sees no CUDA device")
    return asked


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is float32 here is that on a GPU too, where torch lets convolutions round to 10 bits (TF32)."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(autouse=True)
def _no_videos() -> Iterator[None]:
    """Processors are made, read and written without the part for videos, whether or not torchvision is there."""
    with no_torchvision():
        yield


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a tiny model of a family lies, which is made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = FAMILIES[family](tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture
def load(device: str, folders: Callable[[str], Path]) -> Load:
    """Loads a tiny model of a family onto the device."""

    def loaded(family: str, dtype: str, **settings: Any) -> VisionLanguageModel:
        return VisionLanguageModel.load(folders(family), device=device, dtype=dtype, **settings)

    return loaded


@pytest.fixture(scope="session")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[Turn]:
    """Three questions, with their answers, about each of two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    made = []
    for number in range(2):
        path = folder / f"{number}.png"
        Image.linear_gradient("L").resize((32, 32)).rotate(90 * number).convert("RGB").save(path)
        made += [
            Turn(f"{number}/{place}", str(path), query, answer)
            for place, (query, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True))
        ]
    return made
