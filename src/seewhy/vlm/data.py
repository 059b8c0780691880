"""Random changes to a training image (docs/method.md 4): flips, rotation, perspective, colour jitter and blur.

Deviations from the research code, which has the same seven changes by torchvision:
1. Pillow alone, and every draw comes from one seed, so that a resumed run sees the same images.
2. Corners that a rotation or a shift leaves empty take the image's mean colour instead of black.
3. Changes are made in one order; a corner is shifted out as well as in; blur grows with the image.
4. All changes are tried on every view, and gently; the research code draws one to four of the seven (`at_most`).

Which turns fit into a model, found before any time is spent on tuning.

A turn that is too long is left out whole, and counted: cut, it would lose its end token or some of the image's tokens.

The order in which turns are tuned on: the turns of one image together, under one augmented view of it.

Deviation from the research code: its turns come one by one, and every turn has its image computed again.

A step has exactly as many turns as are asked for; only the last one of an epoch has what is left. Where the turns of an
image do not fit into what a step has room for, the rest of them come in another step, with a view of their own. How a
step is cut into micro-batches changes neither its turns nor their views.
"""

import hashlib
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat
from torch.utils.data import Dataset

from seewhy.config import AugmentConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.chat import Row, answered, encode, encode_all, encode_answered, of_file, open_image
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import share

Colour = tuple[int, ...]


def augment(image: Image.Image, config: AugmentConfig, seed: int) -> Image.Image:
    """`image` (RGB) changed at random, same size. Same seed, same image; a config of zeros changes nothing."""
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
    """A turn, a shift and a zoom about the middle, in one resampling."""
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
"""In the order in which they are made."""


def _happens(share: float, rng: random.Random) -> bool:
    """Nothing is drawn for what never or always happens, so that settings of their own leave all other draws alone."""
    return share >= 1 or (share > 0 and rng.random() < share)


def _shift_corners(image: Image.Image, share: float, fill: tuple[int, ...], rng: random.Random) -> Image.Image:
    """A perspective view: each corner of the result is taken from beside the image's own, by at most `share` of half a
    side."""
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
    """The eight coefficients with which Pillow takes `targets` (x, y) of the result from `sources` of the image."""
    rows, values = [], []
    for (u, v), (x, y) in zip(sources, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, dtype=float), np.array(values, dtype=float)).tolist()


_PROBE = "?"
_SHAPES = ((64, 64), (1200, 400), (400, 1200))
"""Sizes of which some differ in tokens in every model in which any do."""
_NAMED = 5
"""Turns that a warning names."""


def fitting(vlm: VisionLanguageModel, turns: Sequence[Turn], opener: Callable[[str], Image.Image]) -> list[Turn]:
    """The turns that have at most as many tokens as the model has positions for; warns of others, and how many.

    Raises SeeWhyError for a text that cannot be tuned on (a special token in it) and for an image that leaves no place
    for text, naming them, and where there is no turn or none fits.
    """
    tokens_of = image_tokens(vlm, opener)
    lengths = {turn.id: _text_tokens(vlm, turn) + tokens_of(turn.image) for turn in turns}
    long = [turn.id for turn in turns if lengths[turn.id] > vlm.max_length]
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
    """Tokens that the image of a path adds to a prompt; images are opened only where their size makes a difference."""
    text = encode(vlm, _PROBE, None)["input_ids"].shape[1]

    @cache
    def of_size(size: tuple[int, int]) -> int:
        return encode(vlm, _PROBE, Image.new("RGB", size))["input_ids"].shape[1] - text

    @cache
    def fixed() -> int | None:
        found = {of_size(size) for size in _SHAPES}
        return found.pop() if len(found) == 1 else None

    @cache
    def of_path(path: str) -> int:
        if not path:
            return 0
        with of_file(path):
            found = of_size(opener(path).size) if fixed() is None else fixed() or 0
        if found + text >= vlm.max_length:
            raise SeeWhyError(
                f"Image {path} alone is {found} tokens, and model {vlm.name} has {vlm.max_length} for it and its text: "
                "make it smaller, or take a model with a longer context."
            )
        return found

    return of_path


def _text_tokens(vlm: VisionLanguageModel, turn: Turn) -> int:
    try:
        return encode_answered(vlm, turn.query, turn.answer, None)["input_ids"].shape[1]
    except SeeWhyError as error:
        raise SeeWhyError(f"Turn {turn.id}: {error}") from error


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
