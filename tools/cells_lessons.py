"""What the base model of blood cells is taught about a micrograph: descriptions, marks, yes and no, and rewriting.

It never reads the name of a class: names are made up, and the pictures are the vocabulary part of the train split.
"""

import csv
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.domain.loaders.wbcatt import CLASSES, MARKS, PHRASES
from seewhy.domain.marks_quiz import open_answer, open_question, yes_no_answer, yes_no_question
from seewhy.domain.questions import Questions
from tools import fieldguide_language as language
from tools.cells_tower import image_processor
from tools.training import Said

NOUNS = ("white blood cell", "white blood cell", "blood cell", "cell")


def in_vocabulary(name: str) -> bool:
    """Return whether an image, by the name of its file, teaches the base its words; the loop never trains on it."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 == 0


@dataclass(frozen=True)
class Cells:
    """N micrographs: pixels as the processor crops them, and the number of each attribute's mark."""

    pixels_NHW3: np.ndarray
    marks_NA: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels_NHW3)

    def marks(self, n: int) -> dict[str, str]:
        """Return attribute -> mark."""
        return {name: tuple(values)[self.marks_NA[n, a]] for a, (name, values) in enumerate(MARKS.items())}


def read_cells(source: Path, split: str) -> Cells:
    """Read the vocabulary part of train, or all of val."""
    processor, pixels, marks = image_processor(), [], []
    with (source / f"pbc_attr_v1_{split}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if split == "train" and not in_vocabulary(row["img_name"]):
                continue
            with Image.open(source / row["path"]) as image:
                crop = processor(image.convert("RGB"), do_rescale=False, do_normalize=False, return_tensors="np")
            pixels.append(crop["pixel_values"][0].transpose(1, 2, 0).astype(np.uint8))
            marks.append([tuple(values).index(row[name]) for name, values in MARKS.items()])
    return Cells(np.stack(pixels), np.array(marks))


class CellSpeaker:
    """Questions and answers about micrographs, and about nothing."""

    def __init__(self, seed: int, attributes: Mapping[str, Sequence[str]]) -> None:
        """`attributes` is what a question calls an attribute -> the phrases of its values."""
        self.rng = random.Random(seed)
        self.attributes = attributes
        self.questions = {noun: Questions.for_noun(noun) for noun in sorted(set(NOUNS))}

    def about(self, marks: Mapping[str, str]) -> list[Said]:
        """Return questions about one micrograph, given its marks."""
        rng = self.rng
        visible = [phrase for name, value in marks.items() if (phrase := MARKS[name][value])]
        questions = self.questions[rng.choice(NOUNS)]
        said = [language.describe(visible, questions, rng) for _ in range(2)]
        own = {name: [p for p in phrases if p in visible] for name, phrases in self.attributes.items()}
        for name in rng.sample([n for n, phrases in self.attributes.items() if own[n] and len(phrases) > 1], 2):
            said.append(Said(open_question(name, rng), open_answer(own[name][0])))
        said += [self._yes_or_no(own, questions.noun) for _ in range(2)]
        if rng.random() < 0.25:
            said.append(language.guess(visible, questions, rng))
        if rng.random() < 0.6:
            told = language.some(visible, rng.randint(2, 8), rng) + self._random_phrases(rng.choice((0, 0, 1)))
            said += [self._rewrite(list(dict.fromkeys(told))[:8]), self.name_alone()]
        return said

    def about_nothing(self) -> Said:
        """Return a rewriting task about no picture: a name and features of any field."""
        return self._rewrite(self._random_phrases(self.rng.randint(1, 8)))

    def name_alone(self) -> Said:
        """Return a name to copy, about no picture."""
        return language.say_name(self._name(), self.questions[self.rng.choice(NOUNS)], self.rng)

    def _yes_or_no(self, own: Mapping[str, Sequence[str]], noun: str) -> Said:
        name = self.rng.choice(tuple(self.attributes))
        wrong = [phrase for phrase in self.attributes[name] if phrase not in own[name]]
        if own[name] and (not wrong or self.rng.random() < 0.5):
            return Said(yes_no_question(own[name][0], noun), yes_no_answer(own[name][0], right=True))
        asked = self.rng.choice(wrong)
        return Said(yes_no_question(asked, noun), yes_no_answer(asked, right=False, own="".join(own[name][:1])))

    def _name(self) -> str:
        """Return a made-up name; half of them are one long word, as names of cells are."""
        while True:
            name = language.made_up_name(self.rng)
            if self.rng.random() < 0.5:
                name = language.made_up_word(self.rng) + language.made_up_word(self.rng).lower()
            if name not in CLASSES:
                return name

    def _rewrite(self, phrases: list[str]) -> Said:
        questions = self.questions[self.rng.choice(NOUNS)]
        return language.name_it(self._name(), phrases, questions, self.rng)

    def _random_phrases(self, count: int) -> list[str]:
        rng = self.rng
        drawn = [rng.choice(PHRASES) if rng.random() < 0.5 else language.made_up_feature(rng) for _ in range(count)]
        return sorted(dict.fromkeys(drawn), key=lambda p: PHRASES.index(p) if p in PHRASES else len(PHRASES))
