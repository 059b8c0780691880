from pathlib import Path

import pytest
import torch
from PIL import Image

from seewhy.config import AugmentConfig
from seewhy.records import Turn
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.schedule import Schedule
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
    order = [index for batch in made.batches for group in batch for index in group]
    assert sorted(order[: len(turns)]) == sorted(order[len(turns) :]) == list(range(len(turns)))
    assert order[: len(turns)] != order[len(turns) :]
    assert all(sum(map(len, batch)) <= PAIRS for batch in made.batches)
    for batch in made.batches:
        for group in batch:
            assert len({turns[index].image for index in group}) == 1
            assert len(group) == 1 or turns[group[0]].image


def test_a_batch_depends_on_seed_and_number_alone(vlm: VisionLanguageModel, turns: list[Turn]):
    made, again, other = (schedule(vlm, turns, seed) for seed in (1, 1, 2))
    assert made.batches == again.batches != other.batches
    for _ in range(2):
        for mine, same in zip(made[3], again[3], strict=True):
            assert mine.keys() == same.keys()
            assert all(torch.equal(mine[name], same[name]) for name in mine)


def test_the_turns_of_an_image_share_one_view_of_it_and_another_each_time(vlm: VisionLanguageModel, turns: list[Turn]):
    made = schedule(vlm, turns, 1)
    views = []
    for number, batch in enumerate(made.batches):
        for row, group in zip(made[number], batch, strict=True):
            assert int(row["segments"].max()) == (len(group) if len(group) > 1 else 0)
            if turns[group[0]].image == turns[0].image:
                views.append(row["pixel_values"])
    assert len(views) == 2
    assert not torch.equal(*views)


def test_without_sharing_the_same_turns_stand_alone(vlm: VisionLanguageModel, turns: list[Turn]):
    shared, separate = schedule(vlm, turns, 1), schedule(vlm, turns, 1, share_image=False)
    assert shared.batches == separate.batches
    for number, batch in enumerate(separate.batches):
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
