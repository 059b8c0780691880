"""Tuning on a model's shape: forward and backward of a micro-batch, shared and separate, the optimizer, the merge."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from bench import measure, models
from bench.gpu.card import peak_flops
from bench.gpu.figures import Figures
from bench.gpu.profiles import profiled
from bench.gpu.shapes import Shape
from bench.tuning import difference, flops
from seewhy.config import AugmentConfig, TuneConfig
from seewhy.records import Turn
from seewhy.vlm.adapter import add_adapter, merge_adapter
from seewhy.vlm.chat import Row, collate, move
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import attend, branch_attention

DROPOUT = TuneConfig().lora_dropout


def measure_tuning(
    vlm: VisionLanguageModel, name: str, shape: Shape, figures: Figures, repetitions: int, tables: Path
) -> None:
    """Measure tuning and leave its figures, which end in `_<name>`; `vlm` is used up."""
    turns = models.pairs(vlm, shape.pairs, question=shape.question, answer=shape.answer)
    adapted = add_adapter(vlm.model, rank=shape.rank, alpha=2 * shape.rank, dropout=DROPOUT)
    _fill(adapted)
    work = Work(vlm, adapted.train(), turns, shape)
    with figures.attempt(f"tuning_rows_{name}"):
        figures.add(**{f"tuning_rows_seconds_per_image_{name}": work.seconds_of_rows()})
    peak = peak_flops(vlm.device.type)
    best: dict[str, float] = {}
    for mode, size, batches in work.settings():
        key = f"{mode}_{size}pairs_{name}"
        if figures.late(f"tuning_{key}"):
            continue
        with figures.attempt(f"tuning_{key}"):
            step = work.step(batches)
            seconds, gb = measured(step, repetitions)
            images = work.images_of(batches, mode)
            figures.add(**{f"tuning_seconds_per_image_{key}": seconds / images, f"tuning_peak_gb_{key}": gb})
            if seconds / images < best.get(mode, float("inf")):
                best[mode] = seconds / images
                figures.add(**work.rates(batches, step, seconds, peak, mode, name))
        adapted.zero_grad(set_to_none=True)
    if len(best) == 2:
        figures.add(**{f"tuning_ratio_separate_{name}": best["separate"] / best["shared"]})
    for part, ends in (
        ("equal", lambda: work.equality(name)),
        ("optimizer", lambda: work.optimizer(name, repetitions)),
        ("profile", lambda: profiled(work.step(work.shared(min(shape.tuning))), f"tuning_{name}", tables)),
        ("merge", lambda: work.merge(name)),
    ):
        if not figures.late(f"tuning_{part}_{name}"):
            with figures.attempt(f"tuning_{part}_{name}"):
                figures.add(**ends())
        adapted.zero_grad(set_to_none=True)


def measured(step: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Return the median seconds of a step after a first one, and the peak memory in GB, weights and all."""
    measure.reset_peak()
    step()
    seconds = measure.median_seconds(step, repetitions, warm_up=0)
    return seconds, measure.peak_gb()


class Work:
    """Micro-batches of a shape's pairs, and steps on them."""

    def __init__(self, vlm: VisionLanguageModel, adapted: Any, turns: list[Turn], shape: Shape) -> None:
        self.vlm, self.adapted, self.turns, self.shape = vlm, adapted, turns, shape

    def settings(self) -> Iterator[tuple[str, int, list[Row]]]:
        """Yield mode, pairs a micro-batch, and the micro-batches, which are made when they are asked for."""
        for images, pairs in zip_longest(self.shape.tuning, self.shape.separate):
            if images:
                yield "shared", images * self.shape.pairs, self.shared(images)
            if pairs:
                yield "separate", pairs, self.separate(pairs)

    def shared(self, images: int) -> list[Row]:
        """One micro-batch with all pairs of each of some images."""
        rows = [row for image in range(images) for row in self._schedule(shared=True).rows(self._of(image), None)]
        return [self._batch(rows)]

    def separate(self, pairs: int) -> list[Row]:
        """The pairs of one image in micro-batches of so many sequences."""
        rows = self._schedule(shared=False).rows(self.turns, None)
        return [self._batch(rows[start : start + pairs]) for start in range(0, len(rows), pairs)]

    def images_of(self, batches: list[Row], mode: str) -> int:
        return len(batches[0]["input_ids"]) if mode == "shared" else 1

    def step(self, batches: list[Row]) -> Callable[[], torch.Tensor]:
        """Return a function that runs forward and backward on micro-batches, as tune() does, and returns the loss."""
        half = self.vlm.model.dtype != torch.float32
        labelled = sum(int((batch["labels"] != -100).sum()) for batch in batches)

        def run() -> torch.Tensor:
            self.adapted.zero_grad(set_to_none=True)
            total = torch.zeros((), device=self.vlm.device)
            with branch_attention(self.vlm.model):
                for batch in batches:
                    with torch.autocast(self.vlm.device.type, self.vlm.model.dtype, enabled=half):
                        loss = answer_loss(self.adapted, batch, labelled)
                    loss.backward()
                    total += loss.detach()
            return total

        return run

    def rates(
        self, batches: list[Row], step: Callable[[], object], seconds: float, peak: float | None, mode: str, name: str
    ) -> dict[str, float]:
        """Return tokens a second of the sequences that are computed, FLOPs and their share of the card's peak."""
        tokens, operations = sum(int(batch["attention_mask"].sum()) for batch in batches), flops(step)
        key = f"{mode}_{name}"
        found = {
            f"tuning_seconds_per_image_{key}": seconds / self.images_of(batches, mode),
            f"tuning_tokens_per_second_{key}": tokens / seconds,
            f"tuning_tflops_{key}": operations / seconds / 1e12,
        }
        return {**found, **({f"tuning_mfu_{key}": operations / seconds / peak} if peak else {})}

    def seconds_of_rows(self, images: int = 4) -> float:
        """Return the seconds that one data loader's worker takes for an image: augmentation, processor, tokens."""
        schedule = self._schedule(shared=True)
        start = time.perf_counter()
        for image in range(images):
            schedule.rows(self._of(image), seed=image)
        return (time.perf_counter() - start) / images

    def equality(self, name: str) -> dict[str, float]:
        """Return how far loss and gradients of one image's pairs are apart, shared and separate, without dropout."""
        self.adapted.eval()
        results = []
        for batches in (self.shared(1), self.separate(min(self.shape.separate))):
            loss = float(self.step(batches)())
            gradients = {n: p.grad.float() for n, p in self.adapted.named_parameters() if p.grad is not None}
            results.append((loss, gradients))
        self.adapted.train()
        (shared, shared_gradients), (separate, separate_gradients) = results
        return {
            f"tuning_loss_difference_{name}": abs(shared - separate) / abs(separate),
            f"tuning_gradient_difference_{name}": difference(shared_gradients, separate_gradients),
        }

    def optimizer(self, name: str, repetitions: int) -> dict[str, float]:
        """Return the seconds of an optimizer step, and the peak memory of a whole step with the optimizer's state."""
        step = self.step(self.shared(1))
        adamw = torch.optim.AdamW([p for p in self.adapted.parameters() if p.requires_grad], lr=1e-5)
        measure.reset_peak()
        step()
        adamw.step()
        seconds = measure.median_seconds(adamw.step, repetitions, warm_up=0)
        step()
        adamw.step()
        return {
            f"tuning_optimizer_seconds_{name}": seconds,
            f"tuning_peak_gb_with_optimizer_{self.shape.pairs}pairs_{name}": measure.peak_gb(),
        }

    def merge(self, name: str) -> dict[str, float]:
        """Return the seconds and peak memory of the merge in float32; the adapter is gone afterwards."""
        schedule = self._schedule(shared=True)
        rows = [attend(move(row, self.vlm), self.vlm.model) for t in self.turns[:2] for row in schedule.rows([t], None)]
        measure.reset_peak()
        measure.finish()
        start = time.perf_counter()
        merge_adapter(self.adapted, rows, self.vlm.model.dtype)
        measure.finish()
        return {f"merge_seconds_{name}": time.perf_counter() - start, f"merge_peak_gb_{name}": measure.peak_gb()}

    def _of(self, image: int) -> list[Turn]:
        return [replace(turn, image=str(image)) for turn in self.turns]

    def _batch(self, rows: list[Row]) -> Row:
        return move(collate(rows, self.vlm.pad_token_id, "right"), self.vlm)

    def _schedule(self, *, shared: bool) -> Schedule:
        return Schedule(
            self.vlm, self.turns, pairs=len(self.turns), epochs=1, changes=AugmentConfig(), seed=0, share_image=shared,
            opener=self.shape.opener(),
        )  # fmt: skip


def _fill(adapted: Any) -> None:
    """Give the adapter's second factors, which begin at zero, some weight, so that the first have gradients too."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
