"""Training data for tuning: which turns fit, in what order they come, and how their images are augmented.

A turn that is too long is dropped whole: cut, it would lose its end token or some of the image's tokens.

`Schedule` holds the optimizer steps of all epochs. The turns of one image stand together, under one augmented view; in
the research code turns come one by one, and each computes its image again. A step has exactly as many turns as asked
for; only an epoch's last step has fewer. Where the turns of an image do not fit into a step, the rest come in another
step under a view of their own. How a step is cut into micro-batches changes neither its turns nor their views.

`augment` makes flips, rotation, shifts, perspective, colour jitter and blur (docs/method.md 4). Deviations from the
research code, which uses torchvision:
1. Pillow alone, and one seed for all draws, so that a resumed run sees the same images.
2. Corners that a rotation or a shift leaves empty take the image's mean colour instead of black.
3. Changes are made in one order; a corner is shifted out as well as in; blur grows with the image.
4. All changes are tried on every view, gently; the research code draws one to four of the seven (`at_most`).
"""

import hashlib
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat
from torch.utils.data import Dataset

from seewhy.config import AugmentConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.chat import (
    IGNORED,
    Row,
    answer_ids,
    encode,
    encode_all,
    named_image,
    open_image,
    with_answer,
    with_weights,
)
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import share

_PROBE = "?"
_SHAPES = ((64, 64), (96, 48), (1200, 400), (400, 1200))
"""Image sizes that differ in tokens wherever the size makes a difference."""
_NAMED = 5
"""Turns that a warning names at most."""


def drop_too_long(vlm: VisionLanguageModel, turns: Sequence[Turn], opener: Callable[[str], Image.Image]) -> list[Turn]:
    """Return the turns that have at most as many tokens as the model has positions for, and warn of the others.

    Raises SeeWhyError, naming them, for a text with a special token in it and for an image that leaves no room for
    text; also where no turn is left.
    """
    tokens_of = image_tokens(vlm, opener)
    prompt_tokens = cache(lambda query: encode(vlm, query, None)["input_ids"].shape[1])
    long = []
    for turn in turns:
        try:
            text = prompt_tokens(turn.query) + len(answer_ids(vlm, turn.answer))
        except SeeWhyError as error:
            raise SeeWhyError(f"Turn {turn.id}: {error}") from error
        if text + tokens_of(turn.image) > vlm.max_length:
            long.append(turn.id)
    if len(long) == len(turns):
        of = f"each of the {len(turns)} has more than the {vlm.max_length} tokens of model {vlm.name}"
        raise SeeWhyError(f"There is nothing to tune on: {of if turns else 'no turns are left'}.")
    if long:
        named = ", ".join(long[:_NAMED]) + (", ..." if len(long) > _NAMED else "")
        warnings.warn(
            f"{len(long)} of {len(turns)} turns have more than the {vlm.max_length} tokens of model {vlm.name} and are "
            f"left out whole: {named}.",
            stacklevel=3,
        )
    return [turn for turn in turns if turn.id not in set(long)]


def image_tokens(vlm: VisionLanguageModel, opener: Callable[[str], Image.Image]) -> Callable[[str], int]:
    """Return a function from an image's path to the tokens that it adds to a prompt.

    It opens images only where their size makes a difference.
    """
    text = encode(vlm, _PROBE, None)["input_ids"].shape[1]

    @cache
    def of_size(size: tuple[int, int]) -> int:
        return encode(vlm, _PROBE, Image.new("RGB", size))["input_ids"].shape[1] - text

    @cache
    def fixed() -> int | None:
        counts = {of_size(size) for size in _SHAPES}
        return counts.pop() if len(counts) == 1 else None

    @cache
    def of_path(path: str) -> int:
        if not path:
            return 0
        with named_image(path):
            tokens = of_size(opener(path).size) if fixed() is None else fixed() or 0
        if tokens + text >= vlm.max_length:
            raise SeeWhyError(
                f"Image {path} alone is {tokens} tokens, and {vlm.name} has {vlm.max_length} for it and its text: "
                "set model.max_pixels, make it smaller, or take a model with a longer context."
            )
        return tokens

    return of_path


POOL = 32
"""Steps' worth of shuffled images that are sorted by length, so that the rows of a step are of about one length."""


class Schedule(Dataset[list[Row]]):
    """The optimizer steps of all epochs, `pairs` turns each, in the order of training.

    `steps` holds each step as groups of indices into `turns`, one for each image. Step i depends on (seed, i) alone.
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
        name_weight: float = 1.0,
        opener: Callable[[str], Image.Image] = open_image,
    ) -> None:
        self.name_weight = name_weight
        self.vlm, self.turns, self.changes, self.opener, self.seed = vlm, turns, changes, opener, seed
        self.share_image = share_image
        rng = random.Random(seed)
        lengths = [len(vlm.token_ids(turn.query + turn.answer)) for turn in turns]  # orders the steps, so not changed
        self.steps = [step for _ in range(epochs) for step in epoch_of(_images(turns), lengths, pairs, rng)]

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> list[Row]:
        """Return the rows of a whole step."""
        return [row for rows in self.micro_batches(item, len(self.turns)) for row in rows]

    def micro_batches(self, item: int, pairs: int, share: tuple[int, int] = (0, 1)) -> list[list[Row]]:
        """Return a step's rows in micro-batches of at most `pairs` turns; of several ranks (rank, ranks), its share.

        All ranks have as many micro-batches, as they add up their gradients together: where a rank would have fewer,
        it repeats rows without labels, which count for nothing.
        """
        seeds = []
        for place in range(len(self.steps[item])):
            digest = hashlib.sha256(f"{self.seed}/{item}/{place}".encode()).digest()
            seeds.append(int.from_bytes(digest[:8], "big"))

        def rows(batch: Sequence[Placed]) -> list[Row]:
            return [row for place, group in batch for row in self.rows([self.turns[i] for i in group], seeds[place])]

        rank, ranks = share
        of_ranks = [cut(part, pairs) for part in shares_of(self.steps[item], ranks)]
        own, most = [rows(batch) for batch in of_ranks[rank]], max(map(len, of_ranks))
        if len(own) < most:
            filler = unlabelled(own[0] if own else rows(of_ranks[0][0][:1]))
            own += [filler] * (most - len(own))
        return own

    def rows(self, turns: Sequence[Turn], seed: int | None) -> list[Row]:
        """Return turns about one image as tensors. `seed` augments the image; None leaves it as it is."""
        image = self.opener(turns[0].image) if turns[0].image else None
        if image is not None and seed is not None:
            image = augment(self.vlm.limited(image), self.changes, seed)
        with named_image(turns[0].image):
            prompts = encode_all(self.vlm, [turn.query for turn in turns], image)
        rows = [with_answer(self.vlm, prompt, turn.answer) for prompt, turn in zip(prompts, turns, strict=True)]
        for turn, row in zip(turns, rows, strict=True):
            check_length(self.vlm, turn, row)
        if self.name_weight != 1:
            weight = self.name_weight
            rows = [with_weights(self.vlm, r, t.answer, t.names, weight) for r, t in zip(rows, turns, strict=True)]
        if self.share_image:
            return share(rows, self.vlm)
        return [alone for row in rows for alone in share([row], self.vlm)]


def check_length(vlm: VisionLanguageModel, turn: Turn, row: Row) -> None:
    """Raise SeeWhyError for a turn with more tokens than the model has positions for."""
    length = row["input_ids"].shape[1]
    if length > vlm.max_length:
        raise SeeWhyError(
            f"Turn {turn.id} has {length} tokens, more than the {vlm.max_length} of model {vlm.name}: shorten its text."
        )


class MicroBatches(Dataset[list[list[Row]]]):
    """A schedule's steps, each as micro-batches of at most `pairs` turns, which fit on the device; of several ranks,
    the share of one."""

    def __init__(self, schedule: Schedule, pairs: int, share: tuple[int, int] = (0, 1)) -> None:
        self.schedule, self.pairs, self.share = schedule, pairs, share

    def __len__(self) -> int:
        return len(self.schedule)

    def __getitem__(self, item: int) -> list[list[Row]]:
        return self.schedule.micro_batches(item, self.pairs, self.share)


def epoch_of(
    images: Sequence[Sequence[int]], lengths: Sequence[int], pairs: int, rng: random.Random
) -> list[list[list[int]]]:
    """Return one epoch's steps, filled from pools of shuffled images of about one length.

    `images` holds the turns of each image, `lengths` the tokens of each turn. The last step has what is left.
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


Placed = tuple[int, Sequence[int]]
"""Turns about one image, with the place of its group in the step, which decides the view."""


def shares_of(step: Sequence[Sequence[int]], ranks: int) -> list[list[Placed]]:
    """Divide a step among ranks, about as many turns each: a group is cut where it is more than a rank's share.

    One rank has the whole step in its order.
    """
    if ranks == 1:
        return [list(enumerate(step))]
    most = math.ceil(sum(map(len, step)) / ranks)
    parts = [(place, group[at : at + most]) for place, group in enumerate(step) for at in range(0, len(group), most)]
    shares: list[list[Placed]] = [[] for _ in range(ranks)]
    for part in sorted(parts, key=lambda part: (-len(part[1]), part[0])):
        min(shares, key=lambda share: sum(len(group) for _, group in share)).append(part)
    return shares


def unlabelled(rows: Sequence[Row]) -> list[Row]:
    """Return rows of which no token counts for the loss."""
    return [{**row, "labels": torch.full_like(row["labels"], IGNORED)} for row in rows]


def micro_batches_of(step: Sequence[Sequence[int]], pairs: int) -> list[list[Placed]]:
    """Cut a step into micro-batches of at most `pairs` turns: groups, each with its place in the step."""
    return cut(list(enumerate(step)), pairs)


def cut(step: Sequence[Placed], pairs: int) -> list[list[Placed]]:
    """Cut a step, or a rank's share of one, into micro-batches of at most `pairs` turns."""
    batches: list[list[Placed]] = []
    room = 0
    for place, group in step:
        for start in range(0, len(group), pairs):
            part = list(group[start : start + pairs])
            if len(part) > room:
                batches.append([])
                room = pairs
            batches[-1].append((place, part))
            room -= len(part)
    return batches


def _take(waiting: list[list[int]], pairs: int) -> list[list[int]]:
    """Remove `pairs` turns from the waiting groups: the first that fit, or else a part of the longest."""
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
    """Return the indices of turns grouped by image; each turn without an image is a group."""
    of_image: dict[str, list[int]] = {}
    for index, turn in enumerate(turns):
        of_image.setdefault(turn.image or f"\0{index}", []).append(index)
    return list(of_image.values())


def _pools(groups: Sequence[list[int]], turns: int) -> Iterator[list[list[int]]]:
    """Yield consecutive groups that have at least `turns` turns together; the last pool may have fewer."""
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


Colour = tuple[int, ...]


def augment(image: Image.Image, config: AugmentConfig, seed: int) -> Image.Image:
    """Return `image` (RGB) changed at random, in its size. The same seed gives the same image."""
    rng = random.Random(seed)
    fill = tuple(round(mean) for mean in ImageStat.Stat(image).mean)
    changes = CHANGES
    if config.at_most:
        drawn = rng.sample(range(len(CHANGES)), rng.randint(1, min(config.at_most, len(CHANGES))))
        changes = [CHANGES[place] for place in sorted(drawn)]
    for change in changes:
        image = change(image, config, fill, rng)
    return image


def _flip(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    return ImageOps.mirror(image) if rng.random() < config.flip else image


def _upside_down(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    return ImageOps.flip(image) if _happens(config.upside_down, rng) else image


def _rotate(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    if config.rotate <= 0 or not _happens(config.rotate_share, rng):
        return image
    angle = rng.uniform(-config.rotate, config.rotate)
    return image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill)


def _affine(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    """Turn, shift and zoom about the middle in one resampling."""
    if not _happens(config.affine, rng):
        return image
    angle = math.radians(rng.uniform(-config.affine_turn, config.affine_turn))
    right, down = (rng.uniform(-config.affine_shift, config.affine_shift) * side for side in image.size)
    size = 1 + rng.uniform(-config.affine_zoom, config.affine_zoom)
    middle_x, middle_y = image.width / 2, image.height / 2
    cos, sin = math.cos(angle) / max(size, 1e-3), math.sin(angle) / max(size, 1e-3)
    x0, y0 = middle_x + right, middle_y + down  # where the middle of the image comes to be
    source = (cos, sin, middle_x - cos * x0 - sin * y0, -sin, cos, middle_y + sin * x0 - cos * y0)
    return image.transform(image.size, Image.Transform.AFFINE, source, Image.Resampling.BILINEAR, fillcolor=fill)


def _perspective_view(image: Image.Image, config: AugmentConfig, fill: Colour, rng: random.Random) -> Image.Image:
    if config.perspective <= 0 or not _happens(config.perspective_share, rng):
        return image
    return _shift_corners(image, config.perspective, fill, rng)


def _colour(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    if config.colour > 0 and _happens(config.colour_share, rng):
        for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhancer(image).enhance(1 + rng.uniform(-config.colour, config.colour))
    return image


def _blur(image: Image.Image, config: AugmentConfig, _fill: Colour, rng: random.Random) -> Image.Image:
    if rng.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * max(image.size) / 224))
    return image


CHANGES = (_flip, _upside_down, _rotate, _affine, _perspective_view, _colour, _blur)
"""All changes, in the order in which they are made."""


def _happens(share: float, rng: random.Random) -> bool:
    """Draw whether a change is made. Never and always draw nothing, so that new changes leave other draws alone."""
    return share >= 1 or (share > 0 and rng.random() < share)


def _shift_corners(image: Image.Image, share: float, fill: tuple[int, ...], rng: random.Random) -> Image.Image:
    """Return a perspective view: each corner is moved by at most `share` of half a side."""
    width, height = image.size
    corners = ((0, 0), (0, height), (width, height), (width, 0))  # the order of Image.Transform.QUAD
    moved = [
        (x + rng.uniform(-share, share) * width / 2, y + rng.uniform(-share, share) * height / 2) for x, y in corners
    ]
    coefficients = _perspective(moved, corners)
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR, fillcolor=fill
    )


def _perspective(sources: list[tuple[float, float]], targets: tuple[tuple[int, int], ...]) -> list[float]:
    """Return Pillow's eight coefficients that map `targets` (x, y) of the result to `sources` of the image."""
    rows, values = [], []
    for (u, v), (x, y) in zip(sources, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, dtype=float), np.array(values, dtype=float)).tolist()
