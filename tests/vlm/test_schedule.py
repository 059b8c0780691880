import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from seewhy.config import AugmentConfig
from seewhy.records import Turn
from seewhy.vlm.data import Schedule, epoch_of, micro_batches_of
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

PAIRS = 4


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("base")), device="cpu")


@pytest.fixture
def turns(tmp_path: Path) -> list[Turn]:
    made = []
    for image, count in enumerate((3, 1, 6, 2)):
        path = tmp_path / f"{image}.png"
        Image.linear_gradient("L").resize((40, 40)).rotate(90 * image).convert("RGB").save(path)
        made += [Turn(f"{image}/{n}", str(path), "Name it." * (n + 1), f"Crow {n}.") for n in range(count)]
    return [*made, *(Turn(f"text/{n}", "", "Say it.", "Yes.") for n in range(3))]


def schedule(vlm: VisionLanguageModel, turns: list[Turn], seed: int, **settings) -> Schedule:
    return Schedule(vlm, turns, pairs=PAIRS, epochs=2, changes=AugmentConfig(), seed=seed, **settings)


def test_every_epoch_has_every_turn_once(vlm: VisionLanguageModel, turns: list[Turn]):
    made = schedule(vlm, turns, 1)
    order = [index for batch in made.steps for group in batch for index in group]
    assert sorted(order[: len(turns)]) == sorted(order[len(turns) :]) == list(range(len(turns)))
    assert order[: len(turns)] != order[len(turns) :]
    assert all(sum(map(len, batch)) <= PAIRS for batch in made.steps)
    for batch in made.steps:
        for group in batch:
            assert len({turns[index].image for index in group}) == 1
            assert len(group) == 1 or turns[group[0]].image


@pytest.mark.parametrize(
    ("counts", "replayed", "pairs"),
    [([5] * 9, 0, 8), ([3] * 21, 0, 16), ([3, 1, 6, 2], 3, 4), ([8] * 10, 0, 32), ([40, 3, 3], 0, 16), ([2], 0, 16)],
)
def test_every_step_but_an_epochs_last_is_full(counts: list[int], replayed: int, pairs: int):
    images, first = [], 0
    for count in [*counts, *[1] * replayed]:
        images.append(list(range(first, first + count)))
        first += count
    owner = {turn: image for image, group in enumerate(images) for turn in group}
    for seed in range(5):
        steps = epoch_of(images, [1 + turn % 7 for turn in range(first)], pairs, random.Random(seed))
        sizes = [sum(map(len, step)) for step in steps]
        assert sizes[:-1] == [pairs] * (len(steps) - 1)
        assert sizes[-1] == (first % pairs or pairs)
        assert sorted(turn for step in steps for group in step for turn in group) == list(range(first))
        for step in steps:
            owners = [{owner[turn] for turn in group} for group in step]
            assert all(len(found) == 1 for found in owners)
            assert len(set().union(*owners)) == len(step)  # one view of an image in a step
        parts = sum(map(len, steps))
        cut = sum(-(-len(group) // pairs) - 1 for group in images)
        assert len(images) + cut <= parts <= len(images) + cut + len(steps) - 1


def test_nothing_is_split_that_need_not_be():
    images = [list(range(8 * n, 8 * n + 8)) for n in range(12)]
    for step in epoch_of(images, [1] * 96, 32, random.Random(0)):
        assert [len(group) for group in step] == [8] * 4


def test_a_step_is_cut_into_micro_batches_that_fit():
    assert micro_batches_of([[1, 2, 3], [4, 5], [6], [7, 8, 9, 10, 11]], 4) == [
        [(0, [1, 2, 3])], [(1, [4, 5]), (2, [6])], [(3, [7, 8, 9, 10])], [(3, [11])],
    ]  # fmt: skip
    assert micro_batches_of([], 4) == []


def test_a_cut_changes_neither_turns_nor_views(vlm: VisionLanguageModel, turns: list[Turn]):
    made = schedule(vlm, turns, 1)

    def pixels(rows: list) -> list[torch.Tensor]:
        return [row["pixel_values"] for row in rows if "pixel_values" in row]

    for number in range(len(made)):
        whole = pixels(made[number])
        cut = [row for rows in made.micro_batches(number, 1) for row in rows]
        assert len(cut) == sum(map(len, made.steps[number]))
        views = [view for view, group in zip(whole, _with_image(made, number), strict=True) for _ in group]
        assert all(torch.equal(a, b) for a, b in zip(views, pixels(cut), strict=True))


def _with_image(made: Schedule, number: int) -> list[list[int]]:
    return [group for group in made.steps[number] if made.turns[group[0]].image]


def test_a_batch_depends_on_seed_and_number_alone(vlm: VisionLanguageModel, turns: list[Turn]):
    made, again, other = (schedule(vlm, turns, seed) for seed in (1, 1, 2))
    assert made.steps == again.steps != other.steps
    for _ in range(2):
        for mine, same in zip(made[3], again[3], strict=True):
            assert mine.keys() == same.keys()
            assert all(torch.equal(mine[name], same[name]) for name in mine)


def test_the_turns_of_an_image_share_one_view_of_it_and_another_each_time(vlm: VisionLanguageModel, turns: list[Turn]):
    made = schedule(vlm, turns, 1)
    views = []
    for number, batch in enumerate(made.steps):
        for row, group in zip(made[number], batch, strict=True):
            assert int(row["segments"].max()) == (len(group) if len(group) > 1 else 0)
            if turns[group[0]].image == turns[0].image:
                views.append(row["pixel_values"])
    assert len(views) == 2
    assert not torch.equal(*views)


def test_without_sharing_the_same_turns_stand_alone(vlm: VisionLanguageModel, turns: list[Turn]):
    shared, separate = schedule(vlm, turns, 1), schedule(vlm, turns, 1, share_image=False)
    assert shared.steps == separate.steps
    for number, batch in enumerate(separate.steps):
        assert len(separate[number]) == sum(map(len, batch))
        assert not any(row["segments"].any() for row in separate[number])


def test_rows_of_a_batch_are_of_about_one_length(vlm: VisionLanguageModel, tmp_path: Path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (32, 32)).save(path)
    turns = [Turn(str(n), "", "Name it.", "crow " * (1 + n % 30)) for n in range(600)]
    made = Schedule(vlm, turns, pairs=8, epochs=1, changes=AugmentConfig(), seed=0)
    tokens = padded = 0
    for number in range(len(made)):
        lengths = [row["input_ids"].shape[1] for row in made[number]]
        tokens += sum(lengths)
        padded += max(lengths) * len(lengths)
    assert padded < 1.05 * tokens
