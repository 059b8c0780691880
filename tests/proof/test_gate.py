from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from seewhy.proof.gate import judge_rounds, level_of

N = 200


def counts(right: int, consistent: float | None = None) -> dict:
    """Counts over N images of which the first `right` are right; CS is the same for all."""
    found = {"accuracy": ([1.0] * right + [0.0] * (N - right), [1.0] * N)}
    if consistent is not None:
        found["cs"] = ([consistent] * N, [1.0] * N)
    return found


@pytest.mark.parametrize(
    ("rounds", "best", "stop"),
    [
        ([counts(100)], 1, False),
        ([counts(100), counts(150)], 2, False),
        ([counts(150), counts(150)], 2, False),  # as good: the later one
        ([counts(150), counts(149)], 1, False),  # worse by chance: go on, but from what was best
        ([counts(150), counts(149), counts(152)], 3, False),
        ([counts(150), counts(100)], 1, True),
        ([counts(100), counts(150), counts(110)], 2, True),
        ([counts(100, 0.9), counts(150, 0.5)], 1, True),  # more names, but reasons that do not hold
        ([counts(100, 0.9), counts(150, 0.9)], 2, False),
        ([counts(100), counts(150, 0.5)], 2, False),  # CS of one alone cannot be compared
    ],
)
def test_the_best_round_and_when_to_stop(rounds: list, best: int, stop: bool):  # noqa: FBT001
    gate = judge_rounds(rounds, resamples=200, seed=0)
    assert (gate.best, gate.stop) == (best, stop)


def test_a_judgement_says_what_it_rests_on():
    second = judge_rounds([counts(150, 0.9), counts(100, 0.5)], resamples=200, seed=0).rounds[1]
    assert (second.round, second.against, second.accuracy) == (2, 1, 0.5)
    assert second.worse_in == ("accuracy", "cs")
    whole, low, high = second.differences["accuracy"]
    assert whole == -0.25
    assert low is not None
    assert high is not None
    assert low < whole < high < 0
    assert second.differences["cs"] == pytest.approx((-0.4, -0.4, -0.4))


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return import_module("bench.gate")


def test_runs_with_equal_rounds_are_seldom_stopped(simulation):
    """300 runs of four rounds that are equal: by the rule before, a sixth stopped; 5 % may, give or take the chance in
    300 runs (binomial, 99.9 %: 8.7 %)."""
    before, now = simulation.rates(200, 0.75, 0.7, 0.0, "accuracy", rounds=4, runs=300, seed=3)
    assert before > 0.1
    assert now <= 0.05


def test_a_real_loss_is_stopped(simulation):
    _, now = simulation.rates(240, 0.95, 0.85, 0.1, "accuracy", rounds=4, runs=40, seed=3)
    assert now >= 0.9


def test_a_decision_hangs_on_the_rounds_that_are_planned_not_on_those_there_are():
    """A run that goes on where it was stopped decides the same again."""
    rounds = [counts(150), counts(141)]  # nine flips for the worse: p 0.002
    assert judge_rounds(rounds, resamples=50, seed=0, planned=2).stop
    assert not judge_rounds(rounds, resamples=50, seed=0, planned=8).stop
    first = judge_rounds(rounds, resamples=50, seed=0, planned=4)
    later = judge_rounds([*rounds, counts(150)], resamples=50, seed=0, planned=4)
    assert later.rounds[:2] == first.rounds
    assert first.level == level_of(4) == pytest.approx(0.05 / 12)
    assert first.rounds[1].p["accuracy"] == pytest.approx(0.5**9)


def test_few_flips_do_not_stop_a_run():
    """Six flips for the worse of 200 exclude zero at 95 %, and are no reason to end a run that looks six times."""
    assert not judge_rounds([counts(150), counts(144)], resamples=50, seed=0, planned=4).stop
    assert np.isclose(judge_rounds([counts(150), counts(144)], resamples=50, seed=0).rounds[1].p["accuracy"], 0.5**6)
