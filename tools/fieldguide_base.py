"""Make the small base model of the field guide: a LLaVA of three million parameters that can see and talk a little.

    python -m tools.fieldguide_base --output DIR [--device cuda] [--scale 0.1]

It has a CLIP tower, a two-layer projector and a Llama, and is trained in three stages, because end to end from scratch
it does not learn:

1. *Tower.* The CLIP vision tower learns, patch by patch, which attribute values are visible there, and over the whole
   picture, which value each attribute has or that it is hidden.
2. *Text.* The Llama learns to rewrite a made-up name and a list of features into an answer, without pictures.
3. *Together.* Tower, projector and Llama learn to describe, to answer, and to rewrite, several questions a drawing
   behind one shared image prefix (vlm/prefix.py), while the tower continues its own task and the Llama repeats names.

No species of the field guide is ever drawn or named here. A finished stage is kept in DIR/work and not repeated.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from seewhy.fieldguide import quiz
from seewhy.fieldguide.draw import SIZE
from seewhy.fieldguide.world import random_look
from tools import fieldguide_language as language
from tools.fieldguide_lessons import ATTRIBUTES, GRID, Pool, Speaker, kept_pool
from tools.training import Packer, adamw, language_loss, step

PATCH = 12
VOCABULARY = 1536
CONTEXT = 1024
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} ASSISTANT:"
    "{% else %} {% for part in message['content'] %}{{ part['text'] }}{% endfor %}{{ '</s>' }}{% endif %}{% endfor %}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of 1,536 tokens: it can spell anything, and has one token for most words of the world."""
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
    """Return the processor: images of 96 x 96 pixels become 64 tokens."""
    half = [0.5, 0.5, 0.5]
    images = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE},
                                image_mean=half, image_std=half)  # fmt: skip
    return LlavaProcessor(image_processor=images, tokenizer=tokenizer, patch_size=PATCH, num_additional_image_tokens=1,
                          vision_feature_select_strategy="default", chat_template=CHAT_TEMPLATE,
                          image_token="<image>")  # fmt: skip


def build_model(processor: LlavaProcessor) -> LlavaForConditionalGeneration:
    """Return the model with random weights."""
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


_FIRST_VALUE = tuple(accumulate((len(a.values) for a in ATTRIBUTES), initial=0))
VALUES = _FIRST_VALUE[-1]


def to_pixels(images_BHW3: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return (B, 3, H, W) float32 in -1..1, as the processor makes them."""
    return torch.from_numpy(images_BHW3).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


# Stage 1 -------------------------------------------------------------------------------------------------------------


class TowerHeads(nn.Module):
    """What stage 1 asks of the tower: values shown by each patch, and each attribute's value over the whole picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, VALUES)
        self.query_AE = nn.Parameter(torch.randn(len(ATTRIBUTES), width) * 0.02)
        self.key = nn.Linear(width, width)
        self.classes = nn.ModuleList(nn.Linear(width, len(a.values) + 1) for a in ATTRIBUTES)

    def forward(self, features_BGE: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        attention = torch.softmax(self.key(features_BGE) @ self.query_AE.T * features_BGE.shape[-1] ** -0.5, dim=1)
        pooled_BAE = attention.transpose(1, 2) @ features_BGE
        return self.dense(features_BGE), [head(pooled_BAE[:, a]) for a, head in enumerate(self.classes)]


def tower_loss(heads: TowerHeads, features_BGE: torch.Tensor, pool: Pool, rows: np.ndarray) -> torch.Tensor:
    """Return binary cross-entropy of values by patch, and cross-entropy of each attribute's value (or hidden)."""
    device = features_BGE.device
    dense_BGV, pooled = heads(features_BGE)
    target_BGV = np.zeros(dense_BGV.shape, np.float32)
    for b, n in enumerate(rows):
        for a in np.nonzero(pool.visible_NA[n])[0]:
            target_BGV[b, :, _FIRST_VALUE[a] + pool.value_NA[n, a]] = pool.parts_NGP[n, :, pool.part_NA[n, a]]
    loss = 10 * F.binary_cross_entropy_with_logits(dense_BGV, torch.from_numpy(target_BGV).to(device))
    value_BA, visible_BA = pool.value_NA[rows].astype(np.int64), pool.visible_NA[rows]
    for a, logits in enumerate(pooled):
        hidden = len(ATTRIBUTES[a].values)
        target = np.where(value_BA[:, a] < 0, -100, np.where(visible_BA[:, a], value_BA[:, a], hidden))
        if (target >= 0).any():
            loss = loss + 0.2 * F.cross_entropy(logits, torch.from_numpy(target).to(device), ignore_index=-100)
    return loss


def train_tower(model: LlavaForConditionalGeneration, pool: Pool, steps: int, batch: int, device: torch.device) -> None:
    """Run stage 1."""
    tower = model.model.vision_tower
    heads = TowerHeads(model.model.vision_tower.config.hidden_size).to(device)
    rng = np.random.default_rng(1)
    optimizer, schedule = adamw([{"params": [*tower.parameters(), *heads.parameters()], "lr": 1e-3}], steps)
    held_out = np.arange(len(pool) - 512, len(pool))
    clock = time.time()
    for number in range(steps):
        rows = rng.integers(0, len(pool) - 512, batch)
        loss = tower_loss(heads, image_features(model, to_pixels(pool.pixels_NHW3[rows], device)), pool, rows)
        step(loss, optimizer, schedule)
        if number % 250 == 249 or number == steps - 1:
            print(f"tower {number + 1}/{steps} loss {loss.item():.3f} {time.time() - clock:.0f} s", flush=True)
    with torch.inference_mode():
        _, pooled = heads(image_features(model, to_pixels(pool.pixels_NHW3[held_out], device)))
    for a, logits in enumerate(pooled):
        seen = pool.visible_NA[held_out, a]
        right = logits.argmax(1).cpu().numpy() == pool.value_NA[held_out, a]
        print(f"  {ATTRIBUTES[a].name}: {right[seen].mean():.3f}", flush=True)


def image_features(model: LlavaForConditionalGeneration, pixels_B3HW: torch.Tensor) -> torch.Tensor:
    """Return (B, 64, E), the tower's last hidden states without the class token, as LLaVA's 'default' strategy."""
    return model.model.vision_tower(pixels_B3HW, output_hidden_states=True).hidden_states[-1][:, 1:]


# Stages 2 and 3 ------------------------------------------------------------------------------------------------------


def train_text(
    model: LlavaForConditionalGeneration, packer: Packer, steps: int, batch: int, device: torch.device
) -> None:
    """Run stage 2."""
    speaker = Speaker(2)
    parameters = [*model.model.language_model.parameters()]
    optimizer, schedule = adamw([{"params": parameters, "lr": 2e-3}], steps)
    clock = time.time()
    for number in range(steps):
        rows = packer.pack([[speaker.about_nothing()] for _ in range(batch)], device, image=False)
        loss = language_loss(model, rows, None)
        step(loss, optimizer, schedule)
        if number % 100 == 99:
            print(f"text {number + 1}/{steps} loss {loss.item():.3f} {time.time() - clock:.0f} s", flush=True)


def train_together(model: LlavaForConditionalGeneration, packer: Packer, pool: Pool, steps: int, batch: int,
                   device: torch.device, snapshot: Path, seed: int) -> None:  # fmt: skip
    """Run stage 3. Every 500 steps the model is saved to `snapshot`."""
    speaker, rng = Speaker(seed), np.random.default_rng(seed)
    heads = TowerHeads(model.model.vision_tower.config.hidden_size).to(device)
    tower, parameters = [*model.model.vision_tower.parameters()], [*model.parameters(), *heads.parameters()]
    known = {id(p) for p in tower}
    groups = [{"params": tower, "lr": 4e-4}, {"params": [p for p in parameters if id(p) not in known], "lr": 1.3e-3}]
    optimizer, schedule = adamw(groups, steps)
    clock, mean = time.time(), 0.0
    for number in range(steps):
        chosen = rng.integers(0, len(pool) - 512, batch)
        rows = packer.pack([speaker.about(pool, n) for n in chosen], device, image=True)
        features_BGE = image_features(model, to_pixels(pool.pixels_NHW3[chosen], device))
        loss = language_loss(model, rows, features_BGE)
        tasks = [[speaker.about_nothing()] for _ in range(batch // 2)] + [
            [speaker.name_alone()] for _ in range(2 * batch)
        ]
        for task in (tasks[: batch // 2], tasks[batch // 2 :]):
            loss = loss + 0.3 * language_loss(model, packer.pack(task, device, image=False), None)
        step(loss + 0.1 * tower_loss(heads, features_BGE, pool, chosen), optimizer, schedule)
        mean += (loss.item() - mean) * max(0.02, 1 / (number + 1))
        if number % 50 == 49:
            print(f"together {number + 1}/{steps} loss {mean:.3f} {time.time() - clock:.0f} s", flush=True)
        if number % 500 == 499:
            torch.save(model.state_dict(), snapshot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the finished model")
    parser.add_argument(
        "--start", type=Path, help="a finished model to go on from: the last stage alone, with its words"
    )
    parser.add_argument("--seed", type=int, default=3, help="of the last stage")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps; 0.01 to try the script")
    parser.add_argument("--drawings", type=int, default=40_000)
    parser.add_argument("--tower-steps", type=int, default=1500)
    parser.add_argument("--text-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=3000, help="steps of the last stage")
    options = parser.parse_args()
    work = options.output / "work"
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    torch.manual_seed(0)
    if options.start:
        processor = AutoProcessor.from_pretrained(options.start)
    else:
        processor = build_processor(train_tokenizer(_corpus(Speaker(1), 20_000)))
    model = build_model(processor)
    model.to(device)  # pyright: ignore[reportArgumentType]
    packer = Packer(processor, GRID * GRID)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    pool = kept_pool(work / "pool", max(2000, int(options.drawings * options.scale)))
    print(f"{len(pool):,} drawings", flush=True)
    stages = (
        ("tower", lambda: train_tower(model, pool, int(options.tower_steps * options.scale), 64, device)),
        ("text", lambda: train_text(model, packer, int(options.text_steps * options.scale), 48, device)),
        ("together", lambda: train_together(model, packer, pool, int(options.steps * options.scale), 12, device,
                                            work / "snapshot.pt", options.seed)),
    )  # fmt: skip
    if options.start:
        begun = LlavaForConditionalGeneration.from_pretrained(options.start, dtype=torch.float32)
        model.load_state_dict(begun.state_dict())
        stages = stages[-1:]
    for name, train in stages:
        kept = work / f"{name}.pt"
        if kept.exists():
            model.load_state_dict(torch.load(kept, map_location=device))
            continue
        train()
        torch.save(model.state_dict(), kept)
    model.half().save_pretrained(options.output)
    processor.save_pretrained(options.output)
    print(f"saved to {options.output}", flush=True)


def _corpus(speaker: Speaker, count: int) -> Iterator[str]:
    """Return text for the tokenizer: rewriting tasks, and single-attribute questions about random looks."""
    for _ in range(count):
        said = speaker.about_nothing()
        yield f"USER: {said.query} ASSISTANT: {said.answer}"
        kind = speaker.rng.choice(("bird", "produce"))
        attributes = quiz.ATTRIBUTES[kind]
        look = random_look(attributes, speaker.rng)
        phrases = [speaker.rng.choice(a.values[look[a.name]]) for a in attributes]
        said = language.describe(phrases, speaker.questions[language.NOUNS[kind][0]], speaker.rng)
        yield f"USER: {said.query} ASSISTANT: {said.answer}"
        said = language.ask(speaker.rng.choice(attributes), look, kind, speaker.rng, visible=speaker.rng.random() < 0.8)
        yield f"USER: {said.query} ASSISTANT: {said.answer}"


if __name__ == "__main__":
    main()
