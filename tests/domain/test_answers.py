"""Label matcher and concept finder on hand-written answers: ours, and those that lie beside the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

import more_answers as more
from answers import ALIASES, ANSWERS, HARD, LABELS, PHRASES, SENTENCES
from seewhy.domain.labels import LabelMatcher, sentence_problems
from seewhy.proof.stated import StatedConcepts

SHARED = next((p / "shared/data/answers" for p in Path(__file__).parents if (p / "shared/data/answers").is_dir()), None)
needs_shared = pytest.mark.skipif(SHARED is None, reason="no folder shared/data/answers beside or above the repository")
STATED = StatedConcepts(PHRASES, ["Fish Crow", "Blue-headed Vireo"])
MATCHERS = {name: LabelMatcher(labels, ALIASES.get(name)) for name, labels in LABELS.items()}


@pytest.mark.parametrize(("labels", "text", "label"), ANSWERS, ids=[text[:50] for _, text, _ in ANSWERS])
def test_an_answer_names_what_a_reader_takes_from_it(labels: str, text: str, label: str | None):
    matcher = MATCHERS[labels]
    assert [name for name in LABELS[labels] if matcher.is_correct(text, name)] == ([label] if label else [])


@pytest.mark.parametrize(("labels", "text", "label"), HARD, ids=[text[:50] for _, text, _ in HARD])
@pytest.mark.xfail(strict=True, reason="known limit: the sentence holds no word that tells")
def test_an_answer_that_is_not_read_right(labels: str, text: str, label: str | None):
    assert label is not None
    assert MATCHERS[labels].is_correct(text, label)


@pytest.mark.parametrize(("text", "concepts"), SENTENCES, ids=[text[:50] for text, _ in SENTENCES])
def test_a_sentence_states_what_a_reader_takes_from_it(text: str, concepts: set[str]):
    assert set(STATED(text)) == concepts


@pytest.mark.parametrize("labels", LABELS)
def test_every_label_sentence_passes_its_own_matcher(labels: str):
    assert sentence_problems(LABELS[labels], ALIASES.get(labels, {}), {}) == []


MORE = {name: LabelMatcher(labels) for name, labels in more.LABELS.items()}
MORE_STATED = StatedConcepts(more.PHRASES, more.NAMES)
SECOND_STATED = StatedConcepts(more.MORE_PHRASES, more.MORE_NAMES)


@pytest.mark.parametrize(("labels", "text", "label"), more.ANSWERS, ids=[text[:50] for _, text, _ in more.ANSWERS])
def test_an_answer_of_another_domain(labels: str, text: str, label: str | None):
    assert [name for name in more.LABELS[labels] if MORE[labels].is_correct(text, name)] == ([label] if label else [])


@pytest.mark.parametrize(("text", "concepts"), more.SENTENCES, ids=[text[:50] for text, _ in more.SENTENCES])
def test_a_sentence_of_another_domain(text: str, concepts: set[str]):
    assert set(MORE_STATED(text)) == concepts


@pytest.mark.parametrize(("text", "concepts"), more.MORE_SENTENCES, ids=[text[:50] for text, _ in more.MORE_SENTENCES])
def test_a_sentence_of_the_second_lot(text: str, concepts: set[str]):
    assert set(SECOND_STATED(text)) == concepts


@pytest.mark.parametrize(("text", "concepts"), more.MORE_HARD_SENTENCES)
@pytest.mark.xfail(strict=True, reason="known limit")
def test_a_sentence_of_the_second_lot_that_is_not_read_right(text: str, concepts: set[str]):
    assert set(SECOND_STATED(text)) == concepts


@pytest.mark.parametrize(("labels", "text", "label"), more.HARD)
@pytest.mark.xfail(strict=True, reason="known limit")
def test_an_answer_of_another_domain_that_is_not_read_right(labels: str, text: str, label: str | None):
    assert label is not None
    assert MORE[labels].is_correct(text, label)


@pytest.mark.parametrize(("text", "concepts"), more.HARD_SENTENCES)
@pytest.mark.xfail(strict=True, reason="known limit")
def test_a_sentence_of_another_domain_that_is_not_read_right(text: str, concepts: set[str]):
    assert set(MORE_STATED(text)) == concepts


@needs_shared
def test_shared_answers_are_read_right():
    sets = _read("label_sets.json")
    matchers = {name: LabelMatcher(some["labels"], some["aliases"]) for name, some in sets.items()}
    rows = _rows("labels.jsonl")
    named = [matchers[row["labels"]].is_correct(row["text"], row["label"]) for row in rows]
    false = [row["text"] for row, yes in zip(rows, named, strict=True) if yes and not row["names_it"]]
    missed = [row["text"] for row, yes in zip(rows, named, strict=True) if row["names_it"] and not yes]
    positives = sum(row["names_it"] for row in rows)
    assert len(false) <= 0.03 * (len(rows) - positives), false
    assert len(missed) <= 0.10 * positives, missed


@needs_shared
def test_concepts_of_shared_sentences_are_found():
    bank, rows = _read("bank.json"), _rows("concepts.jsonl")
    stated = StatedConcepts(bank["bank"], bank["names"])
    found = [set(stated(row["text"])) for row in rows]
    false = [row["text"] for row, some in zip(rows, found, strict=True) if some - set(row["states"])]
    missed = [row["text"] for row, some in zip(rows, found, strict=True) if set(row["states"]) - some]
    assert len(false) <= 0.03 * len(rows), false
    assert len(missed) <= 0.15 * len(rows), missed


def _read(name: str) -> Any:
    assert SHARED is not None
    return json.loads((SHARED / name).read_text(encoding="utf-8"))


def _rows(name: str) -> list[dict[str, Any]]:
    assert SHARED is not None
    return [json.loads(line) for line in (SHARED / name).read_text(encoding="utf-8").splitlines()]
