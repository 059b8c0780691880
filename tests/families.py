"""Tiny random models of the families that SeeWhy is proved on: real configuration, model and processor classes, a
tokenizer made on the spot and a plain chat template in the family's manner.

    with no_torchvision():
        vlm = VisionLanguageModel.load(tiny_qwen3_vl(folder), device="cpu")

An image is a handful of tokens. The weights are large enough for every question to be told from the others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    EfficientNetConfig,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Gemma3TextConfig,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    Idefics3VisionConfig,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,  # pyright: ignore[reportAttributeAccessIssue]
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipVisionConfig,
)
from transformers.models import idefics3
from transformers.models.auto import image_processing_auto
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from tiny import CORPUS, llava_config, tiny_processor

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
QWEN_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "depth": 2,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 64,
}


def turns_template(before: str, user: str, image: str, middle: str, assistant: str, after: str) -> str:
    """A chat template: what begins it, what stands before a user's turn and for its image, after that turn, before an
    answer and after it."""
    return (
        f"{before}{{% for message in messages %}}"
        f"{{% if message['role'] == 'user' %}}{user}{{% else %}}{assistant}{{% endif %}}"
        "{% for part in message['content'] %}"
        f"{{% if part['type'] == 'image' %}}{image}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
        "{% endfor %}"
        f"{{% if message['role'] == 'user' %}}{middle}{{% else %}}{after}{{% endif %}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{assistant.rstrip(' ')}{{% endif %}}"
    )


LLAVA_NEXT_TEMPLATE = turns_template("<s>", "[INST] ", "<image>\n", " [/INST]", " ", "</s>")
QWEN_TEMPLATE = turns_template(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
    "<|im_start|>user\n",
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<|im_end|>\n",
    "<|im_start|>assistant\n",
    "<|im_end|>\n",
)
SMOLVLM_TEMPLATE = turns_template(
    "<|im_start|>", "User: ", "<image>", "<end_of_utterance>\n", "Assistant: ", "<end_of_utterance>\n"
)
INTERNVL_TEMPLATE = turns_template(
    "", "<|im_start|>user\n", "<IMG_CONTEXT>\n", "<|im_end|>\n", "<|im_start|>assistant\n", "<|im_end|>\n"
)
FASTVLM_TEMPLATE = turns_template(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
    "<|im_start|>user\n",
    "<image>\n",
    "<|im_end|>\n",
    "<|im_start|>assistant\n",
    "<|im_end|>\n",
)
GEMMA3_TEMPLATE = turns_template(
    "<bos>",
    "<start_of_turn>user\n",
    "<start_of_image>",
    "<end_of_turn>\n",
    "<start_of_turn>model\n",
    "<end_of_turn>\n",
)


def tiny_llava_15(folder: Path) -> Path:
    """Square images of 32 pixels: 16 tokens each."""
    processor = tiny_processor()
    return _save(folder, LlavaForConditionalGeneration, llava_config(processor), processor)


def tiny_llava_next(folder: Path) -> Path:
    """A square of 16 pixels (4 tokens) and up to four more of them in a row, a column or a square (anyres)."""
    tokenizer = _tokenizer("<s>", "</s>", "<pad>", "<image>", bos="<s>", eos="</s>", pad="<pad>")
    pinpoints = [[16, 32], [32, 16], [32, 32]]
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=pinpoints
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT_TEMPLATE,
    )
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, patch_size=8, image_size=16),
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=pinpoints,
    )
    return _save(folder, LlavaNextForConditionalGeneration, config, processor)


def tiny_qwen25_vl(folder: Path) -> Path:
    """Images of 16 x 16 to 16 x 32 pixels: a token for 8 x 8 of them, with positions in height and width."""
    processor = Qwen2_5_VLProcessor(_qwen_images(), _qwen_tokenizer(), chat_template=QWEN_TEMPLATE)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    config = Qwen2_5_VLConfig(
        vision_config={**QWEN_VISION, "window_size": 16, "fullatt_block_indexes": [1]},
        text_config={**TEXT, **_ids(processor.tokenizer), "rope_parameters": rope},
        **_qwen_image_ids(processor),
    )
    return _save(folder, Qwen2_5_VLForConditionalGeneration, config, processor)


def tiny_qwen3_vl(folder: Path) -> Path:
    """As tiny_qwen25_vl, with features of the vision tower's first block added in the first layer (deepstack)."""
    processor = Qwen3VLProcessor(_qwen_images(), _qwen_tokenizer(), chat_template=QWEN_TEMPLATE)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
    config = Qwen3VLConfig(
        vision_config={**QWEN_VISION, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        text_config={**TEXT, **_ids(processor.tokenizer), "head_dim": 16, "rope_parameters": rope},
        **_qwen_image_ids(processor),
    )
    return _save(folder, Qwen3VLForConditionalGeneration, config, processor)


def tiny_smolvlm(folder: Path) -> Path:
    """Tiles of 16 pixels (4 tokens), as many as fill 32 x 32, and the whole; SmolVLM-Instruct is an Idefics3."""
    tokenizer = _tokenizer(
        "<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>",
        *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
        bos="<|im_start|>", eos="<end_of_utterance>", pad="<|endoftext|>",
    )  # fmt: skip
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=SMOLVLM_TEMPLATE)
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(**VISION, patch_size=4, image_size=16).to_dict(),
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=_ids(tokenizer)["pad_token_id"],
    )
    return _save(folder, Idefics3ForConditionalGeneration, config, processor)


def tiny_internvl(folder: Path) -> Path:
    """One to three tiles of 16 pixels (4 tokens), and the whole where they are several."""
    tokenizer = _tokenizer(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>",
        eos="<|im_end|>", pad="<|endoftext|>",
        named={
            "start_image_token": "<img>", "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
        },
    )  # fmt: skip
    images = GotOcr2ImageProcessorPil(size={"height": 16, "width": 16}, crop_to_patches=True, max_patches=3)
    processor = InternVLProcessor(images, tokenizer, image_seq_length=4, chat_template=INTERNVL_TEMPLATE)
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**VISION, patch_size=4, image_size=16),
        text_config=Qwen2Config(**TEXT, **_ids(tokenizer)),
        image_token_id=processor.image_token_id,
        image_seq_length=4,
    )
    return _save(folder, InternVLForConditionalGeneration, config, processor)


def tiny_gemma3(folder: Path) -> Path:
    """Square images of 32 pixels: 16 tokens that see each other both ways. One layer in two sees 12 tokens back, fewer
    than an image has. As in the real ones, a turn ends with a token that is not the tokenizer's end token."""
    tokenizer = _tokenizer(
        "<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
        "<image_soft_token>", bos="<bos>", eos="<eos>", pad="<pad>",
        named={
            "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>",
        },
    )  # fmt: skip
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    processor = Gemma3Processor(images, tokenizer, chat_template=GEMMA3_TEMPLATE, image_seq_length=16)
    ids = tokenizer.get_vocab()
    text = Gemma3TextConfig(
        **{**TEXT, **_ids(tokenizer), "num_hidden_layers": 4, "eos_token_id": [ids["<eos>"], ids["<end_of_turn>"]]},
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=12,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(**VISION, patch_size=4, image_size=32),
        text_config=text,
        mm_tokens_per_image=16,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
    )
    return _save(folder, Gemma3ForConditionalGeneration, config, processor)


def tiny_fast_vlm(folder: Path) -> Path:
    """Square images of 128 pixels: convolutions with batch normalisation make a token of 32 x 32 of them, 16 in all."""
    tokenizer = _tokenizer(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", eos="<|im_end|>", pad="<|endoftext|>"
    )  # fmt: skip
    images = CLIPImageProcessorPil(size={"shortest_edge": 128}, crop_size={"height": 128, "width": 128})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=32, vision_feature_select_strategy="full", chat_template=FASTVLM_TEMPLATE
    )
    vision = EfficientNetConfig(
        width_coefficient=0.0125, depth_coefficient=1.0, num_block_repeats=(1, 2, 1, 1, 1, 1, 1), image_size=128,
        hidden_dim=16, hidden_act="relu6", drop_connect_rate=0,
        hidden_size=16,  # pyright: ignore[reportCallIssue] -- for FastVLM's projector
    )  # fmt: skip
    config = FastVlmConfig(
        vision_config=vision,
        text_config=Qwen2Config(**TEXT, **_ids(tokenizer)),
        image_token_index=processor.image_token_id,
        image_seq_length=16,
    )
    return _save(folder, FastVlmForConditionalGeneration, config, processor, _normalise_batches)


def _normalise_batches(model: Any) -> None:
    """Give batch normalisation the statistics of noise, as of a trained tower: without them nothing comes through."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    tower = model.model.vision_tower.train()
    with torch.no_grad():
        tower(torch.rand(4, 3, 128, 128))
    tower.eval()


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_llava_15,
    "llava_next": tiny_llava_next,
    "qwen25_vl": tiny_qwen25_vl,
    "qwen3_vl": tiny_qwen3_vl,
    "smolvlm": tiny_smolvlm,
    "internvl": tiny_internvl,
    "gemma3": tiny_gemma3,
    "fast_vlm": tiny_fast_vlm,
}
VIDEO: dict[str, Callable[[], Any]] = {
    "qwen25_vl": lambda: Qwen2VLVideoProcessor(patch_size=4),
    "qwen3_vl": lambda: Qwen3VLVideoProcessor(patch_size=4),
    "internvl": lambda: InternVLVideoProcessor(),
}


Kind = Literal["pillow", "torchvision"]
"""What image processors compute with. Users of Qwen, SmolVLM and InternVL always have torchvision's."""


@contextmanager
def processors(kind: Kind) -> Iterator[None]:
    """Read image processors of this kind. Skips the test where torchvision is not installed."""
    if kind == "pillow":
        with no_torchvision():
            yield
        return
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    with patch.object(image_processing_auto, "_resolve_backend", lambda *_: "torchvision"):
        yield


def tiny(family: str, folder: Path, kind: Kind) -> Path:
    """Make a model of a family, with the processor of videos that only torchvision's kind can read."""
    with no_torchvision():
        FAMILIES[family](folder)
    if kind == "torchvision" and family in VIDEO:
        VIDEO[family]().save_pretrained(folder)
    return folder


@contextmanager
def no_torchvision() -> Iterator[None]:
    """Make and read processors without torchvision, which transformers asks for where it is not used: for a part that
    takes videos, left out here, and for Idefics3's image processor of PIL and NumPy."""
    attributes = ProcessorMixin.get_attributes.__func__

    def without_video(cls: type[ProcessorMixin]) -> list[str]:
        return [name for name in attributes(cls) if name != "video_processor"]

    with (
        patch.object(ProcessorMixin, "get_attributes", classmethod(without_video)),
        patch.object(idefics3, "Idefics3ImageProcessorPil", Idefics3ImageProcessorPil),
    ):
        yield


def _tokenizer(
    *special: str, eos: str, pad: str, bos: str | None = None, named: dict[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 tokens, one of them for two line breaks; `named` special tokens are attributes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CORPUS, "\n\n\n\n crow" * 9], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        extra_special_tokens=named or {},
        model_max_length=512,
        padding_side="left",
    )


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _qwen_tokenizer() -> PreTrainedTokenizerFast:
    return _tokenizer(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
        "<|video_pad|>", eos="<|im_end|>", pad="<|endoftext|>",
    )  # fmt: skip


def _qwen_images() -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 16 * 16, "longest_edge": 16 * 32})


def _qwen_image_ids(processor: Any) -> dict[str, Any]:
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = processor.tokenizer.convert_tokens_to_ids([f"<|{name}|>" for name in names])
    keys = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return dict(zip(keys, ids, strict=True))


def _save(
    folder: Path,
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    processor: ProcessorMixin,
    finish: Callable[[PreTrainedModel], None] = lambda _model: None,
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(config)
        embeddings = model.get_input_embeddings().weight  # small, or else a head tied to them repeats what it reads
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.05 if parameter is embeddings else 0.2)
        finish(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
