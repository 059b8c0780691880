"""The drawings that the base model learns from, drawn once and kept."""

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from seewhy.fieldguide.birds import draw_bird
from seewhy.fieldguide.draw import PARTS, SIZE
from seewhy.fieldguide.produce import draw_produce
from seewhy.fieldguide.truth import look_in
from seewhy.fieldguide.world import BIRD, PRODUCE, random_look

ATTRIBUTES = (*BIRD, *PRODUCE)
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


def kept_pool(folder: Path, count: int) -> Pool:
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
