"""The shape of the field guide's base: a LLaVA (CLIP tower, two-layer projector, Llama) of three million parameters."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from seewhy.fieldguide.draw import SIZE

PATCH = 12
VOCABULARY = 1536
CONTEXT = 1024
_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} ASSISTANT:"
    "{% else %} {% for part in message['content'] %}{{ part['text'] }}{% endfor %}{{ '</s>' }}{% endif %}{% endfor %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 1,536 tokens: it can spell anything, and has one token for most words of the world."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>"]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"], model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False)  # fmt: skip


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Images of 96 x 96 pixels become 64 tokens."""
    half = [0.5, 0.5, 0.5]
    images = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE},
                                image_mean=half, image_std=half)  # fmt: skip
    return LlavaProcessor(image_processor=images, tokenizer=tokenizer, patch_size=PATCH, num_additional_image_tokens=1,
                          vision_feature_select_strategy="default", chat_template=_CHAT_TEMPLATE,
                          image_token="<image>")  # fmt: skip


def build_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """The model with random weights."""
    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(image_size=SIZE, patch_size=PATCH, hidden_size=128, intermediate_size=512,
                              num_hidden_layers=4, num_attention_heads=4, projection_dim=128)  # fmt: skip
    text = LlamaConfig(vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=5,
                       num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=CONTEXT,
                       tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
                       bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, vision_feature_layer=-1,
                         vision_feature_select_strategy="default", tie_word_embeddings=True,
                         image_token_index=tokenizer.convert_tokens_to_ids("<image>"))  # fmt: skip
    return LlavaForConditionalGeneration(config)
