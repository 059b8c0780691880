"""The audit, on hand-made records whose figures can be counted on the fingers."""

import math
import time
from dataclasses import replace
from itertools import combinations
from random import Random

import numpy as np
import pytest

from method.fakes import example
from seewhy.config import SelectConfig
from seewhy.domain.labels import LabelMatcher
from seewhy.errors import SeeWhyError
from seewhy.method.rejection import judge
from seewhy.method.select import select
from seewhy.proof.audit import (
    ConceptUse,
    audit_round,
    audit_run,
    concept_use,
    folded,
    kind_of_rejection,
    longest_repeat,
    near_duplicates,
)
from seewhy.records import Answer, Candidate, Description, QuestionKind, Selection
from seewhy.report.terminal import stand_ins

MATCHER = LabelMatcher(("Crow", "Fish Crow", "Heron"))
LABELS = {"c1": "Crow", "c2": "Crow", "c3": "Crow", "h1": "Heron", "h2": "Heron", "h3": "Heron"}


def answer(
    example_id: str, number: int, text: str, *, kind: QuestionKind = "explain", fallback: str = "", round: int = 1
) -> Answer:
    source, reason = ("label sentence", fallback) if fallback else ("synthesised", "names it")
    kind = "simple" if fallback else kind
    return Answer(f"{example_id}/{round}/{number}", example_id, round, kind, "?", text, source, math.nan, reason)


def query(example_id: str, name: str, *texts_and_scores: tuple[str, float]) -> list[Candidate]:
    """One query's candidates, judged by the method itself."""
    group = [
        Candidate(example_id, 2, "explain", name, sample, text, score, kept=False, reason="" if text else "empty")
        for sample, (text, score) in enumerate(texts_and_scores)
    ]
    return judge(group, LABELS[example_id], MATCHER)


def alike(texts: list[str]) -> list[bool]:
    return near_duplicates([folded(text) for text in texts])


def test_candidates_queries_margins_and_reasons_are_counted():
    candidates = [
        *query("c1", "a", ("A crow, black.", -1.0), ("A crow, dark.", -3.5), ("A heron.", -0.5)),  # margin 2.5
        *query("c1", "b", ("A crow.", -4.0), ("A crow.", -4.0), ("A bird.", -1.0)),  # won, nobody else ran
        *query("c2", "a", ("A heron.", -1.0), ("A crow or a heron.", -1.0), ("", math.nan)),  # lost
        *query("h1", "a", ("A heron.", -1.0), ("A heron, grey.", -1.5), ("A tall heron.", -9.0)),  # margin 0.5
    ]
    audit = audit_round(2, [], candidates, LABELS)
    whole, crow, heron = audit.whole, *audit.classes
    assert (whole.queries, whole.accepted_share, whole.candidates, whole.kept_share) == (4, 0.75, 12, 0.25)
    assert (crow.accepted_share, heron.accepted_share) == (2 / 3, 1.0)
    assert (crow.margin, heron.margin, whole.margin) == (2.5, 0.5, 1.5)
    assert list(whole.rejections.items()) == [
        ("scores no higher than the winner", 3),
        ("names another label", 2),
        ("empty", 1),
        ("names its label and another", 1),
        ("names no label", 1),
        ("same text as another sample", 1),
    ]
    assert (whole.answers, whole.fallback_share, whole.near_duplicate_share) == (0, None, None)
    assert (crow.images, whole.images) == (2, 3)


def test_a_class_starves_above_the_threshold_and_not_at_it():
    answers = [
        *(answer("c1", n, "This is a Crow.", fallback="names no label") for n in range(2)),
        answer("c2", 0, "A crow with black wings."),
        *(answer("h1", n, "This is a Heron.", fallback="names Crow, not Heron") for n in range(1)),
        answer("h2", 0, "A heron with grey wings."),
    ]
    audit = audit_round(1, answers, [], LABELS)
    assert audit.starving == ("Crow",)
    assert [c.fallback_share for c in audit.classes] == [2 / 3, 0.5]
    assert audit.whole.fallback_share == 0.6
    assert audit.whole.rejections == {"names no label": 2, "names another label": 1}
    assert (audit.whole.queries, audit.whole.accepted_share, audit.whole.margin) == (0, None, None)


def test_a_class_whose_answers_others_stand_in_for_is_told_from_one_that_starves():
    """Before: no answer about the crow could be used. After: one of three is a bare name."""
    said = "This is a Crow. It shows: black wings."
    answers = [
        answer("c1", 0, "This is a Crow.", fallback="names no label"),
        replace(answer("c1", 1, said, fallback="names no label"), kind="explain", source="listed"),
        replace(answer("c2", 0, said, fallback="names another"), kind="explain", source="rewritten"),
        answer("h1", 0, "A heron with grey wings."),
    ]
    audit = audit_round(1, answers, [], LABELS)
    assert (audit.unusable, audit.starving) == (("Crow",), ())
    assert [(c.stood_in_share, c.fallback_share) for c in audit.classes] == [(1.0, 1 / 3), (0.0, 0.0)]
    assert (audit.whole.stood_in_share, audit.whole.fallback_share) == (0.75, 0.25)
    assert [dict(c.stand_ins) for c in audit.classes] == [{"rewritten": 1, "listed": 1, "label sentence": 1}, {}]
    assert stand_ins(audit.whole) == (
        "for 3 of 4 answers: the tuned model's own, with the label told (1), name and concepts by template (1), "
        "the bare label sentence (1)"
    )
    assert audit.whole.reasoned == 3
    assert audit.whole.rejections == {"names no label": 2, "names another": 1}


def test_repetition_is_counted_over_reasoned_answers_within_a_class():
    same = "It has {} black wings, a long bill and a fan tail."
    answers = [
        answer("c1", 0, same.format(2)),
        answer("c2", 0, same.format(3).upper()),
        answer("c3", 0, "It has a red crest and a red crest, so it is red."),
        answer("c3", 1, "This is a Crow.", kind="simple"),
        answer("c2", 1, "This is a Crow.", fallback="empty"),
        answer("h1", 0, same.format(2)),  # another class: no copy
        answer("h1", 1, "A grey back, a long bill, a grey back, a long bill."),
        answer("h2", 0, "With a red crest and a red crest."),
    ]
    audit = audit_round(1, answers, [], LABELS)
    crow, heron = audit.classes
    assert (crow.reasoned, heron.reasoned, audit.whole.reasoned) == (3, 3, 6)
    assert (crow.near_duplicate_share, heron.near_duplicate_share) == (2 / 3, 0.0)
    assert audit.whole.near_duplicate_share == 2 / 6
    assert (crow.repeating_share, heron.repeating_share) == (1 / 3, 2 / 3)
    assert (heron.longest_repeat, heron.longest_repeat_words) == ("a grey back a long bill", 6)
    assert (audit.whole.longest_repeat, audit.whole.longest_repeat_words) == ("a grey back a long bill", 6)
    assert (audit.whole.commonest_repeat, audit.whole.commonest_repeat_answers) == ("a red crest", 2)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("a red crest and a red crest", "a red crest"),
        ("a red, a red, a red, a red", "a red a red"),
        ("red red red red red", ""),  # two words apart at most: its halves overlap
        ("red red red red red red", "red red red"),
        ("a red crest and a blue crest", ""),
        ("one two three four x one two three four y two three four z", "one two three four"),
        ("", ""),
    ],
)
def test_longest_repeat(text: str, phrase: str):
    assert " ".join(longest_repeat(folded(text))) == phrase


def test_near_duplicates_from_four_fifths_on():
    words = [f"w{chr(97 + n)}" for n in range(13)]  # 9 five-grams
    text = " ".join(words)
    assert alike([text, " ".join([*words, "more"])]) == [True, True]  # 9 of 10
    assert alike([text, " ".join([*words, "one", "more", "two"])]) == [False, False]  # 9 of 12
    at = [f"v{chr(97 + n)}" for n in range(12)]  # 8 of 10: exactly 4/5
    assert alike([" ".join(at), " ".join([*at, "one", "more"])]) == [True, True]
    assert alike(["Short one.", "short ONE", "short two", "3 eggs", "12 eggs!"]) == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_near_duplicates_are_those_of_all_pairs():
    random = Random(0)
    texts = [" ".join(random.choices("abcd", k=random.randint(3, 40))) for _ in range(40)]
    for text in texts[:25]:
        words = text.split()
        words[random.randrange(len(words))] = random.choice("abcde")
        texts.append(" ".join([*words, *random.choices("abcd", k=random.randint(0, 3))]))
    grams = [{tuple(t.split()[i : i + 5]) for i in range(max(1, len(t.split()) - 4))} for t in texts]
    expected = [False] * len(texts)
    for i, j in combinations(range(len(texts)), 2):
        if len(grams[i] & grams[j]) * 5 >= 4 * len(grams[i] | grams[j]):
            expected[i] = expected[j] = True
    assert 5 < sum(expected) < len(texts) - 5
    assert alike(texts) == expected


@pytest.mark.slow
def test_twenty_thousand_answers_are_audited_in_seconds():
    random = Random(0)
    parts = [f"a {c} {p}" for c in ("red", "blue", "grey", "white") for p in ("crown", "bill", "tail", "belly", "legs")]
    labels = {f"e{n}": f"Class {n % 20}" for n in range(5000)}
    answers = [
        answer(name, n, f"This is it, as it has {', '.join(random.choices(parts, k=random.randint(4, 12)))}.")
        for name in labels
        for n in range(4)
    ]
    start = time.process_time()
    assert audit_round(1, answers, [], labels).whole.reasoned == 20_000
    assert time.process_time() - start < 30


def test_concepts_never_and_always_selected():
    def selections(example_id: str, **taken: bool) -> list[Selection]:
        return [Selection(example_id, concept, -1.0, selected) for concept, selected in taken.items()]

    records = [
        *selections("c1", bill=True, wings=False, tail=True),
        *selections("c2", bill=True, wings=False, tail=False),
        *selections("c3", bill=True, wings=False, tail=True),
        *selections("h1", bill=False),  # two images are too few to say
        *selections("h2", bill=False),
        Selection("h3", "bill", math.nan, selected=False),  # nothing is known of this image
    ]
    audit = audit_run({}, {}, records, LABELS)
    assert audit.never == (ConceptUse("Crow", "wings", 3, 0),)
    assert audit.always == (ConceptUse("Crow", "bill", 3, 3),)
    assert audit.rounds == ()
    scored = [*records[:-1], replace(records[-1], score=-2.0)]
    assert ConceptUse("Heron", "bill", 3, 0) in audit_run({}, {}, scored, LABELS).never


def test_concepts_that_every_class_lists_are_counted():
    """Our rule has nothing to standardise them by, so they have no score; the paper's rule selects them or not."""
    texts = {"c1": ["crest"], "c2": ["crest"], "c3": ["crest"], "h1": ["wings"], "h2": ["wings"], "h3": []}
    bank = {"Crow": ("wings", "crest"), "Heron": ("wings", "legs")}
    concepts = ["wings", "crest", "legs"]
    examples = [example(name, label) for name, label in LABELS.items()]
    descriptions = [Description(name, "?", n, text) for name, said in texts.items() for n, text in enumerate(said)]
    embedded_CE = np.eye(3, dtype=np.float32)
    said_DE = np.array([embedded_CE[concepts.index(d.text)] for d in descriptions])
    settings = {"temperature": 0.1, "threshold_std": 0.4, "minimum": 1, "rule": "unlisted", "unlisted_std": 2.5}
    records = select(examples, descriptions, said_DE, bank, concepts, embedded_CE, SelectConfig(**settings))
    assert {math.isnan(s.score) for s in records if s.concept == "wings"} == {True}
    assert [(u.label, u.concept, u.images, u.selected) for u in concept_use(records, LABELS)] == [
        ("Crow", "wings", 3, 0), ("Crow", "crest", 3, 3), ("Heron", "wings", 2, 2), ("Heron", "legs", 2, 0),
    ]  # fmt: skip
    assert ConceptUse("Crow", "wings", 3, 0) in audit_run({}, {}, records, LABELS).never


def test_a_round_in_work_is_audited_as_far_as_it_has_come():
    answers = {1: [answer("c1", 0, "A crow, black.")], 2: []}
    audit = audit_run(answers, {2: query("c1", "a", ("A crow.", -1.0))}, [], LABELS)
    assert [(r.round, r.whole.answers, r.whole.accepted_share) for r in audit.rounds] == [(1, 1, None), (2, 0, 1.0)]


def test_an_image_that_the_data_does_not_have_is_named():
    with pytest.raises(SeeWhyError, match=r"'gone'.*data that it was made from"):
        audit_run({1: [answer("gone", 0, "A crow.")]}, {}, [], LABELS)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("repeats the instruction ('answer the question as if')", "repeats the instruction"),
        ("holds '<image>', a marker of the model", "holds a marker of the model"),
        ("no concept was selected for this image to judge it by", "no concept was selected for the image"),
        ("no concept was selected for this image", "no concept was selected for the image"),
        ("struck by an expert", "struck by an expert"),
    ],
)
def test_kinds_of_rejection(reason: str, kind: str):
    assert kind_of_rejection(reason) == kind
