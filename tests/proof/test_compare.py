from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from seewhy.proof.comparison import arm_figures, by_cluster, difference, mean_estimate, with_seeds
from seewhy.proof.statistics import interval


def counts(hits: Sequence[float]) -> dict[str, Any]:
    return {"accuracy": (hits, [1.0] * len(hits)), "stated_true": ([0.0] * len(hits), [0.0] * len(hits))}


def paired(*given: Any, **options: Any) -> tuple[float, float, float]:
    found = difference(*given, **options)
    assert found is not None
    value, low, high = found
    assert low is not None
    assert high is not None
    return value, low, high


def mean_of(*given: Any, **options: Any) -> tuple[float, tuple[float, float]]:
    found = mean_estimate(*given, **options)
    assert found is not None
    assert found[1] is not None
    return found[0], found[1]


def test_figures_are_means_over_seeds():
    found = arm_figures([counts([1, 1, 0, 0]), counts([1, 1, 1, 0])], resamples=50, seed=0)
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.seeds, accuracy.n) == (0.625, (0.5, 0.75), 8)
    low, high = accuracy.interval or (0, 0)
    assert low < 0.5 < 0.75 < high
    assert "stated_true" not in found


def test_a_mean_over_seeds_has_an_interval_over_both():
    """Seeds at 70, 80 and 90 %: Student's t over them, 80 +- 24.8 points, is most of it; images add the rest."""
    seeds = [counts([1] * right + [0] * (200 - right)) for right in (140, 160, 180)]
    value, (low, high) = mean_of("accuracy", seeds, resamples=500, seed=0)
    assert value == pytest.approx(0.8)
    assert 0.8 - low == pytest.approx(np.hypot(4.3027 * 0.1 / np.sqrt(3), 0.04), abs=0.02)
    assert high == 1.0  # no share is more
    alone = interval(*seeds[0]["accuracy"], resamples=500, seed=0)
    assert mean_of("accuracy", seeds[:1], resamples=500, seed=0) == (0.7, alone)


def test_nothing_in_any_seed_is_no_certainty():
    """0 of 48 images in each of three seeds: the seeds agree, and 48 images are still 48 images."""
    value, (low, high) = mean_of("ee", [{"ee": ([0.0] * 48, [1.0] * 48)}] * 3, resamples=50, seed=0)
    assert (value, low) == (0.0, 0.0)
    assert high == pytest.approx(0.0740, abs=1e-4)


def test_a_perplexity_has_a_mean_in_its_own_units():
    fluent = [{"fs": ([2.0] * 4, [1.0] * 4)}, {"fs": ([4.0] * 4, [2.0] * 4)}]
    assert mean_of("fs", fluent, resamples=5, seed=0) == (pytest.approx(np.e**2), pytest.approx((np.e**2,) * 2))


@pytest.mark.parametrize("seeds", [[], [counts([1, 0]), {}], [counts([1]) | {"accuracy": ([0.0], [0.0])}]])
def test_a_figure_that_a_seed_did_not_count_has_no_mean(seeds: list[dict]):
    assert mean_estimate("accuracy", seeds, resamples=5, seed=0) is None


def test_pairing_takes_out_what_makes_an_image_hard():
    """Two arms that differ on the same tenth of the images, whatever else is right."""
    rng = np.random.default_rng(0)
    right = (rng.random(500) < 0.5).astype(float)
    worse = right.copy()
    worse[np.nonzero(right)[0][:50]] = 0
    whole, low, high = paired("accuracy", [counts(list(right))], [counts(list(worse))], resamples=500, seed=0)
    assert whole == pytest.approx(0.1)
    assert 0.07 < low < 0.1 < high < 0.13  # unpaired, it would reach from 0.04 to 0.16


def test_no_difference_has_zero_in_its_interval():
    rng = np.random.default_rng(1)
    ours, other = ((rng.random(300) < 0.7).astype(float) for _ in range(2))
    whole, low, high = paired("accuracy", [counts(list(ours))], [counts(list(other))], resamples=500, seed=0)
    assert low < 0 < high
    assert low < whole < high


def test_what_was_never_counted_has_no_difference():
    assert difference("stated_true", [counts([1, 0])], [counts([0, 0])], resamples=10, seed=0) is None


def test_the_perplexity_of_one_image_has_no_difference():
    one, other = ([{"fs": ([nats], [1.0])}] for nats in (1.0, 2.0))
    assert difference("fs", one, other, resamples=10, seed=0) is None


def test_other_images_cannot_be_compared():
    with pytest.raises(ValueError, match="3 and 2 images"):
        paired("accuracy", [counts([1, 0, 1])], [counts([0, 0])], resamples=10, seed=0)


def flips(better: int, worse: int, of: int = 600) -> tuple[list[dict], list[dict]]:
    """Two arms of `of` images, three quarters right in both, that differ in a few."""
    both = [1.0] * (3 * of // 4)
    ours = both + [1.0] * better + [0.0] * worse
    other = both + [0.0] * better + [1.0] * worse
    rest = [0.0] * (of - len(ours))
    return [counts(ours + rest)], [counts(other + rest)]


@pytest.mark.parametrize(
    ("better", "worse", "decided"),
    [
        (4, 0, False),  # four coins fall alike in one of eight throws: p 0.125
        (5, 0, False),  # p 0.0625
        (6, 0, True),  # p 0.031
        (8, 1, True),  # p 0.039
        (7, 1, False),  # p 0.070
        (9, 2, False),  # p 0.065
        (15, 5, True),  # p 0.041
        (14, 5, False),  # p 0.064
    ],
)
def test_few_flips_decide_what_mcnemars_exact_test_does(better: int, worse: int, decided: bool):  # noqa: FBT001
    assert (binomtest(worse, better + worse).pvalue < 0.05) == decided
    value, low, high = paired("accuracy", *flips(better, worse), resamples=500, seed=0)
    assert value == pytest.approx((better - worse) / 600)
    assert low < value < high
    assert (low > 0) == decided
    mirrored = paired("accuracy", *flips(better, worse)[::-1], resamples=500, seed=0)
    assert mirrored == pytest.approx((-value, -high, -low))


def test_few_false_reasons_of_many_decide_as_little():
    """All of 4,200 reasons true but those of four images: no more than four images speak for a difference."""
    of = [7.0] * 600
    ours, other = [{"stated_true": (of, of)}], [{"stated_true": ([4.0] * 4 + [7.0] * 596, of)}]
    value, low, high = paired("stated_true", ours, other, resamples=500, seed=0)
    assert value == pytest.approx(12 / 4200)
    assert low < 0 < high
    six = [{"stated_true": ([4.0] * 6 + [7.0] * 594, of)}]
    assert paired("stated_true", ours, six, resamples=500, seed=0)[1] > 0


def test_models_that_answer_alike_may_still_differ_a_little():
    value, low, high = paired("accuracy", *flips(0, 0, 48), resamples=50, seed=0)
    assert (value, low, high) == pytest.approx((0, -0.0740, 0.0740), abs=1e-4)


@pytest.mark.parametrize(
    ("seeds", "over_images", "expected"),
    [
        ((-0.015, -0.002, 0.008), (-0.013, 0.007), (-0.032, 0.026)),  # SeeWhy less NL, accuracy
        ((0.050, 0.042, 0.013), (0.020, 0.049), (-0.013, 0.083)),  # NL less L+GE, accuracy
        ((0.011, 0.020, 0.009), (0.009, 0.017), (-0.001, 0.028)),  # with filtering less without, CS
    ],
)
def test_what_three_seeds_decide_hangs_on_their_spread(seeds: tuple, over_images: tuple, expected: tuple):
    """The differences measured on the field guide: images alone decide two of them, and t over seeds none."""
    low, high = with_seeds(float(np.mean(seeds)), over_images, seeds)
    assert low <= expected[0] + 0.0005  # rounded
    assert high >= expected[1] - 0.0005
    assert low < 0 < high
    assert low > expected[0] - 0.01  # and not much wider


def test_three_seeds_that_disagree_decide_nothing():
    """All images the same for one arm, the other better by 30, 2 and 60 of 300."""
    base = [1.0] * 150 + [0.0] * 150
    ours = [counts([1.0] * (150 + more) + [0.0] * (150 - more)) for more in (30, 2, 60)]
    other = [counts(base)] * 3
    _, low, high = paired("accuracy", ours, other, resamples=500, seed=0)
    assert low < 0 < high
    alone = [paired("accuracy", [mine], [counts(base)], resamples=500, seed=0) for mine in (ours[0], ours[2])]
    assert all(low > 0 for _, low, _ in alone)


def test_clusters_are_what_is_drawn():
    """Ten pictures of each of 60 patients, of whom an arm is right about all or none."""
    rng = np.random.default_rng(0)
    patients = [f"{i // 10}" for i in range(600)]
    ours, other = (np.repeat((rng.random(60) < share).astype(float), 10) for share in (0.8, 0.6))
    by_image = [[counts(list(arm))] for arm in (ours, other)]
    by_patient = [[by_cluster(arm[0], patients)] for arm in by_image]
    assert len(by_patient[0][0]["accuracy"][0]) == 60
    value, low, high = paired("accuracy", *by_image, resamples=500, seed=0)
    same, lower, higher = paired("accuracy", *by_patient, resamples=500, seed=0)
    assert same == pytest.approx(value)
    assert higher - lower > 2.5 * (high - low)
