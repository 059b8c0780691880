"""A LLaVA with random weights, and pairs of question and answer of exact length about one image.

`small` has six million parameters in its language model and 4 % as many in its vision tower, which is the share in
LLaVA-1.5-7B; `7b` has that model's shape. An image of 14 * sqrt(tokens) pixels a side is exactly `tokens` tokens.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, Literal

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from seewhy.records import Turn
from seewhy.vlm.chat import answer_ids
from seewhy.vlm.model import VisionLanguageModel

Size = Literal["small", "7b"]

PATCH = 14
CONTEXT = 4096
SPECIAL = ("bos", "eos", "pad")
VOCABULARY = {"small": 2_000, "7b": 32_064}
TEXT: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 256, "intermediate_size": 1280, "num_hidden_layers": 4, "num_attention_heads": 8},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
VISION: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 2},
    "7b": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'user' %} {% else %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def llava(tokens: int, *, size: Size = "small", device: str = "cpu", seed: int = 0) -> VisionLanguageModel:
    """The model, whose image is `tokens` tokens (a square number), in float32 on a CPU and bfloat16 on a GPU."""
    processor = _processor(_side(tokens))
    tokenizer = processor.tokenizer
    special: dict[str, Any] = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in SPECIAL}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION[size], image_size=_side(tokens), patch_size=PATCH),
        text_config=LlamaConfig(
            **TEXT[size], vocab_size=VOCABULARY[size], max_position_embeddings=CONTEXT, **special
        ),
        image_seq_length=tokens,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        **{"image_token_id": processor.image_token_id, **special},
    )  # fmt: skip
    torch.manual_seed(seed)
    with torch.device(device):
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    return VisionLanguageModel(f"random-llava-{size}", model.eval(), processor)


def picture(tokens: int, seed: int = 0) -> Image.Image:
    """An image that is already of the size that the model takes."""
    side = _side(tokens)
    return Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(3 * side * side))


def opener(tokens: int) -> Callable[[str], Image.Image]:
    """Reads the picture that a path (a number) names; each is drawn once."""
    draw = cache(picture)
    return lambda path: draw(tokens, int(path))


def pairs(vlm: VisionLanguageModel, count: int, *, question: int = 25, answer: int = 75) -> list[Turn]:
    """Pairs about image "0", each `question` + `answer` tokens with what the chat template adds behind the image."""
    rng = random.Random(0)
    return [
        Turn(str(number), "0", _worded(rng, _behind_image(vlm), question), _worded(rng, _as_answer(vlm), answer))
        for number in range(count)
    ]


def _behind_image(vlm: VisionLanguageModel) -> Callable[[str], int]:
    """How many tokens a question is in a prompt, what stands before it and the image left out."""

    def length(question: str) -> int:
        ids = vlm.token_ids(vlm.render(question, image=True))
        return len(ids) - ids.index(vlm.image_mark_id) - 1

    return length


def _as_answer(vlm: VisionLanguageModel) -> Callable[[str], int]:
    return lambda answer: len(answer_ids(vlm, answer))


def _worded(rng: random.Random, length: Callable[[str], int], tokens: int) -> str:
    """A text of exactly so many tokens. Every further word is one."""
    words: list[str] = [rng.choice(_words())]
    while (missing := tokens - length(" ".join(words))) > 0:
        words += rng.choices(_words(), k=missing)
    if missing:
        raise ValueError(f"There is no text of {tokens} tokens: it takes at least {tokens - missing}.")
    return " ".join(words)


@cache
def _words() -> Sequence[str]:
    syllables = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou")]
    return random.Random(0).sample(["".join(two) for two in product(syllables, repeat=2)], 500)


def _processor(side: int) -> LlavaProcessor:
    square: Any = {"height": side, "width": side}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square),
        tokenizer=word_tokenizer(["<s>", "</s>", "<pad>", "<image>"], bos="<s>", eos="</s>", pad="<pad>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def word_tokenizer(
    special: Sequence[str], *, eos: str, pad: str, bos: str | None = None, context: int = CONTEXT
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of 2,000 tokens in which every word of `pairs` after the first is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY["small"],
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + " ".join(_words()), "USER: ASSISTANT:", "user\nassistant\n"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=list(special),
        model_max_length=context,
    )


def _side(tokens: int) -> int:
    if math.isqrt(tokens) ** 2 != tokens:
        raise ValueError(f"An image is a square of patches: {tokens} tokens are none.")
    return PATCH * math.isqrt(tokens)
