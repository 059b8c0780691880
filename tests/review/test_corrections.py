"""What verdicts change of training and of measuring, and that those on test images never reach training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seewhy.domain.concepts import ConceptBank
from seewhy.domain.corrections import Corrections, Opinions, for_measuring, for_training, strangers
from seewhy.domain.domain import Domain
from seewhy.domain.questions import Questions
from seewhy.domain.verdicts import Verdict, new_verdict
from seewhy.errors import SeeWhyError
from seewhy.records import Example, Selection, Truth

BANK = ConceptBank({"Crow": ("black bill", "long tail"), "Finch": ("red crest", "long tail")})


def domain(truth: Mapping[str, Truth] | None = None, **splits: str) -> Domain:
    split_of = {"crow": "train", "crow2": "train", "finch": "train", "seen": "test", "looked": "val", **splits}
    labels = {name: "Finch" if name == "finch" else "Crow" for name in split_of}
    examples = tuple(Example(n, f"{n}.png", f"sha {n}", labels[n], s) for n, s in split_of.items())
    return Domain("birds", Path(), examples, BANK, Questions.for_noun("bird", None), truth)


def say(name: str, verdict: str, concept: str = "", who: str = "Ada", **about: Any) -> Verdict:
    about = {"label": "Finch" if name == "finch" else "Crow", **about} if "kind" in about else about
    kind = about.pop("kind", "concept")
    return new_verdict(who, kind, verdict, image=name, concept=concept, **{"sha256": f"sha {name}", **about})


def test_verdicts_on_train_images_have_the_last_word_on_the_selection() -> None:
    given = [say("crow", "right", "long tail"), say("crow", "hidden", "black bill"), say("finch", "wrong", "red crest")]
    corrections = for_training(given, domain())
    assert corrections == Corrections(
        {"crow": {"long tail": True, "black bill": False}, "finch": {"red crest": False}}, frozenset(), {}
    )
    selections = [Selection(n, c, 1.0, c == "black bill") for n in ("crow", "crow2") for c in BANK["Crow"]]
    assert [(s.example_id, s.concept) for s in corrections.apply(selections) if s.selected] == [
        ("crow", "long tail"),
        ("crow2", "black bill"),
    ]
    assert Corrections.of_records(corrections.records()) == corrections


def test_a_wrong_label_takes_the_image_out() -> None:
    corrections = for_training([say("crow", "right", "long tail"), say("crow", "wrong", kind="label")], domain())
    assert corrections == Corrections({}, frozenset(["crow"]), {})
    assert not any(s.selected for s in corrections.apply([Selection("crow", "long tail", 1.0, selected=True)]))


def test_the_bank_is_corrected_for_the_class_alone() -> None:
    given = [
        say("crow", "struck", "long tail", kind="bank"),
        say("crow2", "reworded", "black bill", kind="bank", wording="bill, black"),
        say("crow2", "reworded", "bill, black", kind="bank", wording="dark bill"),
    ]
    corrections = for_training([*given, say("crow", "right", "dark bill"), say("crow", "right", "long tail")], domain())
    assert corrections.bank(BANK).concepts == {"Crow": ("dark bill",), "Finch": BANK["Finch"]}
    assert corrections.selected == {"crow": {"dark bill": True}}
    assert Corrections.of_records(corrections.records()) == corrections
    back = say("crow2", "reworded", "dark bill", kind="bank", wording="black bill")
    assert for_training([given[1], given[2], back], domain()) == Corrections()


def test_a_reworded_concept_is_unknown_to_the_truth() -> None:
    truth = {"seen": Truth("seen", ("black bill",), (), {}, complete=True)}
    given = [say("crow", "reworded", "long tail", kind="bank", wording="tail that is long")]
    corrected = for_training(given, domain()).domain(domain(truth)).truth
    assert corrected == {"seen": Truth("seen", ("black bill",), (), {}, ("long tail", "red crest"), complete=False)}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([say("crow", "struck", c, kind="bank") for c in BANK["Crow"]], "strike every concept of class 'Crow'"),
        ([say("finch", "wrong", kind="label")], "every train image of 'Finch' has a wrong label"),
    ],
)
def test_a_class_is_never_emptied(given: list[Verdict], says: str) -> None:
    with pytest.raises(SeeWhyError, match=says):
        for_training(given, domain())


@pytest.mark.parametrize("name", ["seen", "looked"])
def test_nothing_said_of_test_or_val_images_reaches_training(name: str) -> None:
    smuggled = [
        say(name, "right", "long tail"),
        say(name, "wrong", kind="label"),
        say(name, "struck", "long tail", kind="bank"),
        say(name, "reworded", "black bill", kind="bank", wording="dark bill"),
        say(name, "complete", kind="marks", visible=("long tail",), absent=("black bill",)),
        # A test image's verdict under a train image's name, or a train image's name under another class.
        say("crow", "right", "long tail", sha256=f"sha {name}"),
        say("crow", "struck", "long tail", kind="bank", sha256=f"sha {name}"),
        say("crow", "wrong", kind="label", sha256=f"sha {name}"),
        say("crow", "struck", "red crest", kind="bank", label="Finch"),
        say("crow", "struck", "long tail", kind="bank", label="Finch"),
        say("nowhere", "struck", "long tail", kind="bank"),
        say("crow", "complete", kind="marks", visible=("long tail",), sha256=f"sha {name}"),
    ]
    assert for_training(smuggled, domain()) == Corrections()
    # It is not that these verdicts are idle: on train images each of them does something.
    moved = domain(None, **{name: "train"})
    assert for_training(smuggled[:1], moved).selected == {name: {"long tail": True}}
    assert for_training(smuggled[1:2], moved).out == {name}
    assert for_training(smuggled[2:3], moved).reworded == {"Crow": {"long tail": ""}}
    assert for_training(smuggled[4:5], moved).selected == {name: {"long tail": True, "black bill": False}}


def test_a_train_verdict_takes_nothing_from_one_on_a_test_image() -> None:
    undone = say("seen", "right", "long tail")
    given = [undone, new_verdict("Ada", "undo", "undo", of=undone.id), say("crow", "wrong", "long tail")]
    assert for_training(given, domain()).selected == {"crow": {"long tail": False}}


def test_verdicts_on_other_images_measure() -> None:
    given = [
        say("seen", "right", "long tail"),
        say("seen", "wrong", "red crest"),
        say("seen", "hidden", "black bill"),
        say("seen", "right", "no phrase of the bank"),
        say("crow", "right", "long tail"),
        say("seen", "struck", "long tail", kind="bank"),
    ]
    assert for_measuring(given, domain()).truth == {
        "seen": Truth("seen", ("long tail",), ("black bill",), {}, ("red crest",), complete=False)
    }
    assert for_measuring(given[-2:], domain()).truth is None
    own = {"seen": Truth("seen", ("black bill",), (), {})}
    assert for_measuring(given, domain(own)).truth == own


def test_marks_by_the_whole_bank_are_complete_until_the_bank_has_grown_or_somebody_disagrees() -> None:
    marks = say("seen", "complete", kind="marks", visible=("long tail",), absent=("black bill", "red crest"))
    truth = Truth("seen", ("long tail",), (), {}, ("black bill", "red crest"), complete=True)
    assert for_measuring([marks], domain()).truth == {"seen": truth}
    ben = say("seen", "right", "red crest", who="Ben")
    disputed = replace(truth, absent=("black bill",), complete=False)
    assert for_measuring([marks, ben], domain()).truth == {"seen": disputed}
    grown = replace(domain(), concepts=ConceptBank({**BANK.concepts, "Finch": ("red crest", "short bill")}))
    assert for_measuring([marks], grown).truth == {"seen": replace(truth, complete=False)}


def test_more_than_half_decide_and_others_are_a_conflict() -> None:
    people = [say("crow", v, "long tail", who=w) for w, v in (("Ada", "right"), ("Ben", "wrong"), ("Cyd", "right"))]
    opinions = Opinions.read(people)
    assert opinions.people == ("Ada", "Ben", "Cyd")
    assert opinions.conflicts == {("concept", "crow", "long tail"): {"Ada": "right", "Ben": "wrong", "Cyd": "right"}}
    assert for_training(people, domain()).selected == {"crow": {"long tail": True}}
    assert for_training(people[:2], domain()) == Corrections()
    hidden = say("crow", "hidden", "long tail", who="Ada")
    assert for_training([people[1], hidden], domain()).selected == {"crow": {"long tail": False}}


def test_a_persons_last_word_counts() -> None:
    given = [say("crow", "right", "long tail"), say("crow", "wrong", "long tail")]
    assert for_training(given, domain()).selected == {"crow": {"long tail": False}}
    undo = new_verdict("Ada", "undo", "undo", of=given[1].id)
    assert for_training([*given, undo], domain()).selected == {"crow": {"long tail": True}}


def test_verdicts_on_other_data_are_counted() -> None:
    given = [say("crow", "right", "long tail"), say("gone", "right", "x"), say("seen", "right", "x", sha256="other")]
    assert strangers(given, domain().examples) == (1, 1)
