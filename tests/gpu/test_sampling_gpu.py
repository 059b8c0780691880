"""Greedy answers are those of transformers' `generate`, on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from seewhy.records import Prompt, Sampling, Turn
from seewhy.vlm.chat import encode, move, open_image, token_level
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

pytestmark = pytest.mark.gpu

TOKENS = 24
NEAR = 3e-2
"""Share of the largest logit by which two of bfloat16 may differ and still be taken for equal."""

Load = Callable[..., VisionLanguageModel]


@pytest.fixture
def prompts(turns: list[Turn]) -> list[Prompt]:
    return [Prompt(turn.id, turn.image, turn.query) for turn in turns]


def generated(vlm: VisionLanguageModel, prompt: Prompt) -> tuple[dict[str, torch.Tensor], list[int]]:
    """The prompt's row and the new ids, with the first end token the last."""
    model: Any = vlm.model
    row = move(encode(vlm, prompt.text, open_image(prompt.image)), vlm)
    with torch.inference_mode():
        ids = model.generate(**row, max_new_tokens=TOKENS, do_sample=False)[0, row["input_ids"].shape[1] :].tolist()
    ends = [place for place, token in enumerate(ids) if token in vlm.stop_token_ids]
    return row, ids[: ends[0] + 1] if ends else ids


@pytest.mark.parametrize("share_image", [True, False])
@pytest.mark.parametrize("family", ["llava", "qwen25_vl", "smolvlm"])
def test_greedy_equals_generate(load: Load, prompts: list[Prompt], family: str, share_image: bool):  # noqa: FBT001
    vlm = load(family, "float32")
    texts = BatchSampler(vlm, 4, share_image=share_image).sample(prompts, Sampling(max_new_tokens=TOKENS), 0)
    for prompt, (text,) in zip(prompts, texts, strict=True):
        ids = [token for token in generated(vlm, prompt)[1] if token not in vlm.stop_token_ids]
        assert text == str(vlm.tokenizer.decode(ids)).strip()
    assert len({text for (text,) in texts}) > 2


@pytest.mark.parametrize("family", ["llava", "qwen25_vl"])
def test_in_bfloat16_greedy_leaves_generate_at_ties_alone(load: Load, prompts: list[Prompt], family: str):
    """Where an answer first differs from `generate`'s, the two tokens' logits are equal within rounding."""
    vlm = load(family, "bfloat16")
    sampler, written = BatchSampler(vlm, 8), []
    decode = sampler._decode
    sampler._decode = lambda ids: written.append(ids) or decode(ids)  # pyright: ignore[reportAttributeAccessIssue]
    sampler.sample(prompts, Sampling(max_new_tokens=TOKENS), 0)
    for prompt, ids in zip(prompts, written, strict=True):
        row, expected = generated(vlm, prompt)
        place = next((n for n, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), None)
        if place is None:
            continue
        tokens = torch.tensor([expected[:place]], device=vlm.device, dtype=torch.long)
        tails = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        for name in token_level(row):
            row[name] = torch.cat([row[name], tails.get(name, torch.zeros_like(tokens)).to(row[name].dtype)], 1)
        with torch.inference_mode():
            logits = vlm.model(**row).logits[0, -1].float()
        assert float(logits[expected[place]] - logits[ids[place]]) < NEAR * float(logits.abs().max())


def test_the_seed_decides_sampled_answers(load: Load, prompts: list[Prompt]):
    vlm = load("llava", "float32")
    free = Sampling(samples=3, temperature=1.0, top_p=0.9, max_new_tokens=TOKENS)
    first, again, other = (
        BatchSampler(vlm, batch).sample(prompts, free, seed) for batch, seed in ((18, 1), (18, 1), (18, 2))
    )
    assert first == again
    assert first != other
