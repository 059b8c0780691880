"""What the gallery knows of a reason's place. Which images it shows: tests/proof/test_evaluate.py."""

import pytest

from seewhy.proof.confusion import by_hash, judged
from seewhy.records import Example, Truth
from seewhy.results_json import encode

TRUTH = Truth("a", ("Red crowns", "long tail"), ("pink legs",), {"Red crowns": (1, 2, 30, 40)})


@pytest.mark.parametrize(
    ("concept", "truth", "expected"),
    [
        ("red crown", TRUTH, {"concept": "red crown", "verdict": "true", "box": [1, 2, 30, 40]}),
        ("long tail", TRUTH, {"concept": "long tail", "verdict": "true"}),
        ("pink legs", TRUTH, {"concept": "pink legs", "verdict": "hidden"}),
        ("blue bill", TRUTH, {"concept": "blue bill", "verdict": "false"}),
        ("red crown", None, {"concept": "red crown", "verdict": "unverified"}),
    ],
)
def test_a_reason_has_its_verdict_and_where_it_is_known_its_box(concept: str, truth: Truth | None, expected: dict):
    assert encode(judged(concept, truth)) == expected


def test_the_order_by_hash_depends_on_ids_alone():
    examples = [Example(f"{i}", f"{i}.png", "0" * 64, "A", "test") for i in range(20)]
    ordered = by_hash(examples)
    assert ordered == by_hash(examples[::-1])
    assert ordered != examples
