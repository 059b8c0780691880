"""A LLaVA of seventy thousand parameters, made on the spot: real architecture, processor and chat template."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{% if message['role'] == 'user' %} {% else %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
CORPUS = (
    "What is the name of this bird? Describe the bird, only the bird. Name it and say why.",
    "This is a Fish Crow. It has a red crest, a yellow bill, black wings and a white belly with spots.",
    "The bird has a long tail, an eye ring, wing bars and orange legs. USER: ASSISTANT: features, features.",
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 400 tokens with <s>, </s>, <pad> and <image>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        model_max_length=512,
        padding_side="left",
    )


def tiny_processor(image_size: int = 32) -> LlavaProcessor:
    """Square images of `image_size` pixels, patches of 8, the template above."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tiny_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def llava_config(
    processor: LlavaProcessor, *, image_size: int = 32, width: int = 32, layers: int = 2, vision_width: int = 32
) -> LlavaConfig:
    """The tiny model's configuration; wider and deeper for measuring speed."""
    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=vision_width,
        intermediate_size=2 * vision_width,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=image_size,
        patch_size=8,
        projection_dim=vision_width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    tokens = {
        "image_token_id": processor.image_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_seq_length=(image_size // 8) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        **tokens,
    )


def tiny_llava(folder: Path, *, image_size: int = 32, seed: int = 0) -> Path:
    """Saves a random tiny LLaVA with its processor to `folder`, for AutoModelForImageTextToText and AutoProcessor."""
    processor = tiny_processor(image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(llava_config(processor, image_size=image_size))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
