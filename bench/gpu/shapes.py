"""Models of random weights in the shapes that `bench.gpu` measures, with a processor made on the spot.

Widths, depths and the vocabulary's size are the real models'; the tokenizer has 2,000 words. Weights are made on the
device itself, in bfloat16 on a GPU and float32 on a CPU, so nothing is downloaded or read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    Idefics3Config,
    Idefics3Processor,
    Idefics3VisionConfig,
    LlamaConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from bench import models
from seewhy.vlm.model import VisionLanguageModel

QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TEXT: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 2_000, "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
    },
    "7b": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152_064, "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    },
}  # fmt: skip
QWEN_VISION: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 64, "intermediate_size": 128, "depth": 2, "num_heads": 2, "out_hidden_size": 128,
        "fullatt_block_indexes": [1],
    },
    "7b": {
        "hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "num_heads": 16, "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A model's shape and the work that is measured on it.

    The pairs are those of docs/method.md: eight an image, a question and its answer about a hundred tokens. `tuning`
    holds the images a micro-batch of shared steps and `separate` the pairs a micro-batch of separate ones, each in the
    order of measuring; `sampling` holds the images sampled for at once.
    """

    build: Callable[[str], VisionLanguageModel]
    picture: tuple[int, int]
    rank: int = 128
    pairs: int = 8
    question: int = 25
    answer: int = 75
    new_tokens: int = 64
    longest: int = 196
    """`sample.max_new_tokens`, at its default."""
    tuning: tuple[int, ...] = (4, 2, 1)
    separate: tuple[int, ...] = (8, 4)
    sampling: tuple[int, ...] = (1, 4, 16)
    evaluated: int = 64

    def opener(self) -> Callable[[str], Image.Image]:
        """Return a function that draws the picture which a path (a number) names, each one once."""
        return cache(lambda path: noise(self.picture, int(path)))


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Return a picture of random pixels, (width, height)."""
    return Image.frombytes("RGB", size, Random(seed).randbytes(3 * size[0] * size[1]))


class ImageTextProcessor(Qwen2_5_VLProcessor):
    """Qwen's processor without its part for videos, which would need torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


def qwen(size: str, device: str, seed: int = 0) -> VisionLanguageModel:
    """Return a Qwen2.5-VL, whose images are a token for each 28 x 28 pixels."""
    context = QWEN_TEXT[size]["max_position_embeddings"]
    tokenizer = models.word_tokenizer(QWEN_SPECIAL, eos="<|im_end|>", pad="<|endoftext|>", context=context)
    images = Qwen2VLImageProcessorPil(patch_size=models.PATCH)
    processor = ImageTextProcessor(images, tokenizer, chat_template=QWEN_TEMPLATE)
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in QWEN_SPECIAL}
    config = Qwen2_5_VLConfig(
        vision_config={**QWEN_VISION[size], "patch_size": models.PATCH, "window_size": 112},
        text_config={
            **QWEN_TEXT[size],
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.manual_seed(seed)
    with torch.device(device):
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return VisionLanguageModel(f"random-qwen2.5-vl-{size}", model.eval(), processor)


SMOLVLM_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)  # fmt: skip
SMOLVLM_TEMPLATE = (
    "{% for message in messages %}{% if loop.first %}<|im_start|>{% endif %}"
    "{% if message['role'] == 'user' %}User:{% else %}Assistant: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def smolvlm(device: str, seed: int = 0) -> VisionLanguageModel:
    """Return a SmolVLM-256M that is given whole images alone (`model.tiles: false`): 64 tokens each."""
    special = {"eos": "<end_of_utterance>", "pad": "<|endoftext|>", "bos": "<|im_start|>"}
    tokenizer = models.word_tokenizer(SMOLVLM_SPECIAL, **special, context=8192)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}, do_image_splitting=False
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=64, chat_template=SMOLVLM_TEMPLATE)
    ids: dict[str, Any] = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(text) for name, text in special.items()}
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=512,
            patch_size=16,
        ).to_dict(),
        text_config=LlamaConfig(
            hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            vocab_size=49_280, max_position_embeddings=8192, tie_word_embeddings=False, **ids,
        ),
        image_token_id=processor.image_token_id,
        scale_factor=4,
        pad_token_id=ids["pad_token_id"],
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    with torch.device(device):
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    return VisionLanguageModel("random-smolvlm-256m", model.eval(), processor)


TINY: dict[str, Any] = {
    "rank": 4, "pairs": 3, "question": 30, "answer": 12, "new_tokens": 4, "longest": 8, "tuning": (1, 2),
    "separate": (2,), "sampling": (1, 2), "evaluated": 2,
}  # fmt: skip
SHAPES = {
    "tiny-llava": Shape(lambda device: models.llava(16, device=device), (56, 56), **TINY),
    "tiny-qwen2.5-vl": Shape(lambda device: qwen("small", device), (84, 56), **TINY),
    "llava-7b": Shape(lambda device: models.llava(576, size="7b", device=device), (336, 336)),
    "qwen2.5-vl-7b": Shape(lambda device: qwen("7b", device), (500, 375), tuning=(4,), separate=(8,)),
    "smolvlm-256m": Shape(
        smolvlm,
        (640, 480),
        rank=16,
        pairs=4,
        answer=50,
        new_tokens=16,
        longest=64,
        tuning=(1, 2),
        separate=(4,),
        sampling=(1, 4),
        evaluated=8,
    ),
}
"""A CUB-200 photo has some 500 x 375 pixels: 576 tokens in LLaVA-1.5, which cuts a square of 336, and 234 in Qwen."""

TOGETHER = {"tiny": ["tiny-llava", "tiny-qwen2.5-vl"], "7b": ["llava-7b", "qwen2.5-vl-7b"]}
"""Names for several shapes."""


def shapes_of(text: str) -> list[str]:
    """Return the names in `a,b`, in which "tiny" and "7b" stand for two shapes. Raises ValueError for others."""
    names = [name for part in text.split(",") for name in TOGETHER.get(part, [part])]
    if unknown := [name for name in names if name not in SHAPES]:
        raise ValueError(f"no shape {', '.join(unknown)}: known are {', '.join([*SHAPES, *TOGETHER])}")
    return names
