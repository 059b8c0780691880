"""Verdicts on the paper's orderings, from differences and their intervals alone."""

import pytest

from seewhy.proof.claims import OURS, PAPER, Claim, Difference, Part, apart, judge, mean_bounds, part_verdict

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
