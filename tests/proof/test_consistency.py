"""CS: what one phrase entails of another, by its words, and the share of stated concepts that the selected entail."""

from pathlib import Path

import pytest

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.questions import Questions
from seewhy.proof.figures import Evidence, consistency, count, entails, measure
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Prediction

ENTAILED = [
    ("red crown", "red crown"),
    ("red crown", "Red Crowns"),
    ("a red crown", "the red crown"),
    ("grey back", "gray back"),
    ("bright red crown", "red crown"),
    ("bright red crown", "crown"),
    ("dark green skin", "green skin"),
    ("white eye ring", "eye ring"),
    ("two white wing bars", "white wing bar"),
    ("short, conical bill", "short bill"),
    ("short, conical bill", "conical bill"),
    ("short, conical bill", "short conical bill"),
    ("red and bright yellow breast", "red breast"),
    ("red and bright yellow breast", "yellow breast"),
    ("bright red and pale yellow breast", "red and yellow breast"),
    ("long, thick, black bill", "long black bill"),
    ("white belly with spots", "white belly"),
    ("white belly with spots", "belly with spots"),
    ("white belly with dark spots", "white belly with spots"),
    ("russet patches on the skin near the stem", "russet patches on the skin"),
    ("smooth rind without a net", "smooth rind"),
    ("green leaf with no stem", "leaf"),
    ("green leaf with no stem", "green leaf with no stem"),
    ("no eye ring", "without an eye ring"),
    ("green to yellow skin", "green to yellow skin"),
    ("green to yellow skin with spots", "green to yellow skin"),
]
NOT_ENTAILED = [
    ("red crown", "bright red crown"),
    ("red crown", "red breast"),
    ("red crown", "red"),
    ("red crown", ""),
    ("", "red crown"),
    ("", ""),
    ("dark red crown", "dark crown"),
    ("white wing bar", "white wings"),
    ("short, conical bill", "conical short bill"),
    ("no eye ring", "eye ring"),
    ("eye ring", "no eye ring"),
    ("no white eye ring", "no eye ring"),
    ("skin without dark spots", "skin without spots"),
    ("no spots on the skin", "no spots"),
    ("leaf with no stem", "stem"),
    ("green to yellow skin", "yellow skin"),
    ("red or brown crown", "brown crown"),
    ("white belly", "white belly with spots"),
    ("white belly with spots", "spots"),
    ("white belly with spots", "white belly on spots"),
    ("green leaves at the end of a short stem", "green leaves of a stem"),
]


@pytest.mark.parametrize(("premise", "conclusion"), ENTAILED)
def test_what_remains_of_a_phrase_is_entailed(premise: str, conclusion: str):
    assert entails(premise, conclusion)


@pytest.mark.parametrize(("premise", "conclusion"), NOT_ENTAILED)
def test_what_says_more_or_something_else_is_not(premise: str, conclusion: str):
    assert not entails(premise, conclusion)


BANK = ConceptBank(
    {
        "Crow": ("black bill", "long tail", "bright red crown"),
        "Fish Crow": ("short bill", "red crown", "tail"),
    }
)
DOMAIN = Domain(
    "crows",
    Path("/data"),
    tuple(Example(name, f"{name}.png", "0" * 64, "Crow", "test") for name in "abcd"),
    BANK,
    Questions.for_noun("bird"),
    None,
)
STATED = StatedConcepts.of(DOMAIN)
SELECTED = ("black bill", "bright red crown")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This is a Crow with a black bill and a bright red crown.", 1.0),
        ("This is a Crow with a black bill and a red crown.", 1.0),
        ("This is a Fish Crow with a black bill and a red crown.", 1.0),  # accuracy counts the name
        ("This is a Crow with a black bill, a red crown and a long tail.", 2 / 3),
        ("This is a Crow with a short bill.", 0.0),
        ("This is a Crow.", 0.0),
        ("", 0.0),
    ],
)
def test_cs_of_an_answer(text: str, expected: float):
    assert consistency(STATED(text), SELECTED) == pytest.approx(expected)


def test_nothing_selected_agrees_with_nothing():
    assert consistency(STATED("A Crow with a black bill."), ()) == 0


ANSWERS = {
    "a": "This is a Crow with a black bill and a long tail.",  # half
    "b": "This is a Crow with a black bill.",  # all
    "c": "This is a Crow.",  # states nothing
    "d": "This is a Crow with a long tail.",  # nothing is known of the image
}
SHOWN = {"a": ("black bill",), "b": SELECTED, "c": SELECTED, "d": ()}


def predictions() -> list[Prediction]:
    return [Prediction(name, "Which bird?", text) for name, text in ANSWERS.items()]


def test_cs_of_a_model_is_the_mean_over_answers_about_known_images():
    assert count(DOMAIN, predictions(), STATED, Evidence(SHOWN))["cs"] == (
        [0.5, 1.0, 0.0, 0.0],
        [1.0, 1.0, 1.0, 0.0],
    )
    cs = measure(DOMAIN, predictions(), STATED, Evidence(SHOWN), resamples=200, seed=0)["cs"]
    assert cs.value == 0.5
    low, high = cs.interval or (0, 0)
    assert 0 <= low < 0.5 < high <= 1


def test_without_selected_concepts_there_is_no_cs():
    assert "cs" not in count(DOMAIN, predictions(), STATED)
