"""Verdicts on the paper's orderings, from differences and their intervals alone."""

import pytest
from bench.claims import (
    OURS,
    PAPER,
    Claim,
    Difference,
    Part,
    apart,
    holm,
    judge,
    judge_all,
    mean_bounds,
    p_values,
    part_verdict,
)

from seewhy.proof.comparison import contrast, with_seeds

BETTER = Part("accuracy", "ours", "nl")
KEPT = Part("recall", "ours", "base", floor=-0.02)
LOWER = Part("fs", "ours", "base", lower_is_better=True)


@pytest.mark.parametrize(
    ("part", "difference", "expected"),
    [
        (BETTER, Difference(0.05, 0.01, 0.09), "holds"),
        (BETTER, Difference(0.05, 0.0, 0.1), "not decided"),  # the interval includes 0
        (BETTER, Difference(0.0, 0.0, 0.0), "not decided"),
        (BETTER, Difference(-0.05, -0.1, 0.01), "not decided"),
        (BETTER, Difference(-0.05, -0.1, -0.01), "does not hold"),
        (BETTER, None, "not measured"),
        (KEPT, Difference(-0.005, -0.015, 0.005), "holds"),  # lost, but less than the margin
        (KEPT, Difference(0.0, 0.0, 0.0), "holds"),
        (KEPT, Difference(-0.02, -0.05, 0.01), "not decided"),
        (KEPT, Difference(-0.3, -0.4, -0.2), "does not hold"),
        (LOWER, Difference(-2.0, -3.0, -1.0), "holds"),
        (LOWER, Difference(2.0, 1.0, 3.0), "does not hold"),
        (LOWER, Difference(0.0, -1.0, 1.0), "not decided"),
    ],
)
def test_a_part(part: Part, difference: Difference | None, expected: str) -> None:
    assert part_verdict(part, difference) == expected


UP, DOWN, UNSURE = Difference(0.1, 0.05, 0.2), Difference(-0.1, -0.2, -0.05), Difference(0.1, -0.1, 0.3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (UP, UP, "holds"),
        (UP, UNSURE, "not decided"),
        (UP, None, "not measured"),
        (UNSURE, None, "not measured"),
        (DOWN, None, "does not hold"),  # one part that fails is enough
        (DOWN, UP, "does not hold"),
    ],
)
def test_a_chain_holds_with_all_of_its_parts(
    first: Difference | None, second: Difference | None, expected: str
) -> None:
    parts = (Part("accuracy", "ours", "nl"), Part("accuracy", "nl", "lge"))
    found = {part.key: found for part, found in zip(parts, (first, second), strict=True) if found}
    assert judge(Claim("order", "ours > NL > L+GE", parts), found) == expected


def test_figures_that_are_not_paired_are_apart_cautiously() -> None:
    found = apart((0.95, 0.93, 0.97), (0.90, 0.88, 0.92))
    assert (found.value, found.low, found.high) == pytest.approx((0.05, 0.01, 0.09))
    assert part_verdict(BETTER, found) == "holds"
    assert part_verdict(BETTER, apart((0.95, 0.90, 0.97), (0.90, 0.88, 0.92))) == "not decided"


def test_bounds_of_a_mean() -> None:
    assert mean_bounds([(0.1, 0.3), (0.3, 0.5)]) == pytest.approx((0.2, 0.4))
    assert mean_bounds([]) is None


def test_every_claim_has_a_name_of_its_own_and_parts() -> None:
    keys = [claim.key for claim in (*PAPER, *OURS)]
    assert len(set(keys)) == len(keys)
    assert all(claim.parts for claim in (*PAPER, *OURS))
    orders = {part.key for claim in PAPER for part in claim.parts}
    wanted = {("accuracy", "ours", "nl"), ("accuracy", "nl", "lge"), ("cs", "ours", "lge"), ("cs", "lge", "base")}
    assert wanted <= orders


def test_holms_correction() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )  # Holm (1979): 4 x .005, 3 x .01, 2 x .03, and the last no less than the one before
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_one_claim_of_nine_that_holds_by_itself_is_not_enough() -> None:
    claims = [Claim(f"claim {n}", "", (Part("accuracy", "ours", f"arm {n}"),)) for n in range(9)]
    nothing = Difference(0.0, -0.1, 0.1)
    differences = {claim.parts[0].key: nothing for claim in claims}
    found = judge_all(claims, differences | {claims[0].parts[0].key: Difference(0.11, 0.01, 0.21)})
    assert part_verdict(claims[0].parts[0], Difference(0.11, 0.01, 0.21)) == "holds"
    assert found["claim 0"].p == pytest.approx(0.031, abs=0.001)  # z = 2.156
    assert found["claim 0"].corrected == pytest.approx(9 * found["claim 0"].p)
    assert found["claim 0"].verdict == "not decided"
    sure = judge_all(claims, differences | {claims[0].parts[0].key: Difference(0.11, 0.05, 0.17)})
    assert sure["claim 0"].verdict == "holds"


def test_claims_that_were_not_measured_are_among_those_corrected_for() -> None:
    some = {("accuracy", "ours", "ours_round_1"): Difference(0.11, 0.01, 0.21)}
    found = judge_all((*PAPER, *OURS), some)
    assert found["rounds"].verdict == "not decided"
    assert found["cs_order"].verdict == "not measured"


@pytest.mark.parametrize("floor", [-0.02, 0.0])
@pytest.mark.parametrize("seeds", [(), (0.03, 0.06, 0.045), (0.02, 0.07)])
def test_p_values_agree_with_intervals(floor: float, seeds: tuple[float, ...]) -> None:
    """An interval that just touches the floor at 95 % has a p-value of 5 %."""
    reach = 0.4  # wider than that of the seeds
    touching = Difference(floor + reach, floor, floor + 2 * reach, seeds)
    assert p_values(Part("x", "a", "b", floor=floor), touching)[0] == pytest.approx(0.05, abs=1e-6)
    against = Difference(floor - reach, floor - 2 * reach, floor, seeds)
    assert p_values(Part("x", "a", "b", floor=floor), against) == (1.0, pytest.approx(0.05, abs=1e-6))


def test_three_seeds_whose_spread_decides_nothing() -> None:
    """What was measured on the field guide, its bounds over images alone: claims that held are undecided."""
    images = {
        ("accuracy", "ours", "nl"): ((-0.013, 0.007), (-0.015, -0.002, 0.008)),
        ("accuracy", "nl", "lge"): ((0.020, 0.049), (0.050, 0.042, 0.013)),
        ("accuracy", "ours", "nofilter"): ((0.047, 0.085), (0.056, 0.050, 0.090)),
        ("cs", "ours", "nofilter"): ((0.009, 0.017), (0.011, 0.020, 0.009)),
    }
    found = {}
    for key, (bounds, seeds) in images.items():
        value = sum(seeds) / 3
        found[key] = Difference(value, *with_seeds(value, bounds, seeds), seeds)
    verdicts = judge_all((*PAPER, *OURS), found)
    assert verdicts["filtering"].verdict == "not decided"
    assert verdicts["not_below_nl"].verdict == "not decided"  # within two points, which the seeds reach beyond
    assert part_verdict(Part("accuracy", "nl", "lge"), found["accuracy", "nl", "lge"]) == "not decided"
    old = {key: Difference(sum(seeds) / 3, *bounds) for key, (bounds, seeds) in images.items()}
    assert part_verdict(Part("accuracy", "nl", "lge"), old["accuracy", "nl", "lge"]) == "holds"


def test_few_flips_have_the_p_value_of_the_exact_test() -> None:
    ones, ours, other = [1.0] * 40, [1.0] * 40, [0.0] * 8 + [1.0] * 32
    apart_by = contrast("accuracy", [{"accuracy": (ours, ones)}], [{"accuracy": (other, ones)}], resamples=50, seed=0)
    assert apart_by is not None
    assert p_values(BETTER, Difference.of(apart_by))[0] == pytest.approx(2 * 0.5**8, rel=1e-3)


def test_no_difference_of_shares_is_said_to_be_more_than_all():
    """Student's t over three seeds that differ much reaches beyond what a share can be."""
    ours = [{"accuracy": ([0.0] * 40, [1.0] * 40)} for _ in range(3)]
    theirs = [{"accuracy": ([1.0] * right + [0.0] * (40 - right), [1.0] * 40)} for right in (15, 30, 40)]
    found = contrast("accuracy", ours, theirs, resamples=100, seed=0)
    assert found is not None
    assert found.interval()[0] < -1
    assert Difference.of(found).low == -1
