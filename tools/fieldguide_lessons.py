"""The training data of the field guide's base model: drawings, questions and answers."""

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from seewhy.domain.questions import Questions
from seewhy.fieldguide import quiz
from seewhy.fieldguide.birds import draw_bird
from seewhy.fieldguide.draw import PARTS, SIZE
from seewhy.fieldguide.guide import attribute_visibility
from seewhy.fieldguide.produce import draw_produce
from seewhy.fieldguide.world import BIRD, PRODUCE, random_look
from tools import fieldguide_language as language
from tools.training import Said

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
    """Return `count` drawings, 60 % birds and 40 % produce, of random looks."""
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
        for a, (attribute, shown_by, seen) in enumerate(attribute_visibility(drawing, look, attributes), first):
            value[n, a] = list(attribute.values).index(look[attribute.name])
            part[n, a] = PARTS.index(shown_by)
            visible[n, a] = seen
    return pixels, parts, value, part, visible


def kept_pool(folder: Path, count: int) -> Pool:
    """Return the drawings, from the last time where they are there."""
    names = [field.name for field in fields(Pool)]
    if not folder.exists():
        pool = draw_pool(count, seed=1)
        unfinished = folder.with_suffix(".partial")
        unfinished.mkdir(exist_ok=True)
        for name in names:
            np.save(unfinished / f"{name}.npy", getattr(pool, name))
        unfinished.rename(folder)
    return Pool(*(np.load(folder / f"{name}.npy") for name in names))


class Speaker:
    """Questions and answers about drawings, and about nothing."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        nouns = {noun for choices in language.NOUNS.values() for noun in choices}
        self.questions = {noun: Questions.for_noun(noun) for noun in sorted(nouns)}

    def about_nothing(self) -> Said:
        """Return a rewriting task about no picture: names and features of any field."""
        kind = self.rng.choice(("bird", "produce"))
        return self._rewrite(kind, self._random_phrases(kind, self.rng.randint(1, 8)))

    def name_alone(self) -> Said:
        """Return a name to copy, about no picture."""
        questions = self.questions[self.rng.choice(sorted(self.questions))]
        return language.say_name(language.made_up_name(self.rng), questions, self.rng)

    def about(self, pool: Pool, n: int) -> list[Said]:
        """Return questions about one drawing: descriptions, attributes, names that are given or not, rewriting."""
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
            told = language.some(visible, rng.randint(2, 8), rng) + self._random_phrases(kind, rng.choice((0, 0, 1, 2)))
            if rng.random() < 0.2:
                rng.shuffle(told)
            said.append(self._rewrite(kind, list(dict.fromkeys(told))[:8]))
            said.append(self.name_alone())
        return said

    def _rewrite(self, kind: str, phrases: list[str]) -> Said:
        questions = self.questions[self.rng.choice(language.NOUNS[kind])]
        return language.name_it(language.made_up_name(self.rng), phrases, questions, self.rng)

    def _random_phrases(self, kind: quiz.Subject, count: int) -> list[str]:
        rng, phrases = self.rng, []
        for _ in range(count):
            attribute = rng.choice(quiz.ATTRIBUTES[kind])
            own = rng.choice(attribute.values[rng.choice(tuple(attribute.values))])
            phrases.append(own if rng.random() < 0.5 else language.made_up_feature(rng))
        return list(dict.fromkeys(phrases))
