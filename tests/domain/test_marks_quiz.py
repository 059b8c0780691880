"""Questions about marks: their wordings, what is asked about an image, and that right answers state the marks."""

from random import Random

import pytest

from seewhy.domain.loaders.wbcatt import ATTRIBUTES, CLASSES, PHRASES
from seewhy.domain.marks_quiz import (
    OPEN,
    listed_features,
    open_answer,
    questions_of,
    with_feature_article,
    yes_no_answer,
    yes_no_question,
)
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Truth

STATED = StatedConcepts(PHRASES, CLASSES)


def truth(*visible: str) -> Truth:
    return Truth("a", visible, (), {}, tuple(p for p in PHRASES if p not in visible))


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("large cell", "a large cell"),
        ("irregular nucleus", "an irregular nucleus"),
        ("nucleus with two lobes", "a nucleus with two lobes"),
        ("nucleus filling most of the cell", "a nucleus filling most of the cell"),
        ("vacuoles in the cytoplasm", "vacuoles in the cytoplasm"),
        ("wide cytoplasm around the nucleus", "wide cytoplasm around the nucleus"),
        ("dense chromatin", "dense chromatin"),
        ("fine granules", "fine granules"),
        ("no stem", "no stem"),
    ],
)
def test_a_feature_has_its_article(phrase: str, said: str) -> None:
    assert with_feature_article(phrase) == said
    assert yes_no_question(phrase, "cell") == f"Does the cell show {said}?"


@pytest.mark.parametrize("phrase", PHRASES)
def test_right_answers_state_the_mark(phrase: str) -> None:
    assert STATED(open_answer(phrase)) == (phrase,)
    assert yes_no_answer(phrase, right=True).startswith("Yes")
    no = yes_no_answer("large cell", right=False, own=phrase)
    assert no.startswith("No")
    assert STATED(no) == (phrase,)
    assert not STATED(yes_no_answer(phrase, right=False))


@pytest.mark.parametrize("seed", range(20))
def test_a_list_of_marks_states_each(seed: int) -> None:
    random = Random(seed)
    marks = random.sample([random.choice(phrases) for phrases in ATTRIBUTES.values()], 6)
    assert STATED(f"This is a Neutrophil: it has {listed_features(marks)}.") == tuple(marks)


def test_what_is_asked_follows_the_marks() -> None:
    marked = truth("small cell", "dense chromatin", "pink granules", "fine granules")
    kinds = []
    for seed in range(60):
        for question in questions_of(marked, ATTRIBUTES, "cell", ["Describe the cell."], Random(seed)):
            kinds.append(question.kind)
            own = [p for p in ATTRIBUTES.get(question.attribute, ()) if p in marked.visible]
            named = [p for p in PHRASES if question.text == yes_no_question(p, "cell")]
            if question.kind == "open":
                assert own
                assert len(ATTRIBUTES[question.attribute]) > 1
                assert question.attribute in question.text
            elif question.kind == "yes":
                assert named == own
            elif question.kind == "no":
                assert len(named) == 1
                assert named[0] in ATTRIBUTES[question.attribute]
                assert named[0] in marked.absent
            else:
                assert question.text == "Describe the cell."
    assert [kinds.count(kind) for kind in ("open", "yes", "no", "describe")] == [60 * OPEN, 60, 60, 60]


def test_what_has_no_phrase_is_asked_with_no_alone() -> None:
    """Of a cell without vacuoles and granules neither is asked openly, and whether it shows them has the answer no."""
    marked = truth("large cell", "agranular cytoplasm")
    asked = [q for seed in range(80) for q in questions_of(marked, ATTRIBUTES, "cell", ["Describe."], Random(seed))]
    assert {q.attribute for q in asked if q.kind == "open"} == {"size of the cell", "granules"}
    nos = {q.attribute for q in asked if q.kind == "no"}
    assert {"vacuoles", "colour of the granules"} <= nos


def test_a_full_house_of_hidden_phrases_is_not_denied() -> None:
    hidden = Truth("a", ("large cell",), ("dense chromatin",), {})
    asked = [q for seed in range(80) for q in questions_of(hidden, ATTRIBUTES, "cell", ["Describe."], Random(seed))]
    assert not any("dense chromatin" in q.text for q in asked)
