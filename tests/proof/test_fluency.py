"""FS from likelihoods that are counted by hand, in a model's figures and between two models."""

import math
from pathlib import Path

import numpy as np
import pytest

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.questions import Questions
from seewhy.proof.comparison import arm_figures, difference
from seewhy.proof.figures import Evidence, count, measure
from seewhy.proof.stated import StatedConcepts
from seewhy.proof.statistics import in_units
from seewhy.records import Example, Likelihood, Prediction
from seewhy.results_json import encode

DOMAIN = Domain(
    "crows",
    Path("/data"),
    tuple(Example(name, f"{name}.png", "0" * 64, "Crow", "test") for name in "abc"),
    ConceptBank({"Crow": ("black bill",)}),
    Questions.for_noun("bird"),
    None,
)
STATED = StatedConcepts.of(DOMAIN)
PREDICTIONS = [
    Prediction("a", "Which?", "A Crow."),
    Prediction("b", "Which?", "A Crow."),
    Prediction("c", "Which?", ""),
]
LIKELIHOODS = [Likelihood("a", 2 * math.log(8), 2), Likelihood("b", 6 * math.log(2), 6), Likelihood("c", 0.0, 0)]


def measured(likelihoods: list[Likelihood]) -> dict:
    return encode(measure(DOMAIN, PREDICTIONS, STATED, Evidence(likelihoods=likelihoods), resamples=500, seed=0))


def test_tokens_weigh_the_same_whatever_answer_they_are_of():
    assert measured(LIKELIHOODS)["fs"] == pytest.approx(2 ** ((2 * 3 + 6 * 1) / 8))  # not (8 + 2) / 2


def test_its_interval_is_in_its_own_units():
    assert "fs_interval" not in measured(LIKELIHOODS)  # two answers have tokens
    metrics = measured([*LIKELIHOODS[:2], Likelihood("c", 2 * math.log(4), 2)])
    low, high = metrics["fs_interval"]
    assert metrics["fs"] == pytest.approx(2 ** ((6 + 6 + 4) / 10))
    assert low < metrics["fs"] < high
    assert math.log(low) + math.log(high) == pytest.approx(2 * math.log(metrics["fs"]))  # even about the mean in nats
    assert (metrics["fs_n"], metrics["fs_images"]) == (10, 3)


def test_without_a_token_there_is_no_figure():
    metrics = measured([Likelihood(name, 0.0, 0) for name in "abc"])
    assert "fs" not in metrics
    assert "accuracy" in metrics


def test_likelihoods_of_other_answers_are_refused():
    with pytest.raises(ValueError, match="not those of these answers"):
        measured(LIKELIHOODS[::-1])
    with pytest.raises(ValueError, match="not those of these answers"):
        measured(LIKELIHOODS[:2])


def test_only_perplexities_are_exponentials():
    assert in_units("accuracy", 0.5) == 0.5
    assert in_units("fs", 0.0) == 1.0
    assert in_units("fs", np.array([0.0, math.log(3)])) == pytest.approx([1.0, 3.0])


def test_models_are_compared_in_perplexity():
    counts = [count(DOMAIN, PREDICTIONS, STATED, Evidence(likelihoods=LIKELIHOODS))]
    surer = [Likelihood(found.example_id, found.nll / 2, found.tokens) for found in LIKELIHOODS]
    other = [count(DOMAIN, PREDICTIONS, STATED, Evidence(likelihoods=surer))]
    figures = arm_figures([*counts, *other])
    mine, theirs = 2**1.5, 2**0.75
    assert figures["fs"].seeds == pytest.approx([mine, theirs])
    assert figures["fs"].value == pytest.approx((mine + theirs) / 2)
    whole, low, high = difference("fs", counts, other, resamples=500, seed=0) or (0, 0, 0)
    assert whole == pytest.approx(mine - theirs)
    assert low is not None
    assert high is not None
    assert low < whole < high  # of two answers by Student's t, in the units of the figure
    assert (low + high) / 2 == pytest.approx(whole)
