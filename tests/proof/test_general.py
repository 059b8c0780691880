"""Right answers about drawings, and lmms-eval's results read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from seewhy.domain.marks_quiz import Sheet
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.quiz import ATTRIBUTES, Subject, featured, listed, sheets
from seewhy.proof.ability import count_sheet, described, is_right, phrases_of, read_lmms_results, score_changes
from seewhy.proof.comparison import Tally, differences, shares
from seewhy.proof.stated import StatedConcepts
from seewhy.results import Difference

EVERY = ("red crown", "blue crown", "black crown")


@pytest.mark.parametrize(
    ("kind", "answer", "said", "expected"),
    [
        ("open", "It has a red crown.", ["red crown"], True),
        ("open", "It has a red crown and pink legs.", ["red crown", "pink legs"], True),
        ("open", "It has a red crown and a blue crown.", ["red crown", "blue crown"], False),
        ("open", "It has a blue crown.", ["blue crown"], False),
        ("open", "This is a Velmar Finch.", [], False),
        ("yes", "Yes, it does.", [], True),
        ("yes", "Yesru Wren.", [], False),
        ("yes", "No, it has a red crown.", ["red crown"], False),
        ("no", "No, it has a red crown.", ["red crown"], True),
        ("no", "Nosk Warbler.", [], False),
        ("hidden", "The crown cannot be seen.", [], True),
        ("hidden", "It has a red crown.", ["red crown"], False),
    ],
)
def test_answers_about_one_attribute(kind, answer: str, said: list[str], expected: bool) -> None:  # noqa: FBT001
    assert is_right(kind, answer, said, ("red crown",), EVERY) is expected


def test_descriptions() -> None:
    own = {"crown": ("red crown",), "skin": ("red skin", "deep red skin"), "tail": ("forked tail",)}
    every = {**own, "crown": EVERY}
    said = ["red crown", "blue crown", "red skin", "deep red skin", "forked tail"]
    assert described(said, own, every, {"crown", "skin"}) == (2, 4)  # a wrong crown, and a tail that is out of sight
    assert described([], own, every, {"crown"}) == (0, 0)


def stated_of(subject: Subject) -> StatedConcepts:
    return StatedConcepts([phrase for phrases in phrases_of(subject).values() for phrase in phrases])


def perfect(sheet: Sheet, subject: Subject) -> list[str]:
    own = {name: next(iter(phrases)) for name, phrases in sheet.own.items()}
    right = {
        "open": lambda name: f"It has {featured(own[name])}.",
        "yes": lambda name: "Yes, it does.",
        "no": lambda name: f"No, it has {featured(own[name])}.",
        "hidden": lambda name: f"The {name} cannot be seen.",
        "describe": lambda name: (
            f"It has {listed([own[a.name] for a in ATTRIBUTES[subject] if a.name in sheet.visible])}."
        ),
    }
    return [right[question.kind](question.attribute) for question in sheet.questions]


@pytest.mark.parametrize("subject", ["bird", "produce"])
def test_who_sees_all_is_right_throughout_and_who_names_is_not(subject: Subject) -> None:
    quiz = sheets(subject, "val", 6, 0)
    seer, namer, stated, every = Tally(6), Tally(6), stated_of(subject), phrases_of(subject)
    for place, sheet in enumerate(quiz):
        count_sheet(seer, place, sheet, perfect(sheet, subject), every, stated)
        count_sheet(namer, place, sheet, ["Yesru Wren."] * len(sheet.questions), every, stated)
    settings: dict[str, Any] = {"resamples": 20, "seed": 0}
    figures = shares(seer.counts, **settings)
    assert {name: figures[name].value for name in seer.counts} == dict.fromkeys(seer.counts, 1.0)
    named = shares(namer.counts, **settings)
    assert {named[key].value for key in ("attribute_accuracy", "yes_no_accuracy", "described_recall")} == {0}
    lost = differences(["attribute_accuracy", "described_precision"], [namer.counts], [seer.counts], **settings)
    assert lost.keys() == {"attribute_accuracy"}  # who describes nothing has no precision
    value, low, high = lost["attribute_accuracy"]
    assert (value, low) == (-1.0, -1.0)
    assert high is not None
    assert -1 < high < 0  # six drawings that all changed for the worse: p 0.03


def test_the_quiz_follows_from_split_and_seed() -> None:
    first, again = sheets("bird", "val", 3, 0), sheets("bird", "val", 3, 0)
    assert [s.questions for s in first] == [s.questions for s in again]
    assert [s.questions for s in first] != [s.questions for s in sheets("bird", "val", 3, 1)]
    assert first[0].picture().tobytes() != sheets("bird", "test", 1, 0)[0].picture().tobytes()
    kinds = [q.kind for q in first[0].questions]
    assert kinds.count("open") == 3
    assert kinds.count("describe") == 1
    assert {"yes", "no"} <= set(kinds)


def results(folder: Path, name: str, of: dict) -> None:
    path = folder / "models__llava" / f"{name}_results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": of, "config": {"model": "llava_hf"}}), encoding="utf-8")


def test_results_of_lmms_eval(tmp_path: Path) -> None:
    assert read_lmms_results(tmp_path, ["mme"]) is None
    mmmu = {"alias": "mmmu_val", "mmmu_acc,none": 0.36, "mmmu_acc_stderr,none": "N/A", "submission,none": None}
    mme = {"alias": "mme", "mme_perception_score,none": 1500.5, "mme_perception_score_stderr,none": 20.0,
           "mme_perception_score_stderr_clt,none": 19.0,
           "mme_cognition_score,none": 300}  # fmt: skip
    results(tmp_path, "20260101_120000", {"mmmu_val": {**mmmu, "mmmu_acc,none": 0.1}, "mme": mme})
    results(tmp_path, "20260102_120000", {"mmmu_val": mmmu, "mme": mme})
    results(tmp_path, "20260103_120000", {"mmstar": {"average,none": 0.3}})
    assert read_lmms_results(tmp_path, ["mmmu_val", "mme"]) == {
        "mmmu_val/mmmu_acc": (0.36, None),
        "mme/mme_perception_score": (1500.5, 20.0),
        "mme/mme_cognition_score": (300.0, None),
    }


def test_damaged_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "x_results.json").write_text("{", encoding="utf-8")
    with pytest.raises(SeeWhyError, match=r"x_results\.json does not hold results"):
        read_lmms_results(tmp_path, ["mme"])


def test_changes_of_scores() -> None:
    before, after = (
        {"a/x": (0.5, 0.03), "b/y": (10.0, None)},
        {"a/x": (0.4, 0.04), "b/y": (9.0, None), "c/z": (1.0, None)},
    )
    changes = score_changes(before, after)
    assert changes["a/x"] == pytest.approx([-0.1, -0.1 - 1.96 * 0.05, -0.1 + 1.96 * 0.05])
    assert changes["b/y"] == Difference(-1.0)
    assert changes.keys() == {"a/x", "b/y"}
