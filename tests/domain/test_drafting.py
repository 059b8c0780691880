"""Drafting a concept bank: cleaning by pure functions, and the whole of it against a server that misbehaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures_data import image_folder
from llm_server import Act, Body, fails, free_port, says, serving
from seewhy.cli import main
from seewhy.domain.concepts import load_concepts
from seewhy.domain.drafting import (
    Draft,
    Phrase,
    clean_phrases,
    draft,
    drop_shared,
    requests,
    sources_path,
    write_draft,
)
from seewhy.endpoint import Missing, Reply, Usage
from seewhy.errors import SeeWhyError

LABELS = ["Crow", "Fish Crow", "Red-crested Finch"]
SAID = {
    "Crow": ["Black wings", "A long tail", "orange legs", "has feathers", "harsh call"],
    "Fish Crow": ["short bill", "Fish Crow's brown throat", "head of Red-crested Finch", "a long tail", "white eyes"],
    "Red-crested Finch": ["red crest", "Red  crests.", "long tail", "eye ring", "wing bars on dark and broad wings"],
}  # fmt: skip
KEPT = {
    "Crow": ["black wings", "orange legs"],
    "Fish Crow": ["short bill", "brown throat", "white eyes"],
    "Red-crested Finch": ["red crest", "eye ring"],
}
MORE = {"Crow": ["thick black bill", "black wings"], "Red-crested Finch": ["stout pale bill"]}


def phrase(label: str, concept: str, reason: str = "") -> Phrase:
    return Phrase(label, concept, concept, reason, "m", "", "k")


def class_of(body: Body) -> str:
    return body["messages"][1]["content"].partition("first: ")[2]


def expert(body: Body, number: int = 0) -> Act:
    """Answers the first question to a class with SAID, the second with MORE."""
    label = class_of(body)
    return says({"concepts": (MORE if len(body["messages"]) > 2 else SAID)[label]})


@pytest.mark.parametrize(
    ("said", "concept", "reason"),
    [
        ("It has a short, black bill.", "short, black bill", ""),
        ("", "", "no words"),
        ("<image> wings", "<image> wings", "holds the control token <image>"),
        ("a very long tail with seven white bars", "very long tail with seven white bars", "longer than 6 words"),
        ("tail of a Crow", "tail of a Crow", "names a class: Crow"),
        ("finch-like bill", "finch-like bill", "names a class: finch"),
        ("loud song", "loud song", "not visual: a sound"),
        ("distinctive plumage", "distinctive plumage", "too generic"),
        ("red crest", "red crest", "said twice: as 'Red crests'"),
    ],
)
def test_each_dropped_phrase_has_its_reason(said: str, concept: str, reason: str) -> None:
    assert clean_phrases([said], "Red-crested Finch", LABELS, "bird", known=["Red crests"]) == [(said, concept, reason)]


def test_duplicates_within_an_answer_are_dropped_after_the_first() -> None:
    found = clean_phrases(["eye ring", "Eye-rings", "eye ring"], "Crow", LABELS, "bird")
    assert [(concept, bool(reason)) for _, concept, reason in found] == [
        ("eye ring", False),
        ("eye-rings", True),
        ("eye ring", True),
    ]


def test_what_every_class_has_is_dropped() -> None:
    given = {
        "A": (phrase("A", "long tails"), phrase("A", "red cap")),
        "B": (phrase("B", "a long tail"), phrase("B", "red cap", "too generic")),
    }
    kept = {label: [p.concept for p in of if p.kept] for label, of in drop_shared(given).items()}
    assert kept == {"A": ["red cap"], "B": []}
    assert drop_shared({"A": given["A"]}) == {"A": given["A"]}


def test_a_label_with_braces_is_asked_for_as_it_is() -> None:
    (request,) = requests(["{x} {0}"], "bird {noun}", 5)
    assert request.messages[1]["content"].endswith("first: {x} {0}")
    assert '{"concepts": ["...", "..."]}' in request.messages[0]["content"]


def test_classes_with_too_few_are_asked_again_and_the_rest_are_not() -> None:
    rounds: list[list[str]] = []

    def ask(asked: Any, name: str) -> dict[str, Reply | Missing]:
        rounds.append([r.id for r in asked])
        told = MORE if len(rounds) > 1 else SAID
        return {r.id: Reply({"concepts": told[r.id]}, "m", "", r.id, Usage(1)) for r in asked}

    found = draft(LABELS, "bird", 5, ask)
    # "long tail" is dropped only when all answers are there, so that Crow and the finch had three
    assert rounds == [LABELS]
    assert found.bank == KEPT
    assert found.missing == {}

    rounds.clear()
    SAID_FEW = {**SAID, "Crow": ["black wings", "harsh call"]}

    def ask_few(asked: Any, name: str) -> dict[str, Reply | Missing]:
        rounds.append([r.id for r in asked])
        told = MORE if len(rounds) > 1 else SAID_FEW
        return {r.id: Reply({"concepts": told[r.id]}, "m", "", r.id, Usage(1)) for r in asked}

    found = draft(LABELS, "bird", 5, ask_few)
    assert rounds == [LABELS, ["Crow"]]
    assert found.bank["Crow"] == ["black wings", "thick black bill"]
    assert found.dropped == {"said twice": 2, "not visual": 1, "names a class": 1, "longer than 6 words": 1}


def test_a_class_without_an_answer_and_one_without_a_usable_phrase_are_missing() -> None:
    def ask(asked: Any, name: str) -> dict[str, Reply | Missing]:
        found: dict[str, Reply | Missing] = {r.id: Missing("timed out") for r in asked}
        return found | {"Crow": Reply({"concepts": ["a call"]}, "m", "", "k", Usage(1))}

    found = draft(LABELS[:2], "bird", 5, ask)
    assert found.missing == {"Fish Crow": "timed out", "Crow": "no phrase could be used"}
    assert found.bank == {}


def test_the_bank_is_read_back_and_every_phrase_has_its_source(tmp_path: Path) -> None:
    phrases = (phrase("No", "yes"), phrase("No", "white: cap #1"), phrase("No", "call", "not visual: a sound"))
    bank = tmp_path / "concepts.yaml"
    write_draft(Draft((*phrases, phrase("737", "3.10")), {}), bank, "gpt\n- evil: [x]")
    assert dict(load_concepts(bank)) == {"No": ("yes", "white: cap #1"), "737": ("3.10",)}
    lines = [json.loads(line) for line in sources_path(bank).read_text().splitlines()]
    assert [(line["class"], line["concept"], line["kept"]) for line in lines] == [
        ("No", "yes", True),
        ("No", "white: cap #1", True),
        ("No", "call", False),
        ("737", "3.10", True),
    ]
    assert lines[2]["reason"] == "not visual: a sound"
    assert {"model", "date", "answer", "prompt", "said"} <= lines[0].keys()


def test_a_bank_that_someone_edited_is_never_overwritten(tmp_path: Path) -> None:
    bank, found = tmp_path / "concepts.yaml", Draft((phrase("Crow", "red cap"),), {})
    write_draft(found, bank, "m")
    write_draft(Draft((*found.phrases, phrase("Owl", "big eyes")), {}), bank, "m")
    assert list(load_concepts(bank)) == ["Crow", "Owl"]
    edited = bank.read_text().replace("red cap", "grey cap")
    bank.write_text(edited)
    with pytest.raises(SeeWhyError, match="edited since"):
        write_draft(found, bank, "m")
    assert bank.read_text() == edited


@pytest.fixture
def config(tmp_path: Path) -> Path:
    image_folder(tmp_path)
    (tmp_path / "concepts.yaml").unlink()
    path = tmp_path / "birds.yaml"
    path.write_text(f"data: {{source: {tmp_path}/images, concepts: {tmp_path}/concepts.yaml, noun: bird}}\n")
    return path


def drafted(config: Path, url: str, *options: str) -> int:
    return main(["concepts", "draft", str(config), "--model", "m", "--base_url", url, "--attempts", "2", *options])


def test_the_command_drafts_a_bank_that_a_run_can_read(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(expert) as server:
        assert drafted(config, server.url, "--price_in", "1", "--price_out", "2") == 0
        told = capsys.readouterr()
        assert dict(load_concepts(config.parent / "concepts.yaml")) == {k: tuple(v) for k, v in KEPT.items()}
        assert "3 requests: an estimated" in told.err
        assert told.err.index("estimated") < told.err.index("drafting concepts")
        assert "300 tokens in and 60 out" in " ".join(told.out.split())
        assert "too generic" in told.out
        assert drafted(config, server.url) == 0
        assert len(server.bodies) == 3


def test_a_class_that_gets_no_answer_is_named_and_asked_again_alone(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def meet(body: Body, number: int) -> Act:
        return fails(500) if class_of(body) == "Fish Crow" else expert(body)

    with serving(meet) as server:
        assert drafted(config, server.url, "--concurrency", "1", "--backoff", "0.01") == 1
        told = capsys.readouterr().out
        assert "Fish Crow" in told
        assert "500" in told
        assert list(load_concepts(config.parent / "concepts.yaml")) == ["Crow", "Red-crested Finch"]
        before = len(server.bodies)
        server.meet = expert
        assert drafted(config, server.url) == 0
        assert {class_of(body) for body in server.bodies[before:]} == {"Fish Crow"}
        assert dict(load_concepts(config.parent / "concepts.yaml")) == {k: tuple(v) for k, v in KEPT.items()}


def test_a_server_that_is_down_writes_no_bank(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drafted(config, f"http://127.0.0.1:{free_port()}/v1", "--backoff", "0.01") == 1
    assert not (config.parent / "concepts.yaml").exists()
    assert "cannot be reached" in capsys.readouterr().err


def test_an_estimate_asks_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(expert) as server:
        assert drafted(config, server.url, "--estimate") == 0
        assert drafted(config, server.url, "--price_in", "9999", "--price_out", "1", "--max_cost", "0.01") == 1
        assert "max_cost" in capsys.readouterr().err
        assert drafted(config, server.url, "--price_in", "1") == 1
        assert "price_out" in capsys.readouterr().err
        assert server.bodies == []


def test_a_limit_takes_the_first_classes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(expert) as server:
        assert drafted(config, server.url, "--limit", "1") == 0
        assert [class_of(body) for body in server.bodies] == ["Crow"]
    assert "1 of 3 classes" in " ".join(capsys.readouterr().out.split())
