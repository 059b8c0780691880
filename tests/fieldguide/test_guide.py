"""The drawn world: what its species differ in, and that its truth is true of the pixels."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tools.fieldguide_language import made_up_name

from seewhy.domain.domain import load_domain
from seewhy.fieldguide.birds import draw_bird
from seewhy.fieldguide.draw import COLOURS, PART
from seewhy.fieldguide.guide import BASE, ENCODER, attribute_visibility, draw_example, make_guide, truth_of
from seewhy.fieldguide.produce import draw_produce
from seewhy.fieldguide.world import BIRD, PRODUCE, make_species, random_look

SPECIES = make_species()


def test_species_are_many_fine_grained_and_half_have_two_plumages() -> None:
    assert len(SPECIES) >= 24
    assert len({s.name for s in SPECIES}) == len(SPECIES)
    assert sum(len(s.plumages) == 2 for s in SPECIES) == len(SPECIES) // 2
    distances = [
        min(sum(a[k] != b[k] for k in a) for a in s.plumages for b in t.plumages)
        for s, t in itertools.combinations(SPECIES, 2)
    ]
    assert sum(d == 1 for d in distances) == 4
    assert min(distances) == 1
    assert len(BIRD) >= 10


def test_the_same_example_is_drawn_the_same_and_splits_differ() -> None:
    bird = SPECIES[0]
    first, again = draw_example(bird, "train", 3)[1], draw_example(bird, "train", 3)[1]
    other = draw_example(bird, "test", 3)[1]
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert not np.array_equal(np.asarray(first.image), np.asarray(other.image))


def test_a_whole_list_is_true_of_no_image_and_about_two_thirds_of_it_can_be_seen() -> None:
    visible = listed = 0
    for bird, number in itertools.product(SPECIES, range(6)):
        look, drawing = draw_example(bird, "test", number)
        truth: dict[str, Any] = truth_of(bird, look, drawing)
        assert set(truth["visible"]) | set(truth["hidden"]) <= set(bird.concepts)
        assert set(bird.unseen) <= set(truth["hidden"])
        visible += len(truth["visible"])
        listed += len(bird.concepts)
    assert 0.6 <= visible / listed <= 0.75


def test_nothing_is_hidden_in_the_open_and_a_covered_part_is() -> None:
    rng = random.Random(0)
    look = random_look(BIRD, rng)
    assert all(visible for _, _, visible in attribute_visibility(draw_bird(look, rng, occlude=False), look, BIRD))
    drawings = [draw_bird(look, rng) for _ in range(40)]
    covered = [d for d in drawings if d.seen_P[PART["tail"]] < 0.1 * d.full_P[PART["tail"]]]
    assert covered
    for drawing in covered:
        assert not any(v for a, _, v in attribute_visibility(drawing, look, BIRD) if a.name.startswith("tail"))


@pytest.mark.parametrize("part", ["crown", "breast", "wing", "tail", "legs"])
def test_a_part_has_the_colour_that_the_look_says(part: str) -> None:
    attribute = {"wing": "wings", "tail": "tail_colour"}.get(part, part)
    rng = random.Random(1)
    for _ in range(6):
        look = {**random_look(BIRD, rng), "wing_bar": "none"}
        drawing = draw_bird(look, rng, occlude=False)
        pixels = np.asarray(drawing.image)[drawing.parts_HW == PART[part]]
        seen = np.median(pixels, axis=0)
        nearest = min(
            next(a.values for a in BIRD if a.name == attribute),
            key=lambda colour: float(np.abs(seen - COLOURS[colour]).sum()),
        )
        assert nearest == look[attribute]


def test_boxes_lie_around_what_is_seen() -> None:
    look, drawing = draw_example(SPECIES[3], "test", 1)
    truth: dict[str, Any] = truth_of(SPECIES[3], look, drawing)
    for left, top, right, bottom in truth["boxes"].values():
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 96


def test_produce_of_every_look_can_be_drawn() -> None:
    rng = random.Random(2)
    for _ in range(60):
        drawing = draw_produce(random_look(PRODUCE, rng), rng)
        assert drawing.seen_P[PART["body"]] > 0


def test_the_guide_is_an_ordinary_data_set(tmp_path: Path) -> None:
    data = make_guide(tmp_path / "guide", {"train": 2, "val": 1, "test": 1})
    domain = load_domain(data)
    assert len(domain.split("train")) == 48
    assert domain.labels == tuple(sorted(s.name for s in SPECIES))
    assert domain.truth is not None
    assert domain.truth.keys() == {e.id for e in domain.examples}
    assert list(yaml.safe_load((tmp_path / "guide" / "concepts.yaml").read_text())) == [s.name for s in SPECIES]
    again = make_guide(tmp_path / "guide", {"train": 9, "val": 9, "test": 9})
    assert again == data
    assert len(list((tmp_path / "guide" / "images").rglob("*.png"))) == 96


def test_a_guide_drawn_by_an_older_version_is_as_complete_as_a_new_one(tmp_path: Path) -> None:
    data = make_guide(tmp_path / "guide", {"train": 1, "test": 1})
    new, path = load_domain(data).truth, tmp_path / "guide" / "truth.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(record.pop("complete") for record in records)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "guide" / "SHA256SUMS").unlink()
    assert load_domain(make_guide(tmp_path / "guide")).truth == new
    assert new is not None
    assert all(truth.complete for truth in new.values())


def test_a_half_drawn_guide_is_drawn_again(tmp_path: Path) -> None:
    (tmp_path / "guide.partial" / "images" / "train" / "Crow").mkdir(parents=True)
    make_guide(tmp_path / "guide", {"train": 1, "val": 1, "test": 1})
    assert not (tmp_path / "guide.partial").exists()
    assert not (tmp_path / "guide" / "images" / "train" / "Crow").exists()


def test_the_base_never_reads_the_name_of_a_species() -> None:
    rng = random.Random(3)
    words = {word for s in SPECIES for word in s.name.split()[:-1]} - {"Lesser"}
    for _ in range(5000):
        assert not words & set(made_up_name(rng).split())


def test_the_shipped_models_are_small_and_know_no_species() -> None:
    files = [path for folder in (BASE, ENCODER) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    vocabulary = json.loads((BASE / "tokenizer.json").read_text())["model"]["vocab"]
    assert not {s.name.split()[-2] for s in SPECIES} & {token.lstrip("Ġ") for token in vocabulary}
