import pytest

from seewhy.proof.gate import judge_rounds

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
    second = judge_rounds([counts(150, 0.9), counts(100, 0.5)], resamples=200, seed=0).judgements[1]
    assert (second.round, second.against, second.accuracy) == (2, 1, 0.5)
    assert second.worse_in == ("accuracy", "cs")
    whole, low, high = second.differences["accuracy"]
    assert whole == -0.25
    assert low < whole < high < 0
    assert second.differences["cs"] == pytest.approx((-0.4, -0.4, -0.4))
