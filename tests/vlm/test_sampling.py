from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm import draws
from seewhy.vlm import sampling as sampling_module
from seewhy.vlm.chat import encode, encode_all, open_image
from seewhy.vlm.draws import draw
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BLOCK, BatchSampler, PlainDecoder, SharedDecoder
from tiny import tiny_llava

QUESTIONS = ("Name it.", "Describe the bird, only the bird.", "Why?")
FREE = Sampling(samples=3, temperature=1.0, max_new_tokens=12)


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    vlm = VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("base")), device="cpu")
    torch.manual_seed(0)
    for parameter in vlm.model.model.language_model.parameters():  # enough for each question to be told from the others
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    return vlm


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    made = []
    for colour in ("red", "blue"):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (40, 32), colour).save(path)
        made += [Prompt(f"{colour}/{question}", str(path), question) for question in QUESTIONS]
    return [*made, Prompt("text alone", "", "Say yes.")]


@pytest.mark.parametrize("share_image", [True, False])
@pytest.mark.parametrize("batch_size", [2, 12])
def test_greedy_equals_generate(vlm: VisionLanguageModel, prompts: list[Prompt], batch_size: int, share_image: bool):  # noqa: FBT001
    """Shared images, left padding and a cache that outgrows its first block change nothing."""
    tokens = BLOCK + 10
    sampler = BatchSampler(vlm, batch_size, share_image=share_image)
    texts = sampler.sample(prompts, Sampling(max_new_tokens=tokens), 0)
    model: Any = vlm.model
    expected = []
    for prompt in prompts:
        row = encode(vlm, prompt.text, open_image(prompt.image) if prompt.image else None)
        ids = model.generate(**row, max_new_tokens=tokens, do_sample=False)[0, row["input_ids"].shape[1] :].tolist()
        ids = ids[: ids.index(vlm.end_token_id)] if vlm.end_token_id in ids else ids
        expected.append([str(vlm.tokenizer.decode(ids)).strip()])
    assert texts == expected
    assert len({text for (text,) in texts}) > 3


@pytest.mark.parametrize("decoder_class", [SharedDecoder, PlainDecoder])
@torch.inference_mode()
def test_every_token_is_drawn_from_the_distribution_of_its_own_sequence(
    vlm: VisionLanguageModel, decoder_class: type[SharedDecoder] | type[PlainDecoder]
):
    """Random answers of unequal length: each step's logits are those of the whole sequence alone."""
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    groups = [encode_all(vlm, QUESTIONS[: 1 + n], image) for n, image in enumerate(images)]  # 1, 2 and 3 questions
    sequences = [row["input_ids"][0].tolist() for rows in groups for row in rows for _ in range(2)]
    pixels = [row["pixel_values"] for rows in groups for row in rows for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    decoder, going = decoder_class(vlm, groups, 2), list(range(len(sequences)))
    for stay in (None, [0, 3, 4, 5, 9, 11], None, [1, 2, 4], [0], None):
        if stay is not None:
            decoder.keep(torch.tensor(stay))
            going = [going[place] for place in stay]
        alone = [vlm.model(input_ids=torch.tensor([sequences[n]]), pixel_values=pixels[n]).logits[0, -1] for n in going]
        torch.testing.assert_close(decoder.logits_BV, torch.stack(alone), rtol=1e-4, atol=1e-4)
        drawn = torch.randint(5, 300, (len(going),), generator=generator)
        decoder.step(drawn)
        for n, token in zip(going, drawn.tolist(), strict=True):
            sequences[n].append(token)


def test_an_image_is_encoded_once_for_all_its_questions(vlm: VisionLanguageModel, prompts: list[Prompt]):
    seen = []
    hook = vlm.model.model.vision_tower.register_forward_hook(lambda _m, args, kwargs, _out: seen.append(
        (args[0] if args else kwargs["pixel_values"]).shape[0]), with_kwargs=True)  # fmt: skip
    try:
        BatchSampler(vlm, 18).sample(prompts, FREE, 0)
        shared, seen[:] = sum(seen), []
        BatchSampler(vlm, 18, share_image=False).sample(prompts, FREE, 0)
    finally:
        hook.remove()
    with_image = [prompt.image for prompt in prompts if prompt.image]
    assert shared == len(set(with_image))
    assert sum(seen) == len(with_image)


def test_same_seed_same_texts(vlm: VisionLanguageModel, prompts: list[Prompt]):
    sampler = BatchSampler(vlm, 6)
    state = torch.get_rng_state()
    first = sampler.sample(prompts, FREE, 7)
    assert sampler.sample(prompts, FREE, 7) == first
    assert sampler.sample(prompts, FREE, 8) != first
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(texts) for texts in first] == [3] * len(prompts)
    assert any(len(set(texts)) == 3 for texts in first)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_batch_size_changes_no_text(vlm: VisionLanguageModel, prompts: list[Prompt], top_p: float):
    """So that one that is lowered in the midst of a run leaves the outputs of one that never was."""
    sampling = Sampling(samples=5, temperature=1.0, top_p=top_p, max_new_tokens=12)
    expected = BatchSampler(vlm, 64).sample(prompts, sampling, 3)
    assert len({text for texts in expected for text in texts}) > 25
    for batch_size, share_image in ((1, True), (2, False), (7, True), (16, False)):
        assert BatchSampler(vlm, batch_size, share_image=share_image).sample(prompts, sampling, 3) == expected


def test_a_batch_that_does_not_fit_is_halved_and_stays_so(
    vlm: VisionLanguageModel, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
):
    """There is room for nine sequences: for the first batch, of one image, but not for the second. No text changes."""
    expected = BatchSampler(vlm, 6).sample(prompts, FREE, 3)
    generate, asked = BatchSampler._generate, []

    def generated(sampler: BatchSampler, groups: Any, sampling: Sampling, uniforms_PCN: torch.Tensor) -> torch.Tensor:
        asked.append(uniforms_PCN[..., 0].numel())
        if asked[-1] > 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return generate(sampler, groups, sampling, uniforms_PCN)

    monkeypatch.setattr(BatchSampler, "_generate", generated)
    sampler = BatchSampler(vlm, 0)
    assert sampler.batch_size == 16
    with pytest.warns(UserWarning, match="does not do for 16 answers at once: 8 from now on"):
        found = sampler.sample(prompts, FREE, 3)
    assert (found, sampler.batch_size) == (expected, 8)
    assert asked == [9, 12, 6, 6]
    assert sampler.sample(prompts, FREE, 3) == expected


def test_an_answer_that_does_not_fit_alone_is_an_error(
    vlm: VisionLanguageModel, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
):
    def full(*_arguments: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(BatchSampler, "_generate", full)
    with (
        pytest.warns(UserWarning, match="2 answers"),
        pytest.raises(SeeWhyError, match="one answer of up to 12 tokens"),
    ):
        BatchSampler(vlm, 2).sample(prompts, FREE, 0)


def test_an_automatic_batch_leaves_room_for_the_longest_answers(
    vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
):
    """Two layers' keys and values of four heads of eight numbers, 4 bytes each: 512 bytes a token."""
    sampler = BatchSampler(vlm, 0)
    sampler.batch_size = sampling_module.GPU_SEQUENCES
    monkeypatch.setattr(VisionLanguageModel, "device", torch.device("cuda"))
    for free, size in ((1e12, 384), (384 * 512 * (64 + 12), 192), (1000, 1)):
        monkeypatch.setattr(sampling_module, "_free_bytes", lambda _device, free=free: free)
        assert sampler._at_once(FREE) == size
    given = BatchSampler(vlm, 100)
    assert given._at_once(FREE) == 100


def test_a_draw_follows_the_distribution():
    logits = torch.tensor([-torch.inf, 2.0, 0.5, -torch.inf, 1.0, -torch.inf])
    drawn = draw(logits.expand(100_000, 6), Sampling(temperature=1.0), torch.linspace(0, 1, 100_000))
    shares = torch.bincount(drawn, minlength=6) / 100_000
    torch.testing.assert_close(shares, torch.softmax(logits, -1), atol=1e-4, rtol=0)


def test_more_samples_than_fit_in_a_batch(vlm: VisionLanguageModel, prompts: list[Prompt]):
    greedy = BatchSampler(vlm, 8).sample(prompts, Sampling(max_new_tokens=6), 0)
    texts = BatchSampler(vlm, 2).sample(prompts, Sampling(samples=5, max_new_tokens=6), 0)
    assert texts == [one * 5 for one in greedy]


def test_no_prompts(vlm: VisionLanguageModel):
    assert BatchSampler(vlm, 2).sample([], FREE, 0) == []


def test_text_ends_before_its_end_token_and_shows_other_markers(vlm: VisionLanguageModel):
    sampler = BatchSampler(vlm, 2)
    ids = vlm.tokenizer(" A crow. <image>", add_special_tokens=False)["input_ids"]
    text = sampler._decode([*ids, vlm.end_token_id, *ids])
    assert text == "A crow. <image>"
    assert sampler.rejected_text(text) == "holds '<image>', a marker of the model"
    assert sampler.rejected_text("A crow.") is None


@pytest.mark.parametrize(("top_p", "possible"), [(1.0, {0, 1, 2, 3}), (0.85, {0, 1, 2}), (0.5, {0}), (0.01, {0})])
def test_top_p_keeps_the_smallest_set_of_its_mass(top_p: float, possible: set[int]):
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(2000, 4)
    drawn = draw(logits, Sampling(temperature=1.0, top_p=top_p), torch.linspace(0, 1, 2000))
    assert set(drawn.tolist()) == possible


def test_temperature_sharpens():
    logits = torch.tensor([0.6, 0.4]).log().expand(4000, 2)
    draws = [draw(logits, Sampling(temperature=t), torch.linspace(0, 1, 4000)).float().mean() for t in (1.0, 0.25)]
    assert draws[0] == pytest.approx(0.4, abs=0.03)
    assert draws[1] == pytest.approx(0.4**4 / (0.4**4 + 0.6**4), abs=0.03)


def test_a_prompt_that_is_too_long_is_named(vlm: VisionLanguageModel, prompts: list[Prompt]):
    with pytest.raises(SeeWhyError, match=r"Prompt blue/Why. has .* tokens, and 500 more do not fit into the 512"):
        BatchSampler(vlm, 1).sample(prompts[5:6], Sampling(max_new_tokens=500), 0)


def test_a_prompt_with_a_marker_is_refused(vlm: VisionLanguageModel):
    with pytest.raises(SeeWhyError, match="'</s>'"):
        BatchSampler(vlm, 1).sample([Prompt("a", "", "Name </s> it.")], FREE, 0)


@pytest.mark.parametrize("sharpness", [0.3, 4.0, 12.0])
@pytest.mark.parametrize("ties", ["", "ties"])
def test_the_likeliest_ids_alone_draw_what_all_sorted_draw(
    sharpness: float, ties: str, monkeypatch: pytest.MonkeyPatch
):
    generator = torch.Generator().manual_seed(0)
    logits_BV = torch.randn(200, 500, generator=generator) * sharpness
    logits_BV = logits_BV.round() if ties else logits_BV
    sampling, uniform_B = Sampling(temperature=1.0, top_p=0.9), torch.rand(200, generator=generator)
    rows = [(logits_BV[i : i + 1], sampling, uniform_B[i : i + 1]) for i in range(200)]  # each may need all sorted
    drawn = [draw(*row) for row in rows]
    monkeypatch.setattr(draws, "LIKELIEST", 500)
    assert drawn == [draw(*row) for row in rows]
