"""Intervals against what is known of them."""

import numpy as np
import pytest

from seewhy.proof.bootstrap import estimate, interval, ratio


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
    monkeypatch.setattr("seewhy.proof.bootstrap._DRAWS_AT_ONCE", 700)
    assert interval(*args, resamples=1000, seed=0) == at_once


def test_nothing_counted_has_no_figure():
    assert ratio([0, 0], [0, 0]) is None
    assert interval([0, 0], [0, 0], resamples=10, seed=0) is None
    assert estimate("ee", [], [], resamples=10, seed=0) == {}


def test_draws_in_which_nothing_was_counted_are_left_out():
    assert interval([1, 0], [1, 0], resamples=200, seed=0) == (1.0, 1.0)


def test_the_share_is_of_sums_not_of_images():
    assert estimate("share", [1, 9], [1, 18], resamples=10, seed=0)["share"] == pytest.approx(10 / 19)
