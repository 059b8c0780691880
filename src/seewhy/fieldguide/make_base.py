"""Makes the small base model of the field guide: a LLaVA of three million parameters that can see and talk a little.

    python -m seewhy.fieldguide.make_base --output DIR [--device cuda] [--scale 0.1]

In three stages, because end to end from scratch it does not get off the ground:

1. *Tower.* The CLIP vision tower learns, patch by patch, which attribute values are to be seen there, and over the
   whole picture, which value each attribute has or that it is hidden.
2. *Text.* The Llama learns to rewrite a made-up name and a list of features into an answer, without pictures.
3. *Together.* Tower, projector and Llama learn to describe, to answer, and to rewrite, several questions a drawing
   behind one shared image prefix (vlm/prefix.py), while the tower goes on with its own task and the Llama with names
   to copy beside.

No species of the field guide is ever drawn or named here. A finished stage is kept in DIR/work and not repeated.
"""

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from seewhy.domain.questions import Questions
from seewhy.fieldguide import language
from seewhy.fieldguide.base_config import build_model, build_processor, train_tokenizer
from seewhy.fieldguide.draw import PARTS, SIZE, draw_bird, draw_produce
from seewhy.fieldguide.language import Said
from seewhy.fieldguide.truth import look_in
from seewhy.fieldguide.world import BIRD, PRODUCE, random_look
from seewhy.vlm.prefix import branch_mask

ATTRIBUTES = (*BIRD, *PRODUCE)
_FIRST_VALUE = tuple(accumulate((len(a.values) for a in ATTRIBUTES), initial=0))
VALUES = _FIRST_VALUE[-1]
GRID = 8
"""Patches a side."""
_PATCH_SHARE = 0.05
"""A patch shows a part that covers at least this share of it."""


@dataclass
class Pool:
    """N drawings: pixels, the parts that each of 64 patches shows, values (by index, -1: not of this kind), visible."""

    pixels_NHW3: np.ndarray
    parts_NGP: np.ndarray  # bool, G = 64 patches
    value_NA: np.ndarray
    part_NA: np.ndarray
    visible_NA: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels_NHW3)


def draw_pool(count: int, seed: int, workers: int = 2) -> Pool:
    """`count` drawings, 60 % birds and 40 % produce, of random looks."""
    size = 500
    jobs = [(seed * 100_000 + k, min(size, count - k * size)) for k in range((count + size - 1) // size)]
    with ProcessPoolExecutor(workers) as pool:
        blocks = list(pool.map(_draw_block, jobs))
    return Pool(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def _draw_block(job: tuple[int, int]) -> tuple[np.ndarray, ...]:
    seed, count = job
    rng = random.Random(seed)
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    parts = np.empty((count, GRID * GRID, len(PARTS)), bool)
    value = np.full((count, len(ATTRIBUTES)), -1, np.int8)
    part = np.zeros((count, len(ATTRIBUTES)), np.int8)
    visible = np.zeros((count, len(ATTRIBUTES)), bool)
    side = SIZE // GRID
    for n in range(count):
        bird = rng.random() < 0.6
        attributes, first = (BIRD, 0) if bird else (PRODUCE, len(BIRD))
        look = random_look(attributes, rng)
        drawing = draw_bird(look, rng) if bird else draw_produce(look, rng)
        pixels[n] = np.asarray(drawing.image)
        patches = drawing.parts_HW.reshape(GRID, side, GRID, side).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
        for p in range(len(PARTS)):
            parts[n, :, p] = (patches == p).mean(1) >= _PATCH_SHARE
        for a, (attribute, shown_by, seen) in enumerate(look_in(drawing, look, attributes), first):
            value[n, a] = list(attribute.values).index(look[attribute.name])
            part[n, a] = PARTS.index(shown_by)
            visible[n, a] = seen
    return pixels, parts, value, part, visible


def to_pixels(images_BHW3: np.ndarray, device: torch.device) -> torch.Tensor:
    """(B, 3, H, W) float32 in -1..1, as the processor makes them."""
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
    """Binary cross-entropy of values by patch, and cross-entropy of each attribute's value (or hidden)."""
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
    """Stage 1."""
    tower = model.model.vision_tower
    heads = TowerHeads(model.model.vision_tower.config.hidden_size).to(device)
    rng = np.random.default_rng(1)
    optimizer, schedule = _optimizer([{"params": [*tower.parameters(), *heads.parameters()], "lr": 1e-3}], steps)
    held_out = np.arange(len(pool) - 512, len(pool))
    clock = time.time()
    for step in range(steps):
        rows = rng.integers(0, len(pool) - 512, batch)
        loss = tower_loss(heads, image_features(model, to_pixels(pool.pixels_NHW3[rows], device)), pool, rows)
        _step(loss, optimizer, schedule, [*tower.parameters(), *heads.parameters()])
        if step % 250 == 249 or step == steps - 1:
            print(f"tower {step + 1}/{steps} loss {loss.item():.3f} {time.time() - clock:.0f} s", flush=True)
    with torch.inference_mode():
        _, pooled = heads(image_features(model, to_pixels(pool.pixels_NHW3[held_out], device)))
    for a, logits in enumerate(pooled):
        seen = pool.visible_NA[held_out, a]
        right = logits.argmax(1).cpu().numpy() == pool.value_NA[held_out, a]
        print(f"  {ATTRIBUTES[a].name}: {right[seen].mean():.3f}", flush=True)


def image_features(model: LlavaForConditionalGeneration, pixels_B3HW: torch.Tensor) -> torch.Tensor:
    """(B, 64, E): the tower's last hidden states without the class token, as LLaVA's 'default' strategy takes them."""
    return model.model.vision_tower(pixels_B3HW, output_hidden_states=True).hidden_states[-1][:, 1:]


# Stages 2 and 3 ------------------------------------------------------------------------------------------------------


class Speaker:
    """Questions and answers about drawings, and about nothing."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        nouns = {noun for choices in language.NOUNS.values() for noun in choices}
        self.questions = {noun: Questions.for_noun(noun) for noun in sorted(nouns)}

    def about_nothing(self) -> Said:
        """A rewriting task about no picture: names and features of any field."""
        kind = self.rng.choice(("bird", "produce"))
        return self._rewrite(kind, self._random_phrases(kind, self.rng.randint(1, 8)))

    def name_alone(self) -> Said:
        """A name to copy, about no picture."""
        questions = self.questions[self.rng.choice(sorted(self.questions))]
        return language.say_name(language.made_up_name(self.rng), questions, self.rng)

    def about(self, pool: Pool, n: int) -> list[Said]:
        """What is asked about one drawing: descriptions, attributes, names it is told or cannot know, and rewriting."""
        rng = self.rng
        kind, attributes, first = ("bird", BIRD, 0) if pool.value_NA[n, 0] >= 0 else ("produce", PRODUCE, len(BIRD))
        look = {a.name: list(a.values)[pool.value_NA[n, first + k]] for k, a in enumerate(attributes)}
        seen = [bool(pool.visible_NA[n, first + k]) for k in range(len(attributes))]
        visible = [rng.choice(a.values[look[a.name]]) for a, s in zip(attributes, seen, strict=True) if s]
        questions = self.questions[rng.choice(language.NOUNS[kind])]
        if len(visible) < 3:
            return [self.about_nothing()]
        said = [language.describe(visible, questions, rng) for _ in range(2)]
        for k in rng.sample(range(len(attributes)), 2):
            said.append(language.ask(attributes[k], look, questions.noun, rng, visible=seen[k]))
        if rng.random() < 0.25:
            said.append(language.guess(visible, questions, rng))
        if rng.random() < 0.6:
            told = rng.sample(visible, min(len(visible), rng.randint(2, 8)))
            told += self._random_phrases(kind, rng.choice((0, 0, 0, 1, 2)))
            said.append(self._rewrite(kind, list(dict.fromkeys(told))[:8]))
            said.append(self.name_alone())
        return said

    def _rewrite(self, kind: str, phrases: list[str]) -> Said:
        questions = self.questions[self.rng.choice(language.NOUNS[kind])]
        return language.name_it(language.made_up_name(self.rng), phrases, questions, self.rng)

    def _random_phrases(self, kind: str, count: int) -> list[str]:
        rng, phrases = self.rng, []
        for _ in range(count):
            attribute = rng.choice(language.ATTRIBUTES[kind])
            own = rng.choice(attribute.values[rng.choice(tuple(attribute.values))])
            phrases.append(own if rng.random() < 0.5 else language.made_up_feature(rng))
        return list(dict.fromkeys(phrases))


@dataclass
class Batch:
    """Rows `[prefix][branch 1]...[branch Q]`, padded on the right; labels are -100 but on answers."""

    ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    positions_BT: torch.Tensor
    mask_B1TT: torch.Tensor


class Packer:
    """Turns questions and answers into rows behind one prefix."""

    def __init__(self, processor) -> None:
        self.tokenizer = processor.tokenizer
        image = [processor.tokenizer.convert_tokens_to_ids(processor.image_token)] * (GRID * GRID)
        ids = lambda text: self.tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
        self.image_prefix = [*ids("USER: "), *image, *ids("\n")]
        self.text_prefix = ids("USER: ")

    def pack(self, rows: Sequence[Sequence[Said]], device: torch.device, *, image: bool) -> Batch:
        """One row for each sequence of questions and answers."""
        prefix = self.image_prefix if image else self.text_prefix
        flat = [text for row in rows for s in row for text in (f"{s.query} ASSISTANT:", f" {s.answer}")]
        ids = iter(self.tokenizer(flat, add_special_tokens=False).input_ids)
        built = [self._row(prefix, len(row), ids) for row in rows]
        length = max(len(row[0]) for row in built)
        pad = self.tokenizer.pad_token_id
        ids_BT = torch.full((len(rows), length), pad)
        labels_BT = torch.full((len(rows), length), -100)
        positions_BT = torch.zeros((len(rows), length), dtype=torch.long)
        allowed_BTT = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
        for b, (row_ids, labels, mask, positions) in enumerate(built):
            t = len(row_ids)
            ids_BT[b, :t], labels_BT[b, :t] = torch.tensor(row_ids), torch.tensor(labels)
            positions_BT[b, :t], allowed_BTT[b, :t, :t] = positions, mask
        mask = torch.zeros(allowed_BTT.shape).masked_fill(~allowed_BTT, torch.finfo(torch.float32).min)[:, None]
        return Batch(ids_BT.to(device), labels_BT.to(device), positions_BT.to(device), mask.to(device))

    def _row(self, prefix: list[int], branches: int, ids: Iterator[list[int]]):
        row, labels, lens = list(prefix), [-100] * len(prefix), []
        for _ in range(branches):
            query, answer = next(ids), [*next(ids), self.tokenizer.eos_token_id]
            row += query + answer
            labels += [-100] * len(query) + answer
            lens.append(len(query) + len(answer))
        return row, labels, *branch_mask(len(prefix), lens)


def language_loss(
    model: LlavaForConditionalGeneration, batch: Batch, features_BGE: torch.Tensor | None
) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens."""
    llama = model.model.language_model
    embeds_BTE = llama.embed_tokens(batch.ids_BT)
    if features_BGE is not None:
        images = model.model.multi_modal_projector(features_BGE)
        where = (batch.ids_BT == model.config.image_token_id)[..., None]
        embeds_BTE = embeds_BTE.masked_scatter(where, images)
    hidden_BTE = llama(
        inputs_embeds=embeds_BTE, attention_mask=batch.mask_B1TT, position_ids=batch.positions_BT, use_cache=False
    ).last_hidden_state
    wanted = batch.labels_BT[:, 1:] != -100
    return F.cross_entropy(model.lm_head(hidden_BTE[:, :-1][wanted]), batch.labels_BT[:, 1:][wanted])


def train_text(
    model: LlavaForConditionalGeneration, packer: Packer, steps: int, batch: int, device: torch.device
) -> None:
    """Stage 2."""
    speaker = Speaker(2)
    parameters = [*model.model.language_model.parameters()]
    optimizer, schedule = _optimizer([{"params": parameters, "lr": 2e-3}], steps)
    clock = time.time()
    for step in range(steps):
        rows = packer.pack([[speaker.about_nothing()] for _ in range(batch)], device, image=False)
        loss = language_loss(model, rows, None)
        _step(loss, optimizer, schedule, parameters)
        if step % 100 == 99:
            print(f"text {step + 1}/{steps} loss {loss.item():.3f} {time.time() - clock:.0f} s", flush=True)


def train_together(model: LlavaForConditionalGeneration, packer: Packer, pool: Pool, steps: int, batch: int,
                   device: torch.device, snapshot: Path) -> None:  # fmt: skip
    """Stage 3. Every 500 steps the model is saved to `snapshot`, to look at."""
    speaker, rng = Speaker(3), np.random.default_rng(3)
    heads = TowerHeads(model.model.vision_tower.config.hidden_size).to(device)
    tower, parameters = [*model.model.vision_tower.parameters()], [*model.parameters(), *heads.parameters()]
    known = {id(p) for p in tower}
    groups = [{"params": tower, "lr": 4e-4}, {"params": [p for p in parameters if id(p) not in known], "lr": 1.3e-3}]
    optimizer, schedule = _optimizer(groups, steps)
    clock, mean = time.time(), 0.0
    for step in range(steps):
        chosen = rng.integers(0, len(pool) - 512, batch)
        rows = packer.pack([speaker.about(pool, n) for n in chosen], device, image=True)
        features_BGE = image_features(model, to_pixels(pool.pixels_NHW3[chosen], device))
        loss = language_loss(model, rows, features_BGE)
        tasks = [[speaker.about_nothing()] for _ in range(batch // 2)] + [
            [speaker.name_alone()] for _ in range(2 * batch)
        ]
        for task in (tasks[: batch // 2], tasks[batch // 2 :]):
            loss = loss + 0.3 * language_loss(model, packer.pack(task, device, image=False), None)
        _step(loss + 0.1 * tower_loss(heads, features_BGE, pool, chosen), optimizer, schedule, parameters)
        mean += (loss.item() - mean) * max(0.02, 1 / (step + 1))
        if step % 50 == 49:
            print(f"together {step + 1}/{steps} loss {mean:.3f} {time.time() - clock:.0f} s", flush=True)
        if step % 500 == 499:
            torch.save(model.state_dict(), snapshot)


def _optimizer(groups: list[dict], steps: int):
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    rates = [group["lr"] for group in groups]
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.05)


def _step(loss: torch.Tensor, optimizer, schedule, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the finished model")
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
    speaker = Speaker(1)
    processor = build_processor(train_tokenizer(_corpus(speaker, 20_000)))
    model = build_model(processor)
    model.to(device)  # pyright: ignore[reportArgumentType]
    packer = Packer(processor)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    pool = _kept_pool(work / "pool", max(2000, int(options.drawings * options.scale)))
    print(f"{len(pool):,} drawings", flush=True)
    stages = (
        ("tower", lambda: train_tower(model, pool, int(options.tower_steps * options.scale), 64, device)),
        ("text", lambda: train_text(model, packer, int(options.text_steps * options.scale), 48, device)),
        ("together", lambda: train_together(model, packer, pool, int(options.steps * options.scale), 12, device,
                                            work / "snapshot.pt")),
    )  # fmt: skip
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


def _kept_pool(folder: Path, count: int) -> Pool:
    """The drawings, from the last time where they are there."""
    names = [field.name for field in fields(Pool)]
    if not folder.exists():
        pool = draw_pool(count, seed=1)
        unfinished = folder.with_suffix(".partial")
        unfinished.mkdir(exist_ok=True)
        for name in names:
            np.save(unfinished / f"{name}.npy", getattr(pool, name))
        unfinished.rename(folder)
    return Pool(*(np.load(folder / f"{name}.npy") for name in names))


def _corpus(speaker: Speaker, count: int) -> Iterator[str]:
    """Text for the tokenizer: rewriting tasks, and single-attribute questions about random looks."""
    for _ in range(count):
        said = speaker.about_nothing()
        yield f"USER: {said.query} ASSISTANT: {said.answer}"
        kind = speaker.rng.choice(("bird", "produce"))
        attributes = language.ATTRIBUTES[kind]
        look = random_look(attributes, speaker.rng)
        phrases = [speaker.rng.choice(a.values[look[a.name]]) for a in attributes]
        said = language.describe(phrases, speaker.questions[language.NOUNS[kind][0]], speaker.rng)
        yield f"USER: {said.query} ASSISTANT: {said.answer}"
        said = language.ask(speaker.rng.choice(attributes), look, kind, speaker.rng, visible=speaker.rng.random() < 0.8)
        yield f"USER: {said.query} ASSISTANT: {said.answer}"


if __name__ == "__main__":
    main()
