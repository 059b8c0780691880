import numpy as np
import pytest

from seewhy.proof.bootstrap import interval
from seewhy.proof.compare import arm_figures, difference, mean_estimate


def counts(hits: list[float]) -> dict:
    return {"accuracy": (hits, [1.0] * len(hits)), "stated_true": ([0.0] * len(hits), [0.0] * len(hits))}


def test_figures_are_means_over_seeds():
    found = arm_figures([counts([1, 1, 0, 0]), counts([1, 1, 1, 0])])
    assert found == {"accuracy": 0.625, "accuracy_seeds": [0.5, 0.75]}


def test_a_mean_over_seeds_has_the_mean_of_their_intervals():
    seeds = [counts([1, 1, 0, 0]), counts([1, 1, 1, 0])]
    own = [interval(*of["accuracy"], resamples=200, seed=0) for of in seeds]
    low, high = np.mean(np.array(own, float), axis=0)
    found = mean_estimate("accuracy", seeds, resamples=200, seed=0)
    assert found == (0.625, (pytest.approx(low), pytest.approx(high)))
    fluent = [{"fs": ([2.0] * 4, [1.0] * 4)}, {"fs": ([4.0] * 4, [2.0] * 4)}]
    assert mean_estimate("fs", fluent, resamples=5, seed=0) == (pytest.approx(np.e**2), pytest.approx((np.e**2,) * 2))


@pytest.mark.parametrize("seeds", [[], [counts([1, 0]), {}], [counts([1]) | {"accuracy": ([0.0], [0.0])}]])
def test_a_figure_that_a_seed_did_not_count_has_no_mean(seeds: list[dict]):
    assert mean_estimate("accuracy", seeds, resamples=5, seed=0) is None


def test_pairing_takes_out_what_makes_an_image_hard():
    """Two arms that differ on the same tenth of the images, whatever else is right."""
    rng = np.random.default_rng(0)
    right = (rng.random(500) < 0.5).astype(float)
    worse = right.copy()
    worse[np.nonzero(right)[0][:50]] = 0
    whole, low, high = difference("accuracy", [counts(list(right))], [counts(list(worse))], resamples=500, seed=0)
    assert whole == pytest.approx(0.1)
    assert 0.07 < low < 0.1 < high < 0.13  # unpaired, it would reach from 0.04 to 0.16


def test_no_difference_has_zero_in_its_interval():
    rng = np.random.default_rng(1)
    ours, other = ((rng.random(300) < 0.7).astype(float) for _ in range(2))
    whole, low, high = difference("accuracy", [counts(list(ours))], [counts(list(other))], resamples=500, seed=0)
    assert low < 0 < high
    assert low < whole < high


def test_what_was_never_counted_has_no_difference():
    assert difference("stated_true", [counts([1, 0])], [counts([0, 0])], resamples=10, seed=0) is None


def test_other_images_cannot_be_compared():
    with pytest.raises(ValueError, match="3 and 2 images"):
        difference("accuracy", [counts([1, 0, 1])], [counts([0, 0])], resamples=10, seed=0)
