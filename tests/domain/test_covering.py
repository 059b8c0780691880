"""Copies of images with a covered part: which there are, and what they show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from method.fakes import example
from seewhy.domain.covering import COVERED, covered_copies, open_view
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError

EXAMPLES = [example(f"train/{number}") for number in range(200)]


def test_copies_are_of_a_share_of_the_examples_and_depend_on_seed_and_example_alone():
    copies = covered_copies(EXAMPLES, 0.5, 0.125, 0)
    assert 70 < len(copies) < 130
    assert list(copies.values()) == [e for e in EXAMPLES if e in set(copies.values())]  # in order, each once
    assert {(copy.split, copy.label, copy.sha256) for copy in copies} == {(COVERED, "Crow", "0" * 64)}
    later = covered_copies(EXAMPLES[100:], 0.5, 0.125, 0)
    assert later.items() <= copies.items()
    assert len(later) < len(copies)
    assert covered_copies(EXAMPLES, 0.5, 0.125, 1).keys() != copies.keys()
    assert covered_copies(EXAMPLES, 0, 0.125, 0) == {}


def test_more_than_one_copy_of_each_have_other_places():
    copies = covered_copies(EXAMPLES, 2.25, 0.125, 0)
    assert 400 + 25 < len(copies) < 400 + 75
    assert len({copy.id for copy in copies}) == len({copy.image for copy in copies}) == len(copies)
    assert covered_copies(EXAMPLES, 1, 0.125, 0).keys() <= copies.keys()


@pytest.mark.parametrize(("area", "size"), [(0.25, (40, 30)), (1.0, (80, 60))])
def test_a_copy_shows_all_but_one_block_of_its_image(tmp_path: Path, area: float, size: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 200, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole, mean = np.asarray(load_image(tmp_path / "a.png")), noise.reshape(-1, 3).mean(0).round()
    places = set()
    for copy in covered_copies([example("a")], 9, area, 0):
        shown = np.asarray(open_view(str(tmp_path / copy.image)))
        covered = (shown == mean).all(-1)
        rows, columns = np.flatnonzero(covered.mean(1) > 0.4), np.flatnonzero(covered.mean(0) > 0.4)
        assert abs(len(columns) - size[0]) <= 1
        assert abs(len(rows) - size[1]) <= 1
        block = np.zeros(covered.shape, dtype=bool)
        block[np.ix_(rows, columns)] = True
        assert covered[block].all()
        assert (shown[~block] == whole[~block]).all()
        places.add((rows[0], columns[0]))
    assert len(places) > 6 if area < 1 else len(places) == 1
    assert (np.asarray(open_view(str(tmp_path / "a.png"))) == whole).all()


def test_an_image_that_is_gone_is_named(tmp_path: Path):
    (copy,) = covered_copies([example("a")], 1, 0.125, 0)
    with pytest.raises(SeeWhyError, match=r"a\.png cannot be read"):
        open_view(str(tmp_path / copy.image))
