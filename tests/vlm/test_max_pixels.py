"""`model.max_pixels` scales large images down for every use of a model alike, and leaves all others as they are."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch
from PIL import Image

from families import no_torchvision, tiny_qwen25_vl
from seewhy.config import AugmentConfig, EngineConfig, ModelConfig, RunConfig, SelectConfig
from seewhy.cost.tokens import Lengths, Workload
from seewhy.domain.questions import Questions
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run.models import load_model
from seewhy.vlm.attribution import gradient, seen_region
from seewhy.vlm.chat import encode
from seewhy.vlm.data import Schedule, image_tokens
from seewhy.vlm.loss import answer_likelihoods
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server.sampler import ServerSampler

LIMIT = 350
WIDE = Image.linear_gradient("L").resize((40, 20)).convert("RGB")
PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    """Eight tokens for `WIDE`, of which `LIMIT` leaves six."""
    with no_torchvision():
        return VisionLanguageModel.load(tiny_qwen25_vl(tmp_path_factory.mktemp("qwen")), device="cpu")


@pytest.fixture
def limited(whole: VisionLanguageModel) -> VisionLanguageModel:
    return replace(whole, max_pixels=LIMIT)


def opener(_path: str) -> Image.Image:
    return WIDE


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (2048, 100), (17, 16), (1200, 1)])
def test_area_and_shape(limited: VisionLanguageModel, size: tuple[int, int]):
    width, height = limited.limited(Image.new("RGB", size)).size
    assert width * height <= LIMIT or 1 in (width, height)
    assert abs(width / size[0] - height / size[1]) < max(1 / size[0], 1 / size[1])


def test_what_is_small_enough_is_the_same_image(whole: VisionLanguageModel, limited: VisionLanguageModel):
    small = Image.new("RGB", (16, 16))
    assert limited.limited(small) is small
    assert whole.limited(WIDE) is WIDE


def test_every_use_sees_the_smaller_image(whole: VisionLanguageModel, limited: VisionLanguageModel):
    assert [image_tokens(vlm, opener)("a") for vlm in (whole, limited)] == [10, 8]  # two of them around the image
    expected, small = encode(limited, "Name it.", WIDE), limited.limited(WIDE)
    by_hand = encode(whole, "Name it.", small)
    assert expected.keys() == by_hand.keys()
    assert all(torch.equal(expected[name], by_hand[name]) for name in expected)

    turns = [Turn("a", "a", "Name it.", "A crow.")]
    schedules = [
        Schedule(vlm, turns, pairs=1, epochs=1, changes=PLAIN, seed=0, opener=read)
        for vlm, read in ((limited, opener), (whole, lambda _: small))
    ]
    (ours,), (theirs,) = (schedule[0] for schedule in schedules)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert answer_likelihoods(limited, turns, 4, opener) == answer_likelihoods(whole, turns, 4, lambda _: small)

    prompts, greedy = [Prompt("a", "a", "Name it.")], Sampling(max_new_tokens=8)
    sampled = [BatchSampler(limited, 4, opener), BatchSampler(whole, 4, lambda _: small)]
    assert sampled[0].sample(prompts, greedy, 0) == sampled[1].sample(prompts, greedy, 0)

    heat = gradient(limited, "Name it.", WIDE, "A crow.", [[(0, 6)]])
    assert heat.shape == gradient(whole, "Name it.", small, "A crow.", [[(0, 6)]]).shape
    assert heat[0].size == 6 < gradient(whole, "Name it.", WIDE, "A crow.", [[(0, 6)]])[0].size
    assert seen_region(limited, WIDE.size) == (0, 0, 40, 20)  # of the image as it is, for the overlay


def test_a_server_is_sent_the_smaller_image(limited: VisionLanguageModel, tmp_path: Path):
    sampler = ServerSampler(
        lambda: BatchSampler(limited, 1, opener), limited.name, EngineConfig(kind="server"), tmp_path / "log", opener
    )
    with urlopen(sampler._image_url("a")) as sent:
        assert Image.open(BytesIO(sent.read())).size == limited.limited(WIDE).size


def test_the_plan_counts_its_tokens(whole: VisionLanguageModel, limited: VisionLanguageModel):
    work = Workload({"train": 1}, {WIDE.size: 1}, Questions.for_noun("bird"), {"Crow": ["black bill"] * 5})
    lengths = [Lengths.of(vlm, work, SelectConfig()) for vlm in (whole, limited)]
    assert lengths[0].prefix - lengths[1].prefix == 2
    assert lengths[0].patches > lengths[1].patches


def test_a_run_loads_its_models_with_it(whole: VisionLanguageModel):
    settings = ModelConfig(device="cpu", max_pixels=LIMIT)
    with no_torchvision():
        assert load_model(settings, Path(whole.name)).max_pixels == LIMIT
    assert RunConfig().model.max_pixels is None
