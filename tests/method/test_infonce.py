import math
import tracemalloc

import numpy as np
import pytest

from seewhy.errors import SeeWhyError
from seewhy.method import infonce
from seewhy.method.infonce import candidate_scores, concept_scores


def unit(random, rows, width=24):
    vectors_XE = random.normal(size=(rows, width)).astype(np.float32)
    return vectors_XE / np.linalg.norm(vectors_XE, axis=1, keepdims=True)


def direct_concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, tau):
    """docs/method.md, step 2, to the letter, one image and one concept at a time."""
    sim_DC = descriptions_DE.astype(np.float64) @ concepts_CE.astype(np.float64).T
    scores = []
    for image, columns in enumerate(wanted):
        own_D = owner_D == image
        scores.append([])
        for z in columns:
            negatives = sum(math.exp(s / tau) for s in sim_DC[~own_D, z])
            terms = [math.log(math.exp(s / tau) / (math.exp(s / tau) + negatives)) for s in sim_DC[own_D, z]]
            scores[-1].append(sum(terms))
    return scores


def direct_candidate_score(candidate_E, concepts_CE, selected, tau):
    """docs/method.md, step 6, to the letter."""
    e_C = [math.exp(float(candidate_E.astype(np.float64) @ z.astype(np.float64)) / tau) for z in concepts_CE]
    negatives = sum(e for z, e in enumerate(e_C) if z not in selected)
    return sum(math.log(e_C[z] / (e_C[z] + negatives)) for z in selected)


def world(images=12, per_image=(0, 7), concepts=19, seed=0):
    """Unequal numbers of descriptions (none for some images) and of wanted concepts."""
    random = np.random.default_rng(seed)
    counts_I = random.integers(*per_image, size=images)
    owner_D = np.repeat(np.arange(images), counts_I)
    wanted = [random.choice(concepts, size=random.integers(1, concepts), replace=False) for _ in range(images)]
    return unit(random, len(owner_D)), owner_D, unit(random, concepts), wanted


def assert_scores(found, expected, owner_D, atol=1e-4):
    assert len(found) == len(expected)
    for image, (found_C, expected_C) in enumerate(zip(found, expected, strict=True)):
        if image in owner_D:
            np.testing.assert_allclose(found_C, expected_C, atol=atol, rtol=0)
        else:
            assert np.isnan(found_C).all()


@pytest.mark.parametrize("tau", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("block_values", [2**22, 19 * 4, 1])
def test_concept_scores_equal_the_formula(monkeypatch, tau, block_values):
    monkeypatch.setattr(infonce, "_BLOCK_VALUES", block_values)
    monkeypatch.setattr(infonce, "_CONCEPTS", 2**13 if block_values > 1 else 5)
    args = (*world(), tau)
    assert_scores(concept_scores(*args), direct_concept_scores(*args), args[1])


@pytest.mark.parametrize("tau", [0.1, 0.01])
def test_one_image_owns_nearly_everything(monkeypatch, tau):
    """Its share is e^180 times the others' at tau = 0.01: total minus own share would cancel to noise or to zero."""
    monkeypatch.setattr(infonce, "_BLOCK_VALUES", 64)
    random = np.random.default_rng(1)
    z_E = unit(random, 1)[0]
    near_DE = z_E + 0.02 * unit(random, 40)
    far_DE = -z_E + 0.3 * unit(random, 6)
    descriptions_DE = np.concatenate([far_DE[:3], near_DE, -near_DE[:4], far_DE[3:]]).astype(np.float32)
    descriptions_DE /= np.linalg.norm(descriptions_DE, axis=1, keepdims=True)
    owner_D = np.array([0, 0, 1] + [2] * 44 + [3, 3, 4])
    concepts_CE = np.stack([z_E, -z_E, unit(random, 1)[0]]).astype(np.float32)
    args = (descriptions_DE, owner_D, concepts_CE, [np.array([0, 1, 2])] * 5, tau)
    expected = direct_concept_scores(*args)
    assert expected[2][0] < -5  # the far descriptions of the dominating image: the case that cancellation spoils
    assert_scores(concept_scores(*args), expected, owner_D)


def test_no_temperature_overflows():
    descriptions_DE, owner_D, concepts_CE, wanted = world()
    with np.errstate(all="raise", divide="ignore", under="ignore"):
        scores = concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, 1e-4)
    assert all(np.isfinite(scores[image]).all() for image in set(owner_D))


def test_order_of_descriptions_does_not_matter():
    descriptions_DE, owner_D, concepts_CE, wanted = world()
    order_D = np.random.default_rng(2).permutation(len(owner_D))
    shuffled = concept_scores(descriptions_DE[order_D], owner_D[order_D], concepts_CE, wanted, 0.1)
    assert_scores(shuffled, concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, 0.1), owner_D, atol=1e-9)


def test_order_of_images_does_not_matter():
    descriptions_DE, owner_D, concepts_CE, wanted = world(per_image=(1, 5))
    last = len(wanted) - 1
    reversed_scores = concept_scores(descriptions_DE, last - owner_D, concepts_CE, wanted[::-1], 0.1)
    forward = concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, 0.1)
    assert_scores(reversed_scores[::-1], forward, owner_D, atol=1e-9)


def test_a_duplicated_image_is_a_negative_of_its_twin():
    descriptions_DE, _, concepts_CE, _ = world(per_image=(1, 2), images=1)
    twins_DE = np.repeat(descriptions_DE[:1], 2, axis=0)
    scores = concept_scores(twins_DE, np.array([0, 1]), concepts_CE, [np.array([0]), np.array([0])], 0.1)
    np.testing.assert_allclose(np.concatenate(scores), math.log(1 / 2), atol=1e-9)


def test_one_image_alone_has_no_negatives():
    descriptions_DE, _, concepts_CE, _ = world()
    owner_D = np.zeros(len(descriptions_DE), dtype=int)
    (score_C,) = concept_scores(descriptions_DE, owner_D, concepts_CE, [np.array([0, 3])], 0.1)
    np.testing.assert_array_equal(score_C, [0.0, 0.0])


def test_no_descriptions_at_all():
    _, _, concepts_CE, _ = world()
    scores = concept_scores(np.empty((0, 24)), np.empty(0, dtype=int), concepts_CE, [np.array([1, 2])], 0.1)
    assert np.isnan(scores[0]).all()


def test_memory_mapped_half_precision(tmp_path):
    descriptions_DE, owner_D, concepts_CE, wanted = world()
    np.save(tmp_path / "half.npy", descriptions_DE.astype(np.float16))
    half_DE = np.load(tmp_path / "half.npy", mmap_mode="r")
    args = (owner_D, concepts_CE, wanted, 0.1)
    assert_scores(concept_scores(half_DE, *args), direct_concept_scores(np.asarray(half_DE), *args), owner_D)


def test_memory_stays_bounded(monkeypatch, tmp_path):
    """All similarities at once would take 128 MB; the work is done in blocks of 2 MB, a few of them alive at a time."""
    monkeypatch.setattr(infonce, "_BLOCK_VALUES", 2**18)
    images, per_image, concepts = 1000, 20, 800
    texts_DE = np.resize(unit(np.random.default_rng(4), 977, 64), (images * per_image, 64))
    np.save(tmp_path / "texts.npy", texts_DE)
    owner_D, wanted = (
        np.repeat(np.arange(images), per_image),
        [np.arange(i % 100, concepts, 100) for i in range(images)],
    )
    concepts_CE = unit(np.random.default_rng(5), concepts, 64)
    tracemalloc.start()
    concept_scores(np.load(tmp_path / "texts.npy", mmap_mode="r"), owner_D, concepts_CE, wanted, 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("tau", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("block_values", [2**22, 40])
def test_candidate_scores_equal_the_formula(monkeypatch, tau, block_values):
    monkeypatch.setattr(infonce, "_BLOCK_VALUES", block_values)
    random = np.random.default_rng(3)
    candidates_YE, concepts_CE = unit(random, 11), unit(random, 17)
    selected = [random.choice(17, size=random.integers(1, 17), replace=False) for _ in range(11)]
    expected = [
        direct_candidate_score(y, concepts_CE, set(s), tau) for y, s in zip(candidates_YE, selected, strict=True)
    ]
    np.testing.assert_allclose(candidate_scores(candidates_YE, concepts_CE, selected, tau), expected, atol=1e-4, rtol=0)


def test_own_concepts_are_never_negatives():
    """Were a selected concept a negative of another selected one, saying both would cost instead of pay."""
    concepts_CE = np.eye(4, dtype=np.float32)
    says_both = np.array([[1, 1, 0, 0]], dtype=np.float32) / np.sqrt(2, dtype=np.float32)
    (score,) = candidate_scores(says_both, concepts_CE, [np.array([0, 1])], 0.1)
    s = 1 / math.sqrt(2)
    assert score == pytest.approx(2 * math.log(math.exp(s / 0.1) / (math.exp(s / 0.1) + 2)), abs=1e-4)


def test_candidate_without_negatives_or_without_concepts():
    concepts_CE = np.eye(2, dtype=np.float32)
    scores_Y = candidate_scores(concepts_CE, concepts_CE, [np.array([0, 1]), np.array([], dtype=int)], 0.1)
    assert scores_Y[0] == 0.0
    assert np.isnan(scores_Y[1])


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_temperature_must_be_positive(tau):
    with pytest.raises(SeeWhyError, match=r"select\.temperature"):
        concept_scores(*world(), tau)
    with pytest.raises(SeeWhyError, match=r"select\.temperature"):
        candidate_scores(np.eye(2), np.eye(2), [np.array([0])] * 2, tau)


def test_two_encoders_are_told_apart():
    with pytest.raises(SeeWhyError, match="one encoder"):
        candidate_scores(np.eye(2), np.eye(3), [np.array([0])] * 2, 0.1)


def test_a_concept_may_count_several_times_among_the_negatives():
    """As it stands in the lists of several classes: the research code joins them all."""
    random = np.random.default_rng(3)
    candidates_YE, concepts_CE = unit(random, 5), unit(random, 4)
    times = [1, 3, 1, 2]
    repeated_CE = np.repeat(concepts_CE, times, axis=0)
    selected = [np.array([0, 2])] * 5
    expected = candidate_scores(candidates_YE, repeated_CE, [np.array([0, 4])] * 5, 0.1)
    found = candidate_scores(candidates_YE, concepts_CE, selected, 0.1, np.array(times))
    np.testing.assert_allclose(found, expected)
    once = candidate_scores(candidates_YE, concepts_CE, selected, 0.1)
    assert (found < once).all()
    np.testing.assert_array_equal(candidate_scores(candidates_YE, concepts_CE, selected, 0.1, np.ones(4)), once)
