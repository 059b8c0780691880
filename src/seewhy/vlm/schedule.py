"""The order in which turns are tuned on: the turns of one image together, under one augmented view of it.

Deviation from the research code: its turns come one by one, and every turn has its image computed again.

A step has exactly as many turns as are asked for; only the last one of an epoch has what is left. Where the turns of an
image do not fit into what a step has room for, the rest of them come in another step, with a view of their own. How a
step is cut into micro-batches changes neither its turns nor their views.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence

from PIL import Image
from torch.utils.data import Dataset

from seewhy.config import AugmentConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.augment import augment
from seewhy.vlm.chat import Row, answered, encode_all, open_image
from seewhy.vlm.image_sizes import of_file
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import share

POOL = 32
"""Batches' worth of shuffled images that are sorted by length, so that rows of a batch are of about one length."""


class Schedule(Dataset[list[Row]]):
    """All epochs' steps, of `pairs` turns each, in the order of training. Step i depends on (seed, i) alone.

    `batches` holds the steps: lists of groups of indices into `turns`, a group for each image of the step.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        turns: Sequence[Turn],
        *,
        pairs: int,
        epochs: int,
        changes: AugmentConfig,
        seed: int,
        share_image: bool = True,
        opener: Callable[[str], Image.Image] = open_image,
    ) -> None:
        self.vlm, self.turns, self.changes, self.opener, self.seed = vlm, turns, changes, opener, seed
        self.share_image = share_image
        rng = random.Random(seed)
        lengths = [len(vlm.token_ids(turn.query + turn.answer)) for turn in turns]
        self.batches = [step for _ in range(epochs) for step in epoch_of(_images(turns), lengths, pairs, rng)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> list[Row]:
        """The rows of a whole step."""
        return [row for rows in self.micro_batches(item, len(self.turns)) for row in rows]

    def micro_batches(self, item: int, pairs: int) -> list[list[Row]]:
        """A step's rows in batches of at most `pairs` turns."""
        seeds = []
        for place in range(len(self.batches[item])):
            digest = hashlib.sha256(f"{self.seed}/{item}/{place}".encode()).digest()
            seeds.append(int.from_bytes(digest[:8], "big"))
        return [
            [row for place, group in batch for row in self.rows([self.turns[i] for i in group], seeds[place])]
            for batch in micro_batches_of(self.batches[item], pairs)
        ]

    def rows(self, turns: Sequence[Turn], seed: int | None) -> list[Row]:
        """Turns about one image as tensors; the image is changed at random by `seed`, or left as it is."""
        image = self.opener(turns[0].image) if turns[0].image else None
        if image is not None and seed is not None:
            image = augment(image, self.changes, seed)
        with of_file(turns[0].image):
            prompts = encode_all(self.vlm, [turn.query for turn in turns], image)
        rows = [answered(self.vlm, prompt, turn.answer) for prompt, turn in zip(prompts, turns, strict=True)]
        for turn, row in zip(turns, rows, strict=True):
            check_length(self.vlm, turn, row)
        if self.share_image:
            return share(rows, self.vlm)
        return [alone for row in rows for alone in share([row], self.vlm)]


def check_length(vlm: VisionLanguageModel, turn: Turn, row: Row) -> None:
    """Raises SeeWhyError for a turn with more tokens than the model has positions for."""
    length = row["input_ids"].shape[1]
    if length > vlm.max_length:
        raise SeeWhyError(
            f"Turn {turn.id} has {length} tokens, more than the {vlm.max_length} of model {vlm.name}: shorten its text."
        )


class MicroBatches(Dataset[list[list[Row]]]):
    """A schedule's steps, each as batches of at most `pairs` turns, which fit on the device."""

    def __init__(self, schedule: Schedule, pairs: int) -> None:
        self.schedule, self.pairs = schedule, pairs

    def __len__(self) -> int:
        return len(self.schedule)

    def __getitem__(self, item: int) -> list[list[Row]]:
        return self.schedule.micro_batches(item, self.pairs)


def epoch_of(
    images: Sequence[Sequence[int]], lengths: Sequence[int], pairs: int, rng: random.Random
) -> list[list[list[int]]]:
    """One epoch's steps. `images` holds the turns of each image, `lengths` the tokens of each turn.

    Every step has `pairs` turns, but for the last, which has the rest of them. Steps are filled from a pool of shuffled
    images of about one length.
    """
    groups = [list(group) for group in images]
    for group in groups:
        rng.shuffle(group)
    rng.shuffle(groups)
    steps, waiting = [], []
    for pool in _pools(groups, POOL * pairs):
        waiting += sorted(pool, key=lambda group: sum(lengths[index] for index in group))
        turns = sum(map(len, waiting))
        for _ in range(turns // pairs):
            steps.append(_take(waiting, pairs))
    rng.shuffle(steps)
    return [*steps, waiting] if waiting else steps


def micro_batches_of(step: Sequence[Sequence[int]], pairs: int) -> list[list[tuple[int, list[int]]]]:
    """A step's groups, each with its place in the step, in batches of at most `pairs` turns; a longer group is cut."""
    batches: list[list[tuple[int, list[int]]]] = []
    room = 0
    for place, group in enumerate(step):
        for start in range(0, len(group), pairs):
            part = list(group[start : start + pairs])
            if len(part) > room:
                batches.append([])
                room = pairs
            batches[-1].append((place, part))
            room -= len(part)
    return batches


def _take(waiting: list[list[int]], pairs: int) -> list[list[int]]:
    """Remove `pairs` turns from the groups that wait: the first that fit. Where none does, the longest is split."""
    step, room = [], pairs
    while room:
        place = next((place for place, group in enumerate(waiting) if len(group) <= room), None)
        if place is None:
            longest = max(waiting, key=len)
            group, longest[:] = longest[:room], longest[room:]
        else:
            group = waiting.pop(place)
        step.append(group)
        room -= len(group)
    return step


def _images(turns: Sequence[Turn]) -> list[list[int]]:
    """Indices of turns by image; those without an image each alone."""
    of_image: dict[str, list[int]] = {}
    for index, turn in enumerate(turns):
        of_image.setdefault(turn.image or f"\0{index}", []).append(index)
    return list(of_image.values())


def _pools(groups: Sequence[list[int]], turns: int) -> Iterator[list[list[int]]]:
    """Groups in their order, so many together that they have at least so many turns, but for the last."""
    pool: list[list[int]] = []
    count = 0
    for group in groups:
        pool.append(group)
        count += len(group)
        if count >= turns:
            yield pool
            pool, count = [], 0
    if pool:
        yield pool
