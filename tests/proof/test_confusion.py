"""Confused classes, on a domain small enough to count by hand."""

from pathlib import Path
from typing import Any

import pytest

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.questions import Questions
from seewhy.proof.confusion import confusion, separating
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Prediction, Truth
from seewhy.results_json import encode

BANK = ConceptBank({
    "Crow": ("black bill", "long tail", "Red crowns"),
    "Raven": ("black bill", "a red crown", "wedge tail"),
    "Rook": ("bare face",),
    "Jay": ("bare face",),
})  # fmt: skip
LABELS = {"a": "Crow", "b": "Crow", "c": "Crow", "d": "Crow", "e": "Raven", "f": "Rook", "g": "Crow", "h": "Jay"}
DOMAIN = Domain(
    "crows",
    Path("/data"),
    tuple(Example(name, f"{name}.png", "0" * 64, label, "test") for name, label in LABELS.items()),
    BANK,
    Questions.for_noun("bird"),
    {"a": Truth("a", ("long tail",), (), {"long tail": (1, 2, 3, 4)})},
)
STATED = StatedConcepts.of(DOMAIN)
ANSWERS = {
    "a": "This is a Raven with a long tail.",  # the reason is the crow's own
    "b": "A Raven; its tail is a wedge tail.",
    "c": "A Crow or a Raven.",
    "d": "A black bird.",
    "e": "This is a Crow with a black bill.",
    "f": "This is a Jay: bare face.",
    "g": "This is a Crow.",
}


def counted(answers: dict[str, str] = ANSWERS, **options: int) -> dict[str, Any]:
    predictions = [Prediction(name, "Which bird?", text) for name, text in answers.items()]
    return encode(confusion(DOMAIN, "round 1", predictions, STATED, **options))


def test_wrong_answers_by_what_they_name():
    found = counted()
    assert {key: found[key] for key in ("answers", "wrong", "names_none", "names_several", "names_other")} == {
        "answers": 7, "wrong": 6, "names_none": 1, "names_several": 1, "names_other": 4,
    }  # fmt: skip
    assert found["own_reasons"] == 1


def test_pairs_with_what_tells_them_apart_the_commonest_first():
    found = counted()
    assert [(p["label"], p["named"], p["count"], p["of"]) for p in found["pairs"]] == [
        ("Crow", "Raven", 2, 5),
        ("Raven", "Crow", 1, 1),
        ("Rook", "Jay", 1, 1),
    ]
    first, _, last = found["pairs"]
    assert (first["only_label"], first["only_named"], first["shared"]) == (["long tail"], ["wedge tail"], 2)
    assert (last["only_label"], last["only_named"], last["shared"]) == ([], [], 1)


def test_the_example_follows_from_the_ids_and_bears_its_verdicts():
    first = counted()["pairs"][0]
    assert first["image"] == f"/data/{first['id']}.png"
    assert first["text"] == ANSWERS[first["id"]]
    assert counted(dict(reversed(ANSWERS.items())))["pairs"] == counted()["pairs"]
    alone = counted({"a": ANSWERS["a"]})["pairs"][0]
    assert alone["stated"] == [{"concept": "long tail", "verdict": "true", "box": [1, 2, 3, 4]}]


def test_pairs_beyond_the_most_are_counted():
    found = counted(most=1)
    assert (len(found["pairs"]), found["pairs_in_all"]) == (1, 3)


def test_nothing_to_count():
    found = counted({})
    assert (found["answers"], found["wrong"], found["pairs"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("label", "named", "only_label", "only_named", "shared"),
    [
        ((), (), [], [], 0),
        (("red crown",), (), ["red crown"], [], 0),
        (("red crowns", "long tail"), ("a red crown",), ["long tail"], [], 1),
        (("long tail", "red crown"), ("red crown", "short bill"), ["long tail"], ["short bill"], 1),
    ],
)  # fmt: skip
def test_separating(label: tuple, named: tuple, only_label: list, only_named: list, shared: int):
    assert separating(label, named) == (tuple(only_label), tuple(only_named), shared)
