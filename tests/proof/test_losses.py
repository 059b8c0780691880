"""A stage that loses most of its texts says so, with the likeliest causes."""

import math

import pytest

from seewhy.proof.support import fallback_reasons, mostly_lost, reasons_of_lost_queries, unusable
from seewhy.records import Answer, Candidate


def candidate(query: str, reason: str, *, kept: bool = False) -> Candidate:
    return Candidate("a", 2, "explain", query, 0, "A text.", math.nan, kept, reason)


@pytest.mark.parametrize(("lost", "spoken"), [(50, False), (51, True), (100, True), (0, False)])
def test_more_than_half_is_spoken_of(lost: int, spoken: bool):  # noqa: FBT001
    told = mostly_lost("describe", "texts were dropped", lost, 100, {"empty": lost})
    assert (told is not None) == spoken
    assert told is None or f"describe: {lost} of 100 texts were dropped ({lost} %)" in told


def test_the_three_likeliest_causes_are_named_by_kind_with_what_to_do():
    reasons = {
        "names Rook, not Crow": 3, "names Jay, not Crow": 4, "names no label": 6, "empty": 5,
        "states 'red crown', which its class does not list": 2, "holds '<think>', a marker of the model": 1,
    }  # fmt: skip
    told = mostly_lost("round-1/answers", "answers fell back", 21, 30, reasons) or ""
    assert [line.split(" (")[0] for line in told.splitlines()[1:4]] == [
        "- names another label", "- names no label", "- empty",
    ]  # fmt: skip
    assert "names another label (7): " in told
    assert "aliases" in told
    assert "<think>" not in told
    assert "Ctrl-C" in told.splitlines()[-1]


def test_a_stage_made_by_an_earlier_process_is_spoken_of_without_causes():
    assert "logged when they were made" in (mostly_lost("describe", "texts were dropped", 9, 10, {}) or "")


def test_only_what_made_an_answer_fall_back_is_counted():
    group = [candidate("q1", "names no label"), candidate("q1", "names Crow", kept=True), candidate("q2", "empty")]
    assert reasons_of_lost_queries(group) == {"empty": 1}
    assert unusable(group) == {"empty": 1}
    answers = [
        Answer("a/1/0", "a", 1, "simple", "q", "This is a Crow.", "label sentence", math.nan, "empty"),
        Answer("a/1/1", "a", 1, "explain", "q", "A Crow: black.", "synthesised", math.nan, "names Crow"),
    ]
    assert fallback_reasons(answers) == {"empty": 1}
