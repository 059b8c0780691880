"""What became of reasons whose evidence changed, and what their images are changed into."""

import random

import numpy as np
import pytest
from PIL import Image

from seewhy.domain.covering import cover
from seewhy.fieldguide import redraw
from seewhy.fieldguide.guide import draw_example, truth_of
from seewhy.fieldguide.world import make_species
from seewhy.proof.interventions import (
    block_box,
    block_size,
    fate,
    hottest_block,
    of_other_classes,
    other_block,
    swap_counts,
)

CROWNS = ("red crown", "blue crown", "black crown")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"blue crown"}, "follows"),
        ({"red crown"}, "survives"),
        ({"red crown", "blue crown"}, "survives"),
        ({"black crown"}, "misread"),
        ({"pink legs"}, "silent"),
        (set(), "silent"),
    ],
)
def test_fate(stated: set[str], expected: str) -> None:
    assert fate(stated, "red crown", "blue crown", CROWNS) == expected


def test_swap_counts() -> None:
    assert swap_counts(["a", "b", "c"], ["a", "b", "d"], {"a"}) == (3, 1, 2, 1)
    assert swap_counts(["a"], ["a"], None) == (1, 0, 0, 0)


def test_partners_are_of_other_classes() -> None:
    labels = ["x", "x", "y", "z", "z", "z", "y"]
    partners = of_other_classes(labels)
    assert all(labels[i] != labels[j] for i, j in enumerate(partners))
    assert len(set(partners)) > 3
    with pytest.raises(ValueError, match="two classes"):
        of_other_classes(["x", "x"])


@pytest.mark.parametrize(
    ("shape", "share", "expected"),
    [((8, 8), 0.125, (3, 3)), ((24, 24), 0.125, (8, 8)), ((10, 20), 0.125, (4, 7)), ((2, 2), 0.01, (1, 1))],
)
def test_a_block_has_its_share_of_the_image_and_its_proportions(
    shape: tuple[int, int], share: float, expected: tuple[int, int]
) -> None:
    assert block_size(shape, share) == expected


def test_the_hottest_block_holds_the_most_heat_together() -> None:
    heat_RK = np.zeros((8, 8))
    heat_RK[0, 7] = 5  # the hottest patch stands alone
    heat_RK[4:6, 2:5] = 1
    assert hottest_block(heat_RK, 0.125) == (slice(3, 6), slice(2, 5))
    assert hottest_block(np.zeros((8, 8)), 0.125) == (slice(0, 3), slice(0, 3))


def test_the_other_block_lies_apart_where_there_is_room() -> None:
    block = (slice(3, 6), slice(2, 5))
    found = [other_block(block, (8, 8), random.Random(seed)) for seed in range(40)]
    assert len(set(map(str, found))) > 5
    for rows, columns in found:
        assert (rows.stop - rows.start, columns.stop - columns.start) == (3, 3)
        assert not set(range(rows.start, rows.stop)) & {3, 4, 5} or not set(range(columns.start, columns.stop)) & {
            2,
            3,
            4,
        }
    rows, columns = other_block((slice(0, 2), slice(0, 2)), (3, 3), random.Random(0))  # no room: one patch in common
    assert (rows.start, columns.start) == (1, 1)


def test_a_block_in_pixels() -> None:
    assert block_box((slice(3, 6), slice(2, 5)), (8, 8), (0, 0, 96, 96)) == (24, 36, 60, 72)
    assert block_box((slice(0, 1), slice(3, 4)), (4, 4), (20, 0, 60, 40)) == (50, 0, 60, 10)


def test_a_cover_is_the_mean_colour_and_nothing_else() -> None:
    image = Image.new("RGB", (10, 10), (200, 100, 0))
    image.paste((0, 100, 200), (0, 0, 5, 10))
    found = np.asarray(cover(image, (2, 3, 6, 8)))
    assert (found[3:8, 2:6] == (100, 100, 100)).all()
    kept = np.ones((10, 10), bool)
    kept[3:8, 2:6] = False
    assert (found[kept] == np.asarray(image)[kept]).all()


def tampered(number: int) -> tuple[dict[str, tuple[int, int, int, int]], list[redraw.Tampered], np.ndarray]:
    bird = make_species()[number % 24]
    look, drawing = draw_example(bird, "val", number)
    boxes = truth_of(bird, look, drawing)["boxes"]
    assert isinstance(boxes, dict)
    made = [redraw.tamper(bird, "val", number, phrase, boxes, random.Random(0)) for phrase in boxes]
    return boxes, [test for test in made if test], np.asarray(drawing.image).astype(int)


@pytest.mark.parametrize("number", [0, 3])
def test_a_drawing_changes_where_its_evidence_is(number: int) -> None:
    boxes, tests, own = tampered(number)
    assert len(tests) >= 3
    for test in tests:
        left, top, right, bottom = boxes[test.old]
        changed = np.abs(np.asarray(test.changed).astype(int) - own).max(-1) > 8
        # another shape of the same part may reach beyond its box; another colour stays in it, but for smoothing
        assert changed[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2].any()
        if test.old.split()[1:] == test.new.split()[1:] and len(test.old.split()) == 2:
            outside = changed.copy()
            outside[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = False
            assert outside.mean() < 0.02
        assert (np.asarray(test.hidden)[top:bottom, left:right] == redraw.LEAF).all()
        assert test.old in test.values
        assert test.new in test.values


@pytest.mark.parametrize("seed", range(20))
def test_the_leaf_elsewhere_hides_nothing_of_the_part(seed: int) -> None:
    box = (30, 40, 50, 58)
    there = redraw.elsewhere(box, (96, 96), random.Random(seed))
    assert (there[2] - there[0], there[3] - there[1]) == (20, 18)
    white = Image.new("RGB", (96, 96), "white")
    both = np.sum([np.asarray(redraw.covered(white, p))[..., 0] == redraw.LEAF[0] for p in (box, there)], axis=0)
    assert (both == 2).sum() <= 4  # but for where the two edges are rounded


def test_what_cannot_be_changed_is_not_tested() -> None:
    bird = make_species()[0]
    assert redraw.tamper(bird, "val", 0, "whistling song", {}, random.Random(0)) is None
    assert redraw.tamper(bird, "val", 0, "plain neck", {"plain neck": (0, 0, 9, 9)}, random.Random(0)) is None
