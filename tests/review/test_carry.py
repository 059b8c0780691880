"""Verdicts that count for other images: what they change there, and what they leave as it was."""

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from made_up_review import run_to_review
from seewhy.config import SelectConfig
from seewhy.domain.corrections import Corrections, for_training
from seewhy.domain.verdicts import Verdict, append, new_verdict
from seewhy.method.carry import carried, score_levels
from seewhy.pages.review import answer
from seewhy.pages.reviewing import Reviewing
from seewhy.records import Selection
from seewhy.run import correcting
from seewhy.run.finished import FinishedRun

SAID = SelectConfig(rule="said", said_share=0.5, minimum=0)
IMAGES = [f"i{n:03}" for n in range(200)]
LABELS = dict.fromkeys(IMAGES, "Crow")


def drawn(config: SelectConfig = SAID, seed: int = 0) -> list[Selection]:
    """Selections of three concepts with scores drawn evenly from 0 to 1."""
    draw = random.Random(seed)
    return [
        Selection(name, concept, score := draw.random(), score >= config.said_share)
        for name in IMAGES
        for concept in ("always", "never", "score")
    ]


def expert(selections: list[Selection], per_concept: int, seed: int = 1) -> dict[str, dict[str, bool]]:
    """Say of some images of each concept whether it is there: always, never, or where the score is high."""
    judged: dict[str, dict[str, bool]] = {}
    for concept in ("always", "never", "score"):
        rows = [s for s in selections if s.concept == concept]
        for row in random.Random(seed).sample(rows, per_concept):
            shown = {"always": True, "never": False, "score": row.score >= 0.5}[concept]
            judged.setdefault(row.example_id, {})[concept] = shown
    return judged


def chosen(selections: list[Selection], concept: str) -> float:
    return sum(s.selected for s in selections if s.concept == concept) / len(IMAGES)


def test_a_few_verdicts_move_the_concepts_they_are_about() -> None:
    selections = drawn()
    levels = score_levels(selections, LABELS, expert(selections, 12), SAID)
    after = carried(selections, LABELS, levels, SAID)
    assert chosen(after, "always") > 0.75 > 0.6 > chosen(selections, "always")
    assert chosen(after, "never") < 0.1 < 0.4 < chosen(selections, "never")
    right = sum(s.selected == (s.score >= 0.5) for s in after if s.concept == "score")
    assert right > 0.8 * len(IMAGES)
    assert (levels["Crow", "always"].right, levels["Crow", "always"].judged) == (12, 12)


def test_what_nobody_judged_stays_and_so_do_pairs_without_a_score() -> None:
    selections = [*drawn(), Selection("j", "always", math.nan, selected=False)]
    labels = {**LABELS, "j": "Crow"}
    judged = {name: {"always": of["always"]} for name, of in expert(selections, 8).items() if "always" in of}
    after = carried(selections, labels, score_levels(selections, labels, judged, SAID), SAID)
    pairs = zip(selections[:-1], after[:-1], strict=True)
    assert all(new == old for old, new in pairs if old.concept != "always")
    assert not after[-1].selected
    assert score_levels(selections, labels, {}, SAID) == {}
    assert carried(selections[:-1], labels, {}, SAID) == selections[:-1]
    assert score_levels(selections[:1], labels, judged, SAID) == {}


def test_an_image_keeps_the_minimum_it_had() -> None:
    config = SelectConfig(rule="said", said_share=0.5, minimum=1)
    selections = [s for s in drawn(config) if s.concept == "never" and s.selected]
    spread = [Selection("low", "never", 0.0, selected=False), *selections]
    labels = {**LABELS, "low": "Crow"}
    judged = {s.example_id: {"never": False} for s in selections[:8]}
    after = carried(spread, labels, score_levels(spread, labels, judged, config), config)
    assert [s.selected for s in after] == [s.selected for s in spread]


@pytest.mark.parametrize("rule", ["image", "unlisted", "said"])
def test_every_rule_has_levels_in_its_own_unit(rule: Any) -> None:
    config, draw = SelectConfig(rule=rule, minimum=0), random.Random(0)
    selections = [Selection(name, c, draw.gauss(0, 3), False) for name in IMAGES for c in "abcd"]  # noqa: FBT003
    judged = {name: {"a": True} for name in IMAGES[:12]}
    after = carried(selections, LABELS, score_levels(selections, LABELS, judged, config), config)
    assert chosen(after, "a") > 0.75
    assert all(chosen(after, c) == 0 for c in "bcd")


def verdict(run: FinishedRun, name: str, value: str, concept: str) -> Verdict:
    sha = {e.id: e.sha256 for e in run.domain.examples}[name]
    return new_verdict("Ada", "concept", value, image=name, sha256=sha, concept=concept)


def given(run: FinishedRun, concept: str, value: str, count: int) -> list[Verdict]:
    names = [e.id for e in run.domain.split("train") if concept in run.bank[e.label]]
    return [verdict(run, name, value, concept) for name in names[:count]]


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return FinishedRun.open(run_to_review(tmp_path, train=40))


def test_it_counts_only_where_most_want_it(run: FinishedRun) -> None:
    said = given(run, "red crest", "right", 10)
    assert not for_training(said, run.domain).carry
    on = new_verdict("Ada", "carry", "on")
    wanted = for_training([*said, on], run.domain)
    assert wanted.carry
    assert Corrections.of_records(wanted.records()) == wanted
    assert not for_training([*said, on, new_verdict("Ben", "carry", "off")], run.domain).carry
    assert not for_training([on], run.domain)
    assert for_training([*said, on, new_verdict("Ada", "undo", "undo", of=on.id)], run.domain) == for_training(
        said, run.domain
    )


def test_verdicts_on_test_images_are_carried_nowhere(run: FinishedRun) -> None:
    name = next(e.id for e in run.domain.split("test") if e.label == "Finch")
    said = [verdict(run, name, "right", "red crest"), new_verdict("Ada", "carry", "on")]
    assert for_training(said, run.domain) == Corrections()


def test_what_it_changes_is_named_before_and_is_what_the_run_then_selects(run: FinishedRun) -> None:
    said = [*given(run, "red crest", "right", 12), new_verdict("Ada", "carry", "on")]
    now = for_training(said, run.domain)
    anew = correcting.remade(run.config, run.domain.examples, None, now, run.path)
    before = run.selections()
    after = correcting.corrected(before, now, run.labels, run.config.select)
    changed = {old.example_id for old, new in zip(before, after, strict=True) if old != new}
    assert anew
    assert set(anew.images) == changed | now.selected.keys()
    assert len(changed - now.selected.keys()) > 3
    assert {run.labels[name] for name in changed} == {"Finch"}
    assert {s.concept for s, new in zip(before, after, strict=True) if s != new} == {"red crest"}


def ask(reviewing: Reviewing, do: str, value: str = "", **more: Any) -> Mapping[str, Any]:
    return answer(reviewing, json.dumps({"who": "Ada", "do": do, "value": value, "part": "summary", **more}))


def test_the_page_shows_it_and_a_person_decides(run: FinishedRun) -> None:
    for said in given(run, "red crest", "right", 12):
        append(run.verdicts_file, said)
    reviewing = Reviewing(run, run.verdicts_file)
    before = ask(reviewing, "show")
    assert "12 of 12" in before["html"]
    assert "Now they count for the images judged alone" in before["html"]
    on = ask(reviewing, "carry", "on")
    assert "Now they count for other images too" in on["html"]
    assert on["part"] == "summary"
    assert reviewing.corrections(reviewing.verdicts()).carry
    assert "conflict" not in on["html"].lower()
    assert ask(reviewing, "carry", "off", who="Ben")["html"].count("count for") >= 3
    assert not reviewing.corrections(reviewing.verdicts()).carry
    back = ask(reviewing, "undo", who="Ben")
    assert "Taken back" in back["said"]
    assert back["part"] == "summary"
    assert reviewing.corrections(reviewing.verdicts()).carry
    assert ask(reviewing, "carry", "perhaps")["problem"]
