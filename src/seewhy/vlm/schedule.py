"""The order in which turns are tuned on: the turns of one image together, under one augmented view of it.

Deviation from the research code: its turns come one by one, and every turn has its image computed again.
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
    """All epochs' batches, of `pairs` turns at most, in the order of training. Batch i depends on (seed, i) alone."""

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
        self.batches = [batch for _ in range(epochs) for batch in _epoch(turns, lengths, pairs, rng)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> list[Row]:
        rows = []
        for place, group in enumerate(self.batches[item]):
            digest = hashlib.sha256(f"{self.seed}/{item}/{place}".encode()).digest()
            rows += self.rows([self.turns[index] for index in group], int.from_bytes(digest[:8], "big"))
        return rows

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


def _epoch(turns: Sequence[Turn], lengths: Sequence[int], pairs: int, rng: random.Random) -> list[list[list[int]]]:
    """One epoch: batches of groups of turns; a group is about one image."""
    groups = _groups(turns, pairs, rng)
    rng.shuffle(groups)
    batches = []
    for pool in _filled(groups, POOL * pairs):
        pool.sort(key=lambda group: sum(lengths[index] for index in group))
        batches += _filled(pool, pairs)
    rng.shuffle(batches)
    return batches


def _groups(turns: Sequence[Turn], pairs: int, rng: random.Random) -> list[list[int]]:
    """Turns by image, at most `pairs` together; those without an image each alone."""
    of_image: dict[str, list[int]] = {}
    for index, turn in enumerate(turns):
        of_image.setdefault(turn.image or f"\0{index}", []).append(index)
    groups = []
    for group in of_image.values():
        rng.shuffle(group)
        groups += [group[start : start + pairs] for start in range(0, len(group), pairs)]
    return groups


def _filled(groups: Sequence[list[int]], pairs: int) -> Iterator[list[list[int]]]:
    """Groups in their order, as many together as make at most `pairs` turns."""
    batch: list[list[int]] = []
    for group in groups:
        if batch and sum(map(len, batch)) + len(group) > pairs:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch
