"""Heat where only one patch can matter, the grid of other families, and who is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from families import FAMILIES, no_torchvision
from seewhy.errors import SeeWhyError
from seewhy.vlm.attribution import (
    GREY,
    _answer_log_probs,
    _tokens_of,
    can_attribute,
    gradient,
    occlusion,
    patch_grid,
    seen_region,
)
from seewhy.vlm.chat import answer_ids, encode, encode_answered
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

QUESTION, ANSWER = "Name it and say why.", "This is a Fish Crow. It has a red crest and a yellow bill."
WORDS = [(ANSWER.index(w), ANSWER.index(w) + len(w)) for w in ("Fish", "Crow", "red", "crest", "yellow", "bill")]
TARGETS = [[span] for span in WORDS]
SEEN = 6
"""The one patch of 16 that reaches the language model."""


@pytest.fixture
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def short_sighted(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    """A tower whose patches know nothing of each other, and a projector that passes one of them on."""
    vlm = VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("base")), device="cpu")
    torch.manual_seed(0)
    for parameter in vlm.model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    for layer in vlm.model.model.vision_tower.modules():
        if type(layer).__name__ == "CLIPEncoderLayer":
            for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
                torch.nn.init.zeros_(linear.weight)
                torch.nn.init.zeros_(linear.bias)

    projector = vlm.model.model.multi_modal_projector
    grey_PE: list[torch.Tensor] = []
    hook = projector.register_forward_hook(lambda _module, _args, patches_1PE: grey_PE.append(patches_1PE[0]))
    with torch.inference_mode():
        vlm.model(**encode(vlm, QUESTION, Image.new("RGB", (32, 32), GREY)))
    hook.remove()

    def one(_module, _args, patches_BPE):
        """Every other patch looks as the one would in grey: what occlusion and the gradient both start from."""
        blind = grey_PE[0][SEEN].clone().expand_as(patches_BPE).clone()
        blind[:, SEEN] = patches_BPE[:, SEEN]
        return blind

    projector.register_forward_hook(one)
    return vlm


def test_heat_is_where_the_model_looks(short_sighted: VisionLanguageModel, noise: Image.Image):
    slow = occlusion(short_sighted, QUESTION, noise, ANSWER, TARGETS, batch_size=5).reshape(len(TARGETS), 16)
    elsewhere = np.arange(16) != SEEN
    assert np.abs(slow[:, elsewhere]).max() < 1e-4
    told = slow[:, SEEN] > 1e-2
    assert told.sum() >= 2  # words that the patch speaks for
    fast = gradient(short_sighted, QUESTION, noise, ANSWER, TARGETS, steps=32)
    assert fast.shape == (len(TARGETS), 4, 4)
    assert (fast >= 0).all()
    assert (fast.reshape(len(TARGETS), 16)[told].argmax(1) == SEEN).all()


def test_larger_blocks_reach_their_neighbours(short_sighted: VisionLanguageModel, noise: Image.Image):
    slow = occlusion(short_sighted, QUESTION, noise, ANSWER, TARGETS, block=3)
    row, column = divmod(SEEN, 4)
    near = np.zeros((4, 4), bool)
    near[row - 1 : row + 2, column - 1 : column + 2] = True
    assert slow[:, ~near].max() < 1e-4
    assert (slow[:, near].max(0) > 0).all()


def test_attribution_leaves_the_model_as_it_was(short_sighted: VisionLanguageModel, noise: Image.Image):
    first = gradient(short_sighted, QUESTION, noise, ANSWER, TARGETS)
    assert all(parameter.grad is None for parameter in short_sighted.model.parameters())
    assert np.array_equal(first, gradient(short_sighted, QUESTION, noise, ANSWER, TARGETS))
    assert not short_sighted.model.get_decoder()._forward_pre_hooks


def test_log_probs_are_those_of_the_whole_sequence(short_sighted: VisionLanguageModel, noise: Image.Image):
    row = encode_answered(short_sighted, QUESTION, ANSWER, noise)
    length = len(answer_ids(short_sighted, ANSWER))
    inputs = {name: tensor for name, tensor in row.items() if name != "labels"}
    with torch.inference_mode():
        logp_TV = torch.log_softmax(short_sighted.model(**inputs).logits[0].float(), -1)
        expected = logp_TV[-length - 1 : -1].gather(-1, row["input_ids"][0, -length:, None])[:, 0]
        torch.testing.assert_close(_answer_log_probs(short_sighted, row, length)[0], expected)


def test_tokens_of_a_word_are_its_own(short_sighted: VisionLanguageModel):
    ids = answer_ids(short_sighted, ANSWER)
    for start, end in WORDS:
        found = [ids[n] for n in _tokens_of(short_sighted, ANSWER, [(start, end)])]
        assert str(short_sighted.tokenizer.decode(found)).strip() == ANSWER[start:end]


def test_no_targets(short_sighted: VisionLanguageModel, noise: Image.Image):
    assert gradient(short_sighted, QUESTION, noise, ANSWER, []).shape == (0, 4, 4)
    assert occlusion(short_sighted, QUESTION, noise, ANSWER, []).shape == (0, 4, 4)


def test_the_middle_of_a_long_photo_is_seen(short_sighted: VisionLanguageModel):
    assert seen_region(short_sighted, (200, 100)) == (50, 0, 150, 100)
    assert seen_region(short_sighted, (32, 64)) == (0, 16, 32, 48)


@pytest.mark.parametrize(
    ("family", "grid"),
    [("llava", (4, 4)), ("qwen25_vl", (2, 4)), ("qwen3_vl", (2, 4)), ("gemma3", (4, 4)), ("fast_vlm", (4, 4))],
)
def test_families_with_one_grid(family: str, grid: tuple[int, int], tmp_path: Path):
    with no_torchvision():
        vlm = VisionLanguageModel.load(FAMILIES[family](tmp_path), device="cpu")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8))
    assert can_attribute(vlm, image) is None
    assert patch_grid(vlm, encode(vlm, QUESTION, image)) == grid
    heat = gradient(vlm, QUESTION, image, ANSWER, TARGETS, steps=2)
    assert heat.shape == (len(TARGETS), *grid)
    assert (heat > 0).any()
    assert occlusion(vlm, QUESTION, image, ANSWER, TARGETS[:1]).shape == (1, *grid)


@pytest.mark.parametrize("family", ["llava_next", "smolvlm", "internvl"])
def test_tiles_are_refused(family: str, tmp_path: Path):
    with no_torchvision():
        vlm = VisionLanguageModel.load(FAMILIES[family](tmp_path), device="cpu")
    image = Image.new("RGB", (32, 16), "red")
    assert "not available for the processor" in (can_attribute(vlm, image) or "")
    with pytest.raises(SeeWhyError, match="not one grid of patches"):
        gradient(vlm, QUESTION, image, ANSWER, TARGETS)
