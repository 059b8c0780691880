"""The order of review, and what verdicts show: pure functions of selections and verdicts."""

import math
import random
import time

import pytest

from seewhy.config import SelectConfig
from seewhy.domain.corrections import Opinions
from seewhy.domain.verdicts import new_verdict
from seewhy.proof import review
from seewhy.proof.review import Pair, agreements, better_threshold, pairs_of, review_order, what_they_show
from seewhy.records import Selection

SAID = SelectConfig(rule="said", said_share=0.3)


def rows(name: str, *scores: float, selected: str = "") -> list[Selection]:
    """Selections of concepts a, b, c, ...; those in `selected` are."""
    return [Selection(name, c, s, c in selected) for c, s in zip("abcdefgh", scores, strict=False)]


@pytest.mark.parametrize(
    ("config", "scores", "selected", "reach"),
    [
        (SAID, (0.9, 0.2, 0.4), "ab", (0.6, -0.1, -0.1)),  # b is only there to reach the minimum
        (SelectConfig(rule="unlisted", unlisted_std=2.5), (3.0, 2.0), "a", (0.5, 0.5)),
        (SelectConfig(rule="unlisted"), (math.nan, 2.0), "a", (-math.inf, 0.5)),
        (SelectConfig(rule="image", threshold_std=0.4), (1.0, 2.0, 3.0), "c", (1.4, 0.4, 0.6)),
        (SelectConfig(rule="image", threshold_std=0.4), (math.nan, math.nan), "", (-math.inf, -math.inf)),
    ],
)
def test_reach_is_how_far_a_score_is_on_its_side(
    config: SelectConfig, scores: tuple[float, ...], selected: str, reach: tuple[float, ...]
) -> None:
    pairs = pairs_of(rows("i", *scores, selected=selected), {"i": "Crow"}, config, {})
    assert [pair.reach for pair in pairs] == pytest.approx(list(reach))


@pytest.mark.parametrize("farthest", [400, 10])
def test_the_most_doubtful_come_first_and_every_fourth_image_is_drawn(
    farthest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "FARTHEST", farthest)
    selections = [row for n in range(40) for row in rows(f"i{n:02}", 0.31 + n / 100, 0.9, selected="ab")]
    order = review_order(pairs_of(selections, {f"i{n:02}": "Crow" for n in range(40)}, SAID, {}))
    by_doubt = [name for name in order.images if name not in order.by_chance]
    assert by_doubt == sorted(by_doubt)
    assert len(order.images) == len(set(order.images)) == 40
    assert set(order.images[3::4]) == order.by_chance
    assert order.images[0] == "i00"
    assert all(order.asked[name] == ("a", "b") for name in by_doubt)
    assert order == review_order(pairs_of(selections, {f"i{n:02}": "Crow" for n in range(40)}, SAID, {}))
    assert review_order([]).images == ()


def test_a_concept_that_has_been_asked_about_gives_way_to_others() -> None:
    names = {f"{label}{n:02}": label for label in ("Crow", "Finch") for n in range(20)}
    selections = [row for name in names for row in rows(name, 0.31 if "Crow" in name else 0.34, 0.9, selected="ab")]
    order = review_order(pairs_of(selections, names, SAID, {}))
    first = [names[name] for name in order.images[:8] if name not in order.by_chance]
    assert first[0] == "Crow"
    assert 2 <= first.count("Finch") <= 4


def test_many_images_are_ordered_in_time_and_each_comes_once() -> None:
    draw = random.Random(0)
    pairs = [Pair(f"i{n:05}", f"c{n % 50}", c, s := draw.random(), s > 0.5, abs(s - 0.5)) for n in range(5000)
             for c in "abcdef"]  # fmt: skip
    begun = time.process_time()
    order = review_order(pairs)
    assert time.process_time() - begun < 10
    assert sorted(order.images) == sorted({p.image for p in pairs})
    assert len(order.by_chance) == 5000 // review.BY_CHANCE


def test_where_model_and_selection_disagree_there_is_more_doubt() -> None:
    selections = [row for n in range(9) for row in rows(f"i{n}", 0.9, 0.0, selected="a")]
    stated = {"i0": {"a": 1.0}, "i1": {"a": 0.0, "b": 1.0}, "i2": {"a": 0.5}}
    order = review_order(pairs_of(selections, {f"i{n}": "Crow" for n in range(9)}, SAID, stated))
    assert order.images[:2] == ("i1", "i2")
    assert order.doubt["i1", "a"] == order.doubt["i0", "a"] + 1


def judge(pairs: list[Pair], wrong: set[tuple[str, str]], who: str = "Ada", hidden: str = "") -> Opinions:
    """The opinions of one to whom all selected pairs but `wrong` are right, and concept `hidden` cannot be seen."""

    def value(pair: Pair) -> str:
        shown = pair.selected != ((pair.image, pair.concept) in wrong)
        return "hidden" if pair.concept in hidden else "right" if shown else "wrong"

    about = [new_verdict(who, "concept", value(p), image=p.image, sha256="5", concept=p.concept) for p in pairs]
    return Opinions.read(about)


def test_precision_is_that_of_the_images_drawn_by_chance() -> None:
    names = {f"i{n:02}": "Crow" for n in range(40)}
    selections = [row for name in names for row in rows(name, 0.9, 0.0, selected="a")]
    pairs = pairs_of(selections, names, SAID, {})
    order = review_order(pairs)
    wrong = {(name, "a") for name in order.images if name not in order.by_chance}
    shown = what_they_show(pairs, judge(pairs, wrong, hidden=""), order, SAID)
    assert shown.verdicts == 80
    assert shown.precision
    assert (shown.precision.value, shown.precision.n) == (1.0, 10)
    assert shown.precision.interval
    assert shown.precision.interval[0] < 0.75
    assert shown.precision_in_doubt
    assert shown.precision_in_doubt.value == 0.0
    assert shown.missed
    assert shown.missed.value == 0.0


def test_a_better_threshold_is_found_and_chance_is_not_taken_for_one() -> None:
    draw = random.Random(0)
    scores = {f"i{n:03}": draw.random() for n in range(120)}
    pairs = pairs_of([r for n, s in scores.items() for r in rows(n, s)], dict.fromkeys(scores, "Crow"), SAID, {})
    better = better_threshold(pairs, {(n, "a"): s > 0.6 for n, s in scores.items()}, SAID)
    assert better
    assert better.threshold == pytest.approx(0.6, abs=0.02)
    assert better.agrees == 120 > better.now
    assert better.chance < 1e-6
    assert better_threshold(pairs, {(n, "a"): s > 0.3 for n, s in scores.items()}, SAID) is None
    chance = sum(
        better_threshold(pairs, {(n, "a"): draw.random() < 0.5 for n in scores}, SAID) is not None for _ in range(40)
    )
    assert chance <= 5
    assert better_threshold(pairs, {}, SAID) is None


def test_concepts_that_people_keep_correcting_are_named() -> None:
    names = {f"i{n}": "Crow" for n in range(4)}
    pairs = pairs_of([r for n in names for r in rows(n, 0.9, 0.9, 0.9, selected="abc")], names, SAID, {})
    order = review_order(pairs)
    opinions = judge(pairs, {(f"i{n}", "a") for n in range(3)} | {("i0", "b")}, hidden="c")
    shown = what_they_show(pairs, opinions, order, SAID)
    assert [(r.concept, r.judged, r.wrong, r.hidden) for r in shown.reword] == [("c", 4, 4, 4), ("a", 4, 3, 0)]
    assert review.counted(opinions) == {"right": 4, "wrong": 4, "hidden": 4}


def test_a_better_threshold_is_that_of_the_images_drawn_by_chance() -> None:
    draw = random.Random(0)
    scores = {f"i{n:03}": draw.random() for n in range(120)}
    pairs = pairs_of([r for n, s in scores.items() for r in rows(n, s)], dict.fromkeys(scores, "Crow"), SAID, {})
    order = review_order(pairs)
    there = {(n, "a") for n, s in scores.items() if s > 0.6}
    said = [p for p in pairs if p.image not in order.by_chance or not 0.3 < p.score <= 0.6]
    right = {(p.image, p.concept): (p.image, p.concept) in there for p in said}
    assert better_threshold(pairs, right, SAID)
    assert what_they_show(pairs, judge(said, there), order, SAID).better is None


def test_agreement_is_counted_and_kappa_taken_over_what_both_have_judged() -> None:
    names = {f"i{n}": "Crow" for n in range(10)}
    pairs = pairs_of([r for n in names for r in rows(n, 0.9, 0.0, selected="a")], names, SAID, {})
    ada = judge(pairs, set(), "Ada").of
    ben = judge(pairs[:18], {("i0", "a"), ("i1", "b")}, "Ben").of
    both = Opinions({subject: {**ada[subject], **ben.get(subject, {})} for subject in ada})
    (found,) = agreements(both)
    assert (found.people, found.both, found.equal) == (("Ada", "Ben"), 18, 16)
    assert found.kappa == pytest.approx(7 / 9)
    assert agreements(Opinions(ada)) == []
