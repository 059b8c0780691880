"""The figures of a model and of the selection, on a domain small enough to count by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.domain import Domain
from seewhy.domain.labels import lenient_match
from seewhy.domain.questions import Questions
from seewhy.errors import SeeWhyError
from seewhy.proof.confusion import gallery, spread
from seewhy.proof.figures import count_units, measure, measure_selection, verdict
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Prediction, Selection, Truth
from seewhy.results import CardAnswer, StatedConcept
from seewhy.results_json import encode

CROW, FISH_CROW = "Crow", "Fish Crow"
BANK = ConceptBank({CROW: ("black bill", "long tail"), FISH_CROW: ("short bill", "red crown", "nasal call")})


def example(name: str, label: str, split: str = "test") -> Example:
    return Example(name, f"{name}.png", "0" * 64, label, split)


DOMAIN = Domain(
    "crows",
    Path("/data"),
    (
        example("a", CROW),
        example("b", CROW),
        example("c", FISH_CROW),
        example("d", FISH_CROW),
        example("t", CROW, "train"),
    ),
    BANK,
    Questions.for_noun("bird"),
    {
        "a": Truth("a", ("black bill", "long tail"), (), {}),
        "b": Truth("b", ("black bill",), ("long tail",), {}),
        "c": Truth("c", ("short bill", "Red crowns"), ("nasal call",), {}),
    },
)
STATED = StatedConcepts.of(DOMAIN)
ANSWERS = {
    "a": "This is a Crow with a black bill and a long tail.",  # right; two true
    "b": "This is a Crow. Its tail is long, with a red crown.",  # right; one hidden, one wrong
    "c": "This is a Fish Crow.",  # right; no reason
    "d": "A Fish Crow, or a Crow; a short bill.",  # two labels, right by the substring rule; truth unknown
}


def predictions(answers: dict[str, str] = ANSWERS) -> list[Prediction]:
    return [Prediction(name, "Which bird?", text) for name, text in answers.items()]


def measured(domain: Domain = DOMAIN, answers: dict[str, str] = ANSWERS) -> dict:
    return encode(measure(domain, predictions(answers), STATED, resamples=200, seed=0))


def test_figures_of_a_model():
    metrics = measured()
    assert (metrics["split"], metrics["n"], metrics["answers"]) == ("test", 4, 4)
    assert metrics["accuracy"] == 0.75
    assert metrics["accuracy_lenient"] == 1.0
    assert metrics["ee"] == 0.75
    assert metrics["stated_per_answer"] == 5 / 4
    assert metrics["stated_verified"] == 4
    assert (metrics["stated_true"], metrics["stated_hidden"], metrics["stated_wrong"]) == (0.5, 0.25, 0.25)
    assert metrics["stated_false"] == 0.5
    assert (metrics["accuracy_n"], metrics["stated_true_n"], metrics["stated_true_images"]) == (4, 4, 2)
    low, high = metrics["accuracy_interval"]
    assert 0 <= low < 0.75 < high <= 1


def test_any_reason_stands_beside_ee_and_never_below_it():
    answers = {
        "a": "This is a Crow with a glossy throat.",  # a reason in words that no list has
        "b": "This is a Crow with a black bill.",
        "c": "This is a Fish Crow.",
        "d": "This is a Fish Crow. It has a Fi",
    }
    metrics = measured(answers=answers)
    assert (metrics["ee"], metrics["any_reason"]) == (0.25, 0.5)
    assert metrics["any_reason_interval"]


def test_two_answers_about_one_image_are_one_image():
    twice = encode(measure(DOMAIN, predictions() * 2, STATED, resamples=200, seed=0))
    assert (twice["n"], twice["answers"]) == (4, 8)
    assert twice["accuracy_interval"] == measured()["accuracy_interval"]


def test_without_truth_nothing_is_said_of_it():
    metrics = measured(replace(DOMAIN, truth=None))
    assert {k for k in metrics if k.startswith("stated_")} == {"stated_per_answer"}


def test_a_model_that_gives_no_reason_has_no_share_of_true_reasons():
    metrics = measured(answers={"a": "This is a Crow.", "b": "This is a Fish Crow."})
    assert metrics["ee"] == 0
    assert "stated_true" not in metrics


def test_empty_split_is_an_error_with_a_remedy():
    with pytest.raises(SeeWhyError, match=r"crows.*no images.*evaluate\.split"):
        measured(answers={})


def test_an_unknown_image_is_named():
    with pytest.raises(SeeWhyError, match="'elsewhere'"):
        measured(answers={"elsewhere": "A Crow."})


def test_one_split_at_a_time():
    with pytest.raises(SeeWhyError, match=r"several splits.*test, train"):
        measured(answers={"a": "A Crow.", "t": "A Crow."})


def test_selection_against_the_truth():
    kept = {("a", "black bill"), ("b", "black bill"), ("b", "long tail"), ("c", "red crown")}
    selections = [
        Selection(e.id, concept, 0.0, (e.id, concept) in kept) for e in DOMAIN.examples[:4] for concept in BANK[e.label]
    ]
    metrics = encode(measure_selection(DOMAIN, selections, resamples=100, seed=0))
    assert metrics["selection_precision"] == 3 / 4
    assert metrics["selection_recall"] == 3 / 5
    assert metrics["selection_precision_whole_list"] == 5 / 7
    assert metrics["selected_per_image"] == 1
    without = encode(measure_selection(replace(DOMAIN, truth=None), selections, resamples=100, seed=0))
    assert without == {"selected_per_image": 1, "listed_per_image": 10 / 4}


def test_nothing_selected_at_all():
    with pytest.raises(SeeWhyError, match="nothing to measure"):
        measure_selection(DOMAIN, [], resamples=10, seed=0)


@pytest.mark.parametrize(
    ("concept", "expected"),
    [("short bill", "true"), ("red crown", "true"), ("nasal call", "hidden"), ("long tail", "false")],
)
def test_verdicts(concept: str, expected: str):
    assert DOMAIN.truth
    assert verdict(concept, DOMAIN.truth["c"]) == expected
    assert verdict(concept, None) == "unverified"


PARTIAL = {
    "a": Truth("a", ("black bill",), (), {}, complete=False),
    "b": Truth("b", (), ("long tail",), {}, absent=("red crown",), complete=False),
}
"""Photos of which a person has marked a few phrases."""


@pytest.mark.parametrize(
    ("concept", "expected"),
    [("black bill", "unverified"), ("long tail", "hidden"), ("red crown", "false"), ("short bill", "unverified")],
)
def test_what_nobody_marked_is_unverified_and_not_false(concept: str, expected: str):
    assert verdict(concept, PARTIAL["b"]) == expected


def test_shares_are_of_what_is_known_and_the_rest_is_said():
    metrics = measured(replace(DOMAIN, truth=PARTIAL))
    # a: black bill true, long tail unmarked; b: long tail hidden, red crown absent; d: short bill, an unmarked photo
    assert metrics["stated_verified"] == 3
    assert metrics["stated_true"] == metrics["stated_hidden"] == metrics["stated_wrong"] == pytest.approx(1 / 3)
    assert metrics["stated_unverified"] == 2 / 5
    assert measured()["stated_unverified"] == 1 / 5


def test_selection_is_held_against_what_is_known():
    selections = [Selection("a", concept, 0.0, selected=True) for concept in BANK[CROW]]
    metrics = encode(measure_selection(replace(DOMAIN, truth=PARTIAL), selections, resamples=20, seed=0))
    assert metrics["selection_precision"] == metrics["selection_precision_whole_list"] == 1.0


def test_the_gallery_prefers_images_of_which_it_is_known_what_they_show():
    examples = tuple(example(f"{label}{n}", label) for label in (CROW, FISH_CROW) for n in range(20))
    marked = {f"{CROW}{n}": Truth(f"{CROW}{n}", (), (), {}, complete=False) for n in (3, 7, 11)}
    domain = replace(DOMAIN, examples=examples, truth=marked)
    said = {"base": predictions({e.id: "A Crow." for e in examples})}
    for count in (2, 3, 8):
        shown = gallery(domain, said, STATED, count).cards
        assert sum(one.id in marked for one in shown) == min(count, 3)
        assert len(shown) == count


def test_accuracy_strict_and_lenient():
    texts, labels = ["A Fish Crow.", "a fish-crow"], [CROW, FISH_CROW]
    assert [DOMAIN.matcher.is_correct(*pair) for pair in zip(texts, labels, strict=True)] == [False, True]
    assert [lenient_match(*pair) for pair in zip(texts, labels, strict=True)] == [True, True]


def test_gallery_holds_each_models_answer_with_verdicts():
    base = [replace(p, text="A bird.") for p in predictions()]
    shown = gallery(DOMAIN, {"base": base, "round 1": predictions()}, STATED, count=3).cards
    assert [card.label for card in shown].count(CROW) == 2
    assert len(shown) == 3
    every = gallery(DOMAIN, {"round 1": predictions()}, STATED).cards
    card = next(card for card in every if card.image == "/data/b.png")
    assert card.question == "Which bird?"
    stated = (StatedConcept("long tail", "hidden"), StatedConcept("red crown", "false"))
    assert card.answers == (CardAnswer("round 1", ANSWERS["b"], correct=True, stated=stated),)


def test_gallery_wants_the_same_images_of_every_model():
    with pytest.raises(SeeWhyError, match="base has no answer about"):
        gallery(DOMAIN, {"base": predictions()[:1], "round 1": predictions()}, STATED)


def test_gallery_is_spread_over_the_classes_whatever_the_order():
    examples = [example(f"{label}{i}", label) for label in "ABCDEFGH" for i in range(9)]
    shown = spread(examples, 20)
    assert {sum(e.label == label for e in shown) for label in "ABCDEFGH"} == {2, 3}
    assert spread(examples[::-1], 20) == shown
    assert [e.label for e in spread(examples, 4)] == ["A", "C", "E", "G"]


def test_images_of_one_lesion_are_one_unit():
    """Eight pictures of each of twelve lesions, of which a model is right about all or none."""
    ids = [f"{lesion}/{view}" for lesion in range(12) for view in range(8)]
    every = (*(example(i, CROW) for i in ids), example("another", FISH_CROW))
    alone = Domain("lesions", Path("/data"), every, BANK, Questions.for_noun("bird"))
    grouped = replace(alone, groups={i: f"lesion {i.split('/')[0]}" for i in ids})
    texts = {i: f"This is a {CROW if int(i.split('/')[0]) % 3 else FISH_CROW}." for i in ids}
    by_image, by_lesion = measured(alone, texts), measured(grouped, texts)
    assert by_image["accuracy"] == by_lesion["accuracy"] == pytest.approx(2 / 3)
    assert (by_lesion["n"], by_lesion["accuracy_n"], by_lesion["accuracy_clusters"]) == (96, 96, 12)
    assert "accuracy_clusters" not in by_image
    (low, high), (lower, higher) = by_image["accuracy_interval"], by_lesion["accuracy_interval"]
    assert higher - lower > 2.5 * (high - low)
    assert (lower, higher) == pytest.approx((0.349, 0.901), abs=1e-3)  # 8 of 12, Clopper and Pearson
    assert count_units(grouped, predictions(texts), STATED)["accuracy"] == ((0.0, 8.0, 8.0) * 4, (8.0,) * 12)
    assert len(count_units(alone, predictions(texts), STATED)["accuracy"][0]) == 96
    assert grouped.fingerprint == alone.fingerprint  # no stage is made again for it


def test_an_image_without_a_group_is_a_unit_of_its_own():
    grouped = replace(DOMAIN, groups={"a": "one", "b": "one"})
    assert grouped.clusters(["a", "c", "b", "d"]) == ["one", "c", "one", "d"]
    assert grouped.clusters(["c", "d"]) is None
