import numpy as np
import pytest

from seewhy.proof.interventions import hitting, mention, peak, pointed, pointing
from seewhy.results import Box, Figure

WHOLE: Box = (0, 0, 96, 96)


def heat_at(row: int, column: int, side: int = 8) -> np.ndarray:
    heat_RK = np.zeros((side, side))
    heat_RK[row, column] = 1
    return heat_RK


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 96, 96), 64),  # everything
        ((12, 24, 36, 36), 2),  # two patches exactly
        ((13, 25, 35, 35), 2),  # their centres are still inside
        ((40, 41, 43, 44), 1),  # smaller than a patch: the one it is in
        ((46, 46, 50, 50), 1),  # between four patches: one of them
    ],
)
def test_patches_that_hit(box: Box, expected: int):
    assert hitting(box, WHOLE, (8, 8)).sum() == expected


def test_rows_are_height_and_columns_width():
    hits = hitting((0, 84, 12, 96), WHOLE, (8, 8))
    assert hits[7, 0]
    assert hits.sum() == 1


def test_a_cut_out_middle_is_where_it_is():
    """The patches cover the right half of the picture."""
    hits = hitting((48, 0, 60, 24), (48, 0, 96, 48), (4, 4))
    assert [tuple(place) for place in np.argwhere(hits)] == [(0, 0), (1, 0)]


def test_pointed():
    hit = pointed("a", heat_at(2, 1), (12, 24, 36, 36), WHOLE, (96, 96))
    assert (hit.hit, hit.centre, hit.chance) == (True, False, 2 / 64)
    assert pointed("a", heat_at(0, 0), (40, 40, 60, 60), WHOLE, (96, 96)).centre
    assert peak(np.zeros((3, 3))) == (0, 0)


def test_shares_are_of_all_reasons():
    judged = [pointed("a", heat_at(0, 0), (0, 0, 12, 12), WHOLE, (96, 96))] * 3
    judged += [pointed("b", heat_at(7, 7), (0, 0, 12, 12), WHOLE, (96, 96))]
    found = pointing(judged, resamples=200, seed=0)
    assert found["pointing"] == Figure(0.75, n=4, images=2)  # two images have no interval
    assert found["pointing_chance"].value == 1 / 64


@pytest.mark.parametrize(
    ("concept", "text", "expected"),
    [
        ("yellow breast", "A blue bill, a yellow breast and a yellow breast.", ["yellow", "breast"]),
        ("yellow breast", "A yellow crown and a yellow breast.", ["yellow", "breast"]),
        ("short thick bill", "Its bill is short and thick.", ["bill", "short", "thick"]),
        ("black wings", "It has BLACK wings.", ["BLACK", "wings"]),
        ("no stem", "Without a stem.", ["Without", "stem"]),
        ("red crown", "Red-crowned.", ["Red"]),
        ("red crown", "A wren.", []),
    ],
)
def test_where_a_concept_is_stated(concept: str, text: str, expected: list[str]):
    assert [text[start:end] for start, end in mention(concept, text)] == expected


def test_the_first_mention_counts():
    assert mention("red crown", "A red crown, a red crown.")[0][0] == 2
