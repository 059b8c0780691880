"""The review page without a browser: what each request does and shows, and what it refuses."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures_data import tiny_encoder
from made_up_review import BANK, EVIL, run_to_review
from seewhy.domain.corrections import Opinions
from seewhy.domain.loaders.truth import load_truth
from seewhy.domain.verdicts import read_verdicts, standing
from seewhy.errors import SeeWhyError
from seewhy.pages.review import answer
from seewhy.pages.reviewing import Reviewing
from seewhy.pages.reviewing import _by_image as by_image
from seewhy.proof.review import Pair, review_order
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder


@pytest.fixture
def reviewing(tmp_path: Path) -> Reviewing:
    return opened(run_to_review(tmp_path))


def opened(run: Path) -> Reviewing:
    found = FinishedRun.open(run)
    return Reviewing(found, found.verdicts_file)


def ask(reviewing: Reviewing, do: str, value: str = "", who: str = "Ada", **more: Any) -> dict[str, Any]:
    return answer(reviewing, json.dumps({"who": who, "do": do, "value": value, "part": "train", **more}))


def test_three_verdicts_lead_to_the_next_image(reviewing: Reviewing) -> None:
    first = reviewing.order.images[0]
    shown = ask(reviewing, "show")
    assert shown["image"] == first
    for number, concept in enumerate(reviewing.order.asked[first], 1):
        shown = ask(reviewing, "right", concept, image=first)
        assert shown["count"] == number
    assert shown["image"] == reviewing.order.images[1]
    given = read_verdicts(reviewing.path)
    assert [v.concept for v in given] == list(reviewing.order.asked[first])
    selection = given[0].selection
    assert selection
    assert selection["digest"] == reviewing.run.manifest["stages"]["select"]["fingerprint"]
    assert selection["drawn"] == "in doubt"
    assert reviewing.path == Path(reviewing.run.config.data.concepts or "").with_name("verdicts.jsonl")
    assert ask(opened(reviewing.run.path), "show")["image"] == reviewing.order.images[1]
    assert ask(reviewing, "show", who="Ben")["image"] == first


def test_undo_leads_back(reviewing: Reviewing) -> None:
    first = reviewing.order.images[0]
    for concept in reviewing.order.asked[first]:
        ask(reviewing, "wrong", concept, image=first)
    shown = ask(reviewing, "undo", image=reviewing.order.images[1])
    assert shown["image"] == first
    assert shown["count"] == 2
    assert shown["said"].startswith("Taken back: ")
    assert len(standing(read_verdicts(reviewing.path))) == 2
    assert "nothing to take back" in ask(reviewing, "undo", who="Ben")["said"]


def test_all_that_comes_from_data_is_escaped(reviewing: Reviewing) -> None:
    for name in reviewing.order.images:
        html = ask(reviewing, "edit", EVIL, image=name)["html"]
        assert "<img src=x" not in html
        assert "<b>and</b>" not in html
    said = ask(
        reviewing, "reworded", "black wings", image="train/Krähe/0", wording="bill < 3 & 'dark'", who="<i>Ben</i>"
    )
    assert not said["problem"], said["said"]
    html = ask(reviewing, "edit", "black wings", image="train/Krähe/0")["html"]
    assert "bill < 3" not in html
    assert "<i>" not in html
    assert "bill &lt; 3 &amp;" in html
    assert "<i>" not in ask(reviewing, "go", "summary")["html"]


def test_the_label_and_the_bank(reviewing: Reviewing) -> None:
    name = "train/Krähe/0"
    assert "label of train/Krähe/0 is wrong" in ask(reviewing, "label", "wrong", image=name)["said"]
    assert "is right" in ask(reviewing, "label", "wrong", image=name)["said"]  # the key again takes it back
    change = ask(reviewing, "edit", "black wings", image=name)["html"]
    assert "of 12 train images of Krähe" in change
    assert "the 96 answers of round 1" in change
    ask(reviewing, "struck", "gelber Schnäbel", image=name)
    corrections = reviewing.corrections(reviewing.verdicts())
    assert corrections.bank(reviewing.run.bank)["Krähe"] == ("black wings", EVIL)
    assert corrections.bank(reviewing.run.bank)["Finch"] == tuple(BANK["Finch"])
    for concept in ("black wings", EVIL):
        last = ask(reviewing, "struck", concept, image=name)
    assert last["problem"]
    assert "strike every concept" in last["said"]


def test_test_images_are_marked_by_the_whole_bank(reviewing: Reviewing) -> None:
    shown = ask(reviewing, "go", "test")
    name = shown["image"]
    assert shown["html"].count("data-phrase=") == len(reviewing.run.bank.all_concepts) == 5
    after = ask(reviewing, "marks", part="test", image=name, visible=["red crest"], hidden=["black wings"])
    assert after["image"] == reviewing.measured[1]
    path = reviewing.path.with_name("marks.jsonl")
    examples = FinishedRun.open(reviewing.run.path).domain.examples
    truth = load_truth(path, examples, phrases=reviewing.run.bank.all_concepts)
    assert truth.keys() == {name}
    assert (truth[name].visible, truth[name].hidden, truth[name].complete) == (("red crest",), ("black wings",), True)
    assert FinishedRun.open(reviewing.run.path).domain.truth == truth
    assert not reviewing.corrections(reviewing.verdicts())
    ask(reviewing, "undo", part="test")
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("[]", "no request of the page"),
        ("{", "no request of the page"),
        ({"do": "right", "value": "nothing", "who": "Ada", "image": "train/Finch/0"}, "is no concept of the class"),
        ({"do": "right", "value": "red crest", "who": " ", "image": "train/Finch/0"}, "A reviewer needs a name"),
        (
            {"do": "struck", "value": "red crest", "who": "Ada", "part": "test", "image": "test/Finch/0"},
            "is trained on",
        ),
        ({"do": "marks", "who": "Ada", "part": "train", "image": "train/Finch/0"}, "Train images are not marked"),
        ({"do": "marks", "who": "Ada", "part": "test", "visible": ["x"]}, "'x' is no phrase of the bank"),
        ({"do": "reworded", "value": "red crest", "who": "Ada", "image": "train/Finch/0"}, "'wording' is not given"),
    ],
)
def test_what_a_browser_may_not_ask(reviewing: Reviewing, request_: Any, says: str) -> None:
    shown = answer(reviewing, request_ if isinstance(request_, str) else json.dumps({"part": "train", **request_}))
    assert shown["problem"]
    assert says in shown["said"]
    assert read_verdicts(reviewing.path) == []


def test_a_run_that_is_being_written_is_only_shown(reviewing: Reviewing) -> None:
    hold = f"""
import sys
from seewhy.run.folder import RunFolder
with RunFolder({str(reviewing.run.path)!r}, seed=0, shard_size=5).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdin
    assert holder.stdout.readline() == "held\n"
    assert "only shows" in ask(reviewing, "show")["html"]
    first = reviewing.order.images[0]
    refused = ask(reviewing, "right", reviewing.order.asked[first][0], image=first)
    assert "being written" in refused["said"]
    holder.stdin.close()
    holder.wait(30)
    assert ask(reviewing, "right", reviewing.order.asked[first][0], image=first)["count"] == 1
    with RunFolder(reviewing.run.path, seed=0, shard_size=5).lock():
        pass  # the page has not kept the lock


def test_a_run_without_selections_cannot_be_reviewed(tmp_path: Path) -> None:
    run = run_to_review(tmp_path, selects=False)
    with pytest.raises(SeeWhyError, match="no finished stage 'select'"):
        opened(run)


def test_damaged_and_foreign_verdicts(reviewing: Reviewing) -> None:
    first = reviewing.order.images[0]
    ask(reviewing, "right", reviewing.order.asked[first][0], image=first)
    whole = reviewing.path.read_text()
    reviewing.path.write_text(whole + whole[:50])  # torn: the page goes on
    assert ask(reviewing, "show")["count"] == 1
    foreign = whole.replace(f'"image": "{first}"', '"image": "train/Raven/0"').replace('"id": "', '"id": "0')
    reviewing.path.write_text(whole + foreign)
    assert ask(reviewing, "show")["count"] == 1
    reviewing.path.write_text("{}\n" + whole)
    with pytest.raises(SeeWhyError, match="row 1: 'kind' is not given"):
        opened(reviewing.run.path)
    assert "row 1" in ask(reviewing, "show")["said"]


def test_the_other_rules_are_scored_anew_when_asked_for(tmp_path: Path) -> None:
    run = run_to_review(tmp_path, train=30, encoder=str(tiny_encoder(tmp_path / "encoder")))
    reviewing = opened(run)
    for name in reviewing.order.images[:24]:
        for concept in reviewing.order.asked[name]:
            reviewing.judge("Ada", name, concept, "right" if concept == "black wings" else "wrong")
    assert "Score the other rules too" in ask(reviewing, "go", "summary")["html"]
    shown = ask(reviewing, "rules", part="summary")
    assert not shown["problem"], shown["said"]
    judged = {key: v == "right" for key, v in Opinions.read(reviewing.verdicts()).settled.items()
              if key[1] in reviewing.order.by_chance}  # fmt: skip
    for rule in ("image", "unlisted"):
        rows = {("concept", s.example_id, s.concept): s.selected for s in reviewing.selected_by_other_rules[rule]}
        agrees = sum(rows[key] == right for key, right in judged.items())
        assert f"agrees with {agrees} of {len(judged)} verdicts" in shown["html"].split(f"Rule “{rule}”")[1][:90]
    assert "said" not in reviewing.selected_by_other_rules


def test_too_many_descriptions_are_not_scored_while_somebody_waits(
    reviewing: Reviewing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seewhy.pages.rules.MOST_TEXTS", 10)
    assert "48 descriptions are too many" in ask(reviewing, "rules", part="summary")["said"]
    assert not reviewing.rules_are_scored


def test_twenty_thousand_images_open_and_paint_in_time(tmp_path: Path) -> None:
    reviewing = opened(run_to_review(tmp_path, train=6))
    names = [f"train/Krähe/{n}" for n in range(6)]
    draw = random.Random(0)
    many = {f"{name}-{n}": reviewing.rows[name] for n in range(3334) for name in names}
    reviewing.rows = {**reviewing.rows, **many}
    reviewing.pairs = [Pair(name, "Krähe", c, s := draw.random(), s > 0.3, abs(s - 0.3)) for name in many
                       for c in BANK["Krähe"]]  # fmt: skip
    begun = time.process_time()
    reviewing.order = review_order(reviewing.pairs)
    reviewing.of_image = by_image(reviewing.pairs)
    opening = time.process_time() - begun
    begun = time.process_time()
    shown = ask(reviewing, "show")
    assert time.process_time() - begun < 2
    assert "Image 1 of 20004" in shown["html"]
    assert shown["html"].count("<img src") == 1
    begun = time.process_time()
    assert ask(reviewing, "next", image=shown["image"])["image"] == reviewing.order.images[1]
    assert time.process_time() - begun < 2
    assert opening < 20


def test_verdicts_of_another_version_of_the_bank_change_nothing_they_do_not_know(reviewing: Reviewing) -> None:
    name = reviewing.order.images[0]
    concept = reviewing.order.asked[name][0]
    ask(reviewing, "right", concept, image=name)
    text = reviewing.path.read_text()
    line = json.loads(text)
    old = {**line, "id": "old", "concept": "a phrase of another bank", "selection": {"digest": "of another selection"}}
    struck = {**line, "id": "struck", "kind": "bank", "verdict": "struck", "concept": "gone", "label": "no such class"}
    reviewing.path.write_text(text + json.dumps(old) + "\n" + json.dumps(struck) + "\n")
    corrections = reviewing.corrections(reviewing.verdicts())
    assert corrections.selected == {name: {concept: True}}
    assert corrections.reworded == {}
    assert not ask(reviewing, "go", "summary")["problem"]
    assert ask(reviewing, "show")["html"]


def test_two_tabs_of_one_person_double_nothing(reviewing: Reviewing) -> None:
    name = reviewing.order.images[0]
    concept = reviewing.order.asked[name][0]
    first, second = (ask(reviewing, "wrong", concept, image=name) for _ in range(2))
    assert first["count"] == second["count"] == 1
    assert second["said"].startswith("Already said")
    ask(reviewing, "right", concept, image=name)  # the other tab, later: the last word counts
    assert ask(reviewing, "show")["count"] == 1
    assert reviewing.corrections(reviewing.verdicts()).selected == {name: {concept: True}}


def test_a_photo_that_cannot_be_opened_is_told_and_the_page_goes_on(reviewing: Reviewing) -> None:
    name = reviewing.order.images[0]
    (reviewing.run.image_folder / reviewing.rows[name].image).write_bytes(b"no image")
    shown = ask(reviewing, "show", image=name)
    assert "not an image that Pillow can read" in shown["html"]
    assert ask(reviewing, "next", image=name)["image"] == reviewing.order.images[1]


def test_what_fifty_verdicts_show(tmp_path: Path) -> None:
    reviewing = opened(run_to_review(tmp_path, train=30))
    assert "From 50 on" in ask(reviewing, "go", "summary")["html"]
    pairs = {(p.image, p.concept): p for p in reviewing.pairs}
    judged = [(name, c) for name in reviewing.order.images for c in reviewing.order.asked[name]]
    for name, concept in judged:
        said = "right" if pairs[name, concept].score > 0.7 else "wrong"
        reviewing.judge("Ada", name, concept, said)
        reviewing.judge("Ben", name, concept, said if concept != EVIL else "hidden")
    html = ask(reviewing, "go", "summary")["html"]
    assert "in images drawn by chance" in html
    assert "instead of 0.3 would agree" in html
    assert "kappa" in html
    assert "Conflicts" in html
    assert "Made anew: the selection of" in html
