"""Intervals against what is known of them."""

import numpy as np
import pytest

from seewhy.proof.statistics import estimate, interval, ratio
from seewhy.results import Figure


def test_interval_of_a_proportion_is_the_binomials():
    hits = [1] * 300 + [0] * 100
    low, high = interval(hits, [1] * 400, resamples=20_000, seed=0) or (0, 0)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.004)


def test_interval_of_a_ratio_agrees_with_a_plain_loop():
    rng = np.random.default_rng(1)
    denominator = rng.integers(0, 6, 80)
    numerator = rng.binomial(denominator, 0.6)
    draws = [rng.integers(80, size=80) for _ in range(6000)]
    expected = np.percentile([numerator[d].sum() / denominator[d].sum() for d in draws], [2.5, 97.5])
    found = interval(numerator.tolist(), denominator.tolist(), resamples=6000, seed=2)
    assert found == pytest.approx(tuple(expected), abs=0.01)


def test_images_are_drawn_not_answers():
    """Ten answers an image that stand or fall together tell no more than one."""
    once = interval([1, 0] * 50, [1] * 100, resamples=4000, seed=0)
    tenfold = interval([10, 0] * 50, [10] * 100, resamples=4000, seed=0)
    assert once == tenfold


def test_the_seed_decides():
    args = ([1, 0, 1, 1, 0, 1] * 20, [1] * 120)
    assert interval(*args, resamples=500, seed=3) == interval(*args, resamples=500, seed=3)
    assert interval(*args, resamples=500, seed=3) != interval(*args, resamples=500, seed=4)


def test_drawing_in_portions_counts_every_resample(monkeypatch: pytest.MonkeyPatch):
    args = ([1, 0, 1, 1, 0] * 20, [1] * 100)
    at_once = interval(*args, resamples=1000, seed=0)
    monkeypatch.setattr("seewhy.proof.statistics._DRAWS_AT_ONCE", 700)
    assert interval(*args, resamples=1000, seed=0) == at_once


def test_nothing_counted_has_no_figure():
    assert ratio([0, 0], [0, 0]) is None
    assert interval([0, 0], [0, 0], resamples=10, seed=0) is None
    assert estimate("ee", [], [], resamples=10, seed=0) is None


def test_images_of_which_nothing_was_counted_change_nothing():
    hits, of = [1, 0, 1] * 20, [1, 1, 1] * 20
    assert interval(hits + [0] * 40, of + [0] * 40, resamples=200, seed=0) == interval(hits, of, resamples=200, seed=0)


@pytest.mark.parametrize(
    ("hits", "of", "expected"),
    [
        (0, 48, (0.0, 0.0740)),  # the textbook's values, not those of the code
        (48, 48, (0.9260, 1.0)),
        (1, 48, (0.0005, 0.1107)),
        (5, 10, (0.1871, 0.8129)),
        (4, 600, (0.0018, 0.0170)),
    ],
)
def test_few_images_or_few_of_a_kind_have_the_exact_interval(hits: int, of: int, expected: tuple[float, float]):
    found = interval([1] * hits + [0] * (of - hits), [1] * of, resamples=2000, seed=0)
    assert found == pytest.approx(expected, abs=1e-4)


def test_two_images_has_no_interval():
    assert interval([1, 0], [1, 0], resamples=100, seed=0) is None  # one image counts
    assert interval([1, 0, 1], [1] * 3, resamples=100, seed=0) is not None
    found = estimate("stated_true", [0, 0, 0], [4, 1, 0], resamples=100, seed=0)
    assert found == Figure(0.0, n=5, images=2)


def test_reasons_of_one_image_are_no_more_than_the_image():
    """No reason of 500 is false: 500 coins, or 50 images of ten reasons each that stand or fall together."""
    assert interval([0] * 50, [10] * 50, resamples=100, seed=0) == pytest.approx((0.0, 1 - 0.025 ** (1 / 50)))


def test_images_that_tell_less_count_less():
    """One image with a thousand reasons tells about as much as one image."""
    even = interval([0] * 50, [10] * 50, resamples=100, seed=0)
    uneven = interval([0] * 50, [1000] + [10] * 49, resamples=100, seed=0)
    assert even is not None
    assert uneven is not None
    assert uneven[1] > 3 * even[1]


def test_few_answers_perplexity_has_a_t_interval():
    """Nats of a token are no share: they may be more than 1."""
    nats = [2.0, 3.0, 4.0, 3.0, 3.0, 3.0]
    low, high = interval(nats, [1.0] * 6, resamples=100, seed=0, share=False) or (0, 0)
    half = 2.5706 * np.std(nats, ddof=1) / np.sqrt(6)
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-3)


def test_every_figure_says_what_was_counted():
    found = estimate("stated_true", [1, 3, 0, 2, 1, 0], [2, 3, 0, 2, 1, 1], resamples=50, seed=0)
    assert found is not None
    assert (found.n, found.images) == (9, 5)
    same = estimate("accuracy", [1, 0] * 5, [1] * 10, resamples=50, seed=0)
    assert same is not None
    assert (same.n, same.images) == (10, None)


def test_clusters_are_the_unit():
    """Ten pictures of each of 20 patients, alike within a patient, tell as much as 20 pictures."""
    hits = [1] * 100 + [0] * 100
    patients = [f"patient {i // 10}" for i in range(200)]
    alone = interval(hits, [1] * 200, resamples=2000, seed=0)
    together = interval(hits, [1] * 200, resamples=2000, seed=0, clusters=patients)
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])
    found = estimate("ee", hits, [1] * 200, resamples=50, seed=0, clusters=patients)
    assert found is not None
    assert found.clusters == 20


def test_the_share_is_of_sums_not_of_images():
    found = estimate("share", [1, 9], [1, 18], resamples=10, seed=0)
    assert found is not None
    assert found.value == pytest.approx(10 / 19)
