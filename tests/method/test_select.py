import math
from typing import Any

import numpy as np
import pytest

from method.fakes import ALL_CONCEPTS, BANK, WordEncoder, example
from seewhy.config import SelectConfig
from seewhy.errors import SeeWhyError
from seewhy.method.select import kept, moments_where_unlisted, select, select_said, selected_concepts, standardised
from seewhy.records import Description

RULE = {"temperature": 0.1, "threshold_std": 0.4, "minimum": 1, "rule": "image"}
ENCODER = WordEncoder()
EXAMPLES = [example("a"), example("b", "Heron"), example("c", "Fish Crow")]
SEEN = {"a": ["black bill", "a black bill"], "b": ["long legs", "white crown, long legs"], "c": ["short legs"]}


def run(seen=SEEN, examples=EXAMPLES, bank=BANK, **rule):
    descriptions = [Description(name, "?", n, text) for name, texts in seen.items() for n, text in enumerate(texts)]
    texts_DE = ENCODER.embed_texts([d.text for d in descriptions])
    concepts_CE = ENCODER.embed_concepts(ALL_CONCEPTS)
    return select(examples, descriptions, texts_DE, bank, ALL_CONCEPTS, concepts_CE, SelectConfig(**{**RULE, **rule}))


@pytest.mark.parametrize(
    ("scores", "threshold_std", "minimum", "expected"),
    [
        ([-1, -2, -3, -4], 0.4, 1, [1, 0, 0, 0]),  # mean -2.5, sample std 1.29: above -1.98
        ([-1, -1.5, -3, -4], 0.4, 1, [1, 1, 0, 0]),
        ([-1, -2.02, -3, -4], 0.4, 1, [1, 0, 0, 0]),  # the population's std would keep the second
        ([-1, -2, -3, -4], 0.4, 3, [1, 1, 1, 0]),
        ([-1, -2, -3, -4], -9, 1, [1, 1, 1, 1]),
        ([-4, -1], 0.4, 3, [1, 1]),
        ([-7], 0.4, 3, [1]),
        ([-7], 0.4, 1, [1]),
        ([-2, -2, -2, -2], 0.4, 2, [1, 1, 0, 0]),  # a tie ranks as the bank does
        ([-5, -2, -2, -2], 2.0, 2, [0, 1, 1, 0]),
        ([math.nan, math.nan], 0.4, 2, [0, 0]),
        ([-1, -2], 0.4, 0, [1, 0]),
        ([-2, -2], 0.4, 0, [0, 0]),
    ],
)
def test_the_papers_rule(scores, threshold_std, minimum, expected):
    np.testing.assert_array_equal(kept(np.array(scores, dtype=float), threshold_std, minimum), expected)


def test_the_minimum_is_among_the_best():
    score_C = np.array([-9.0, -1.0, -8.0, -7.0, -7.5])
    np.testing.assert_array_equal(kept(score_C, 0.4, 3), [0, 1, 0, 1, 1])


def test_an_image_keeps_what_its_descriptions_say():
    chosen = selected_concepts(run())
    assert chosen["a"] == ("black bill",)
    assert chosen["b"][:1] == ("long legs",)
    assert chosen["c"] == ("short legs",)


def test_one_record_for_each_concept_of_the_label():
    found = run()
    assert [(s.example_id, s.concept) for s in found] == [(e.id, c) for e in EXAMPLES for c in BANK[e.label]]
    assert all(type(s.score) is float and type(s.selected) is bool for s in found)


def test_order_of_examples_does_not_matter():
    by_id = {(s.example_id, s.concept): s for s in run()}
    for s in run(seen=dict(reversed(SEEN.items())), examples=EXAMPLES[::-1]):
        twin = by_id[s.example_id, s.concept]
        assert s.selected == twin.selected
        assert s.score == pytest.approx(twin.score, abs=1e-9)


def test_an_example_without_descriptions_has_nothing_selected():
    found = run(seen={"a": SEEN["a"], "c": SEEN["c"]}, minimum=3)
    of_b = [s for s in found if s.example_id == "b"]
    assert len(of_b) == 4
    assert all(math.isnan(s.score) and not s.selected for s in of_b)
    assert selected_concepts(found)["b"] == ()
    assert len(selected_concepts(found)["a"]) == 3


def test_no_descriptions_at_all():
    assert not any(s.selected for s in run(seen={}))


def test_selected_concepts_are_in_the_order_of_the_bank():
    found = run(minimum=4)
    of_b = [s.concept for s in found if s.example_id == "b"]
    chosen = selected_concepts(found)["b"]
    assert len(chosen) == 4
    assert list(chosen) == [concept for concept in of_b if concept in chosen]


def test_a_class_without_concepts_is_named():
    with pytest.raises(SeeWhyError, match="'Heron' has no concepts"):
        run(bank={**BANK, "Heron": ()})


def test_a_description_of_another_set_is_named():
    with pytest.raises(SeeWhyError, match="'x'"):
        run(seen={**SEEN, "x": ["black bill"]})


NAN = math.nan


@pytest.mark.parametrize(
    ("scores", "papers", "minimum", "expected"),
    [
        ([1.0, 0.9, 5.0], [0, 0, 0], 0, [0, 0, 1]),  # means 0, stds 1, 1, 2: z = 1.0, 0.9, 2.5
        ([2.0, 2.1, 4.0], [1, 0, 0], 0, [0, 1, 0]),  # on the threshold is not above it
        ([1.0, 0.9, 3.0], [1, 1, 1], 2, [1, 0, 1]),  # the best by z, 1.0 and 1.5, not by score
        ([NAN, NAN, NAN], [0, 0, 0], 2, [0, 0, 0]),
    ],
)
def test_our_rule(scores, papers, minimum, expected):
    moments = np.zeros(3), np.array([1.0, 1.0, 2.0])
    z_C, keep_C = standardised(np.array(scores), np.array(papers, dtype=bool), *moments, 2.0, minimum)
    np.testing.assert_array_equal(keep_C, expected)
    np.testing.assert_allclose(z_C, np.array(scores) / moments[1])


@pytest.mark.parametrize(("papers", "expected"), [([1, 0], [1, 1]), ([0, 1], [0, 1])])
def test_a_concept_that_every_class_lists_falls_under_the_papers_rule(papers, expected):
    mean_C, std_C = np.array([NAN, 0.0]), np.array([NAN, 1.0])
    _, keep_C = standardised(np.array([-1.0, 9.0]), np.array(papers, dtype=bool), mean_C, std_C, 2.0, 0)
    np.testing.assert_array_equal(keep_C, expected)


def test_moments_are_those_of_the_images_that_do_not_list_a_concept():
    scores = [np.array([1.0, 5.0, 7.0]), np.array([2.0, 6.0, 7.0]), np.array([4.0, 9.0, 7.0]), np.full(3, NAN)]
    listed = [np.array([1]), np.array([1]), np.array([0]), np.array([], dtype=int)]
    mean_C, std_C = moments_where_unlisted(scores, listed, 3)
    np.testing.assert_allclose(mean_C, [1.5, NAN, NAN])  # the second is unlisted once, the third never varies
    np.testing.assert_allclose(std_C, [float(np.std([1, 2], ddof=1)), NAN, NAN])


def test_an_image_weighs_as_much_as_it_has_descriptions():
    scores, listed = [np.array([1.0]), np.array([2.0]), np.array([9.0])], [np.array([], dtype=int)] * 3
    mean_C, std_C = moments_where_unlisted(scores, listed, 1, [6, 6, 1])
    mean = (6 * 1 + 6 * 2 + 9) / 13
    variance = (6 * (1 - mean) ** 2 + 6 * (2 - mean) ** 2 + (9 - mean) ** 2) / 13 * 3 / 2
    np.testing.assert_allclose([mean_C[0], std_C[0]], [mean, math.sqrt(variance)])
    for equal in (None, [6, 6, 6]):
        mean_C, std_C = moments_where_unlisted(scores, listed, 1, equal)
        np.testing.assert_allclose([mean_C[0], std_C[0]], [4.0, float(np.std([1, 2, 9], ddof=1))])


# --- descriptions that are lost ---------------------------------------------------------------------------------------

CLASSES, IMAGES, TEXTS = 8, 160, 6
LOSERS = range(0, IMAGES, 20)
"""One image in twenty."""


class Crowd:
    """Images of several classes, whose descriptions name some of what their class lists, among other words."""

    def __init__(self, *, copies: bool) -> None:
        random = np.random.default_rng(5)
        self.bank = {f"c{c}": [f"c{c} concept {k}" for k in range(6)] for c in range(CLASSES)}
        self.concepts = [concept for listed in self.bank.values() for concept in listed]
        concepts_CE = random.normal(size=(len(self.concepts), 64))
        self.concepts_CE = concepts_CE / np.linalg.norm(concepts_CE, axis=1, keepdims=True)
        self.examples = [example(f"i{i:03d}", f"c{i % CLASSES}") for i in range(IMAGES)]
        self.rows, self.owners = [], []
        for image in range(IMAGES):
            seen = image % CLASSES * 6 + random.permutation(6)[:3]
            for text in range(TEXTS):
                if not copies or text == 0:
                    said = seen[random.random(3) < (1.0 if copies else 0.7)]
                    vector_E = self.concepts_CE[said].sum(axis=0) + random.normal(scale=0.12, size=64)
                self.rows.append(vector_E / np.linalg.norm(vector_E))
                self.owners.append(image)

    def selected(self, left: dict[int, Any], rule: Any = "unlisted") -> dict[tuple[str, str], tuple[float, bool]]:
        """(image, concept) -> score and verdict, where `left` says how many descriptions an image still has."""
        kept_D = [d for d, owner in enumerate(self.owners) if d % TEXTS < left.get(owner, TEXTS)]
        descriptions = [Description(self.examples[self.owners[d]].id, "?", d % TEXTS, "") for d in kept_D]
        found = select(
            self.examples, descriptions, np.array(self.rows)[kept_D], self.bank, self.concepts, self.concepts_CE,
            SelectConfig(temperature=0.1, threshold_std=0.4, minimum=0, rule=rule, unlisted_std=2.5),
        )  # fmt: skip
        return {(s.example_id, s.concept): (s.score, s.selected) for s in found}


@pytest.mark.parametrize("left", [5, 4])
def test_descriptions_that_say_the_same_can_be_lost_without_a_trace(left):
    """Means stay as they are; the negatives' sum, and with it all scores, move a little."""
    crowd = Crowd(copies=True)
    before, after = crowd.selected({}), crowd.selected(dict.fromkeys(LOSERS, left))
    assert {verdict for _, verdict in before.values()} == {True, False}
    np.testing.assert_allclose([s for s, _ in after.values()], [s for s, _ in before.values()], atol=0.1, rtol=0.02)
    changed = [before[key][0] for key in before if before[key][1] != after[key][1]]
    assert all(abs(score - 2.5) < 0.05 for score in changed)
    assert len(changed) <= 2


@pytest.mark.parametrize("left", [5, 4, 1])
def test_within_an_image_a_sum_and_a_mean_give_the_same_verdict(left):
    crowd = Crowd(copies=True)
    before, after = crowd.selected({}, "image"), crowd.selected(dict.fromkeys(LOSERS, left), "image")
    assert np.mean([before[key][1] != after[key][1] for key in before]) <= 0.002


@pytest.mark.parametrize("left", [5, 4])
def test_lost_descriptions_change_their_own_image_alone_and_no_more_than_having_fewer(left):
    """The losers end as they would if all images had as few; all others end as if nothing had been lost."""
    crowd = Crowd(copies=False)
    losers = {crowd.examples[image].id for image in LOSERS}
    before, after = crowd.selected({}), crowd.selected(dict.fromkeys(LOSERS, left))
    all_fewer = crowd.selected(dict.fromkeys(range(IMAGES), left))
    others = [key for key in before if key[0] not in losers]
    theirs = [key for key in before if key[0] in losers]
    assert np.mean([before[key][1] != after[key][1] for key in others]) <= 0.005
    assert np.max([abs(before[key][0] - after[key][0]) for key in others]) < 0.15
    assert np.mean([all_fewer[key][1] != after[key][1] for key in theirs]) <= 0.03
    assert np.mean([before[key][1] != after[key][1] for key in theirs]) < 0.15


def test_a_single_description_left_does_not_widen_the_spread_for_all_others():
    crowd = Crowd(copies=False)
    before, after = crowd.selected({}), crowd.selected(dict.fromkeys(LOSERS, 1))
    losers = {crowd.examples[image].id for image in LOSERS}
    kept_before, kept_after = (
        sum(verdict for (name, _), (_, verdict) in found.items() if name not in losers) for found in (before, after)
    )
    assert kept_after == pytest.approx(kept_before, rel=0.01)


def test_our_rule_keeps_what_descriptions_say_and_other_classes_never_do():
    crowd = [example(f"b{n}", "Heron") for n in range(6)] + [example(f"a{n}") for n in range(2)]
    seen = {e.id: ["white crown, long legs"] for e in crowd if e.label == "Heron"}
    seen |= {"b0": ["white crown"], "a0": ["black bill, black wings"], "a1": ["black bill"]}
    chosen = selected_concepts(run(seen=seen, examples=crowd, rule="unlisted", minimum=0))
    assert "long legs" in chosen["b1"]
    assert "long legs" not in chosen["b0"]
    assert "black bill" in chosen["a1"]


def said(share: float, minimum: int, texts: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Select under rule "said", where a text says the concepts that stand in it."""
    descriptions = [Description(name, "?", n, text) for name, many in texts.items() for n, text in enumerate(many)]
    rows = {d.text: {row for row, concept in enumerate(ALL_CONCEPTS) if concept in d.text} for d in descriptions}
    config = SelectConfig(rule="said", said_share=share, minimum=minimum)
    return selected_concepts(select_said(EXAMPLES, descriptions, BANK, ALL_CONCEPTS, rows, config))


def test_rule_said_keeps_what_enough_descriptions_say():
    texts = {"a": ["black bill"] * 3 + ["nothing"] * 7, "b": ["long legs", "nothing", "nothing", "nothing"]}
    chosen = said(0.3, 0, texts)
    assert chosen["a"] == ("black bill",)  # 3 of 10 is a share of 0.3
    assert chosen["b"] == ()
    assert said(0.25, 0, texts)["b"] == ("long legs",)
    assert len(said(0.3, 2, texts)["b"]) == 2


def test_rule_said_keeps_nothing_without_descriptions():
    assert said(0.3, 3, {"a": ["black bill"]})["c"] == ()


def test_rule_said_counts_concepts_of_the_own_class_alone():
    assert said(0.3, 0, {"a": ["long legs"]})["a"] == ()
