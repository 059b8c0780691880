"""The lint of a concept bank, finding by finding, and the command on a run."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from fixtures_data import CONCEPTS, image_folder
from seewhy.cli import main
from seewhy.config import DataConfig, RunConfig
from seewhy.domain import phrases
from seewhy.domain.bank_check import NEAR, alike, check_bank, contradict, unused
from seewhy.records import Description, Selection
from seewhy.run.folder import RunFolder, Stage

GOOD = {"Crow": ["black wings", "orange legs", "long tail"], "Owl": ["large round eyes", "brown back", "barred breast"]}


def kinds(bank: dict[str, list[str]], **options: dict[str, list[str]]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(f.level, f.kind, f.label, f.concepts) for f in check_bank(bank, "bird", **options)]


def test_a_good_bank_has_no_findings() -> None:
    assert kinds(GOOD) == []


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        (
            ["a crown of long and dark red feathers"],
            ("warning", "too long", ("a crown of long and dark red feathers",)),
        ),
        (["Black wing"], ("warning", "duplicate", ("black wings", "Black wing"))),
        (["glossy black wings"], ("note", "near-duplicate", ("black wings", "glossy black wings"))),
        (["blue legs"], ("note", "contradictory", ("orange legs", "blue legs"))),
        (["short tail"], ("note", "contradictory", ("long tail", "short tail"))),
        (["crow's feet lines"], ("warning", "label inside", ("crow's feet lines",))),
        (["face of an owl"], ("warning", "label inside", ("face of an owl",))),
        (["harsh call at dusk"], ("note", "not visual", ("harsh call at dusk",))),
        (["two wings"], ("note", "too generic", ("two wings",))),
        (["?!"], ("problem", "no words", ("?!",))),
    ],
)
def test_each_finding(more: list[str], finding: tuple[str, str, tuple[str, ...]]) -> None:
    level, kind, concepts = finding
    assert kinds({**GOOD, "Crow": GOOD["Crow"] + more}) == [(level, kind, "Crow", concepts)]


def test_few_concepts_shared_ones_and_problems() -> None:
    bank = {"Crow": ["long tails", "red cap"], "Owl": ["a long tail", "big eyes", "grey ruff"]}
    assert kinds(bank, problems=["class 'Kiwi' has no concepts."]) == [  # pyright: ignore[reportArgumentType]
        ("problem", "a run refuses it", "", ()),
        ("warning", "few concepts", "Crow", ("long tails", "red cap")),
        ("warning", "shared by every class", "", ("a long tail",)),
    ]


def test_an_alias_and_the_last_word_of_a_name_are_names_too() -> None:
    bank = {"Fish Crow": ["corvus bill", "crow-like build", "red cap"]}
    assert kinds(bank, aliases={"Fish Crow": ["Corvus"]}) == [
        ("warning", "label inside", "Fish Crow", ("corvus bill",)),
        ("note", "label inside", "Fish Crow", ("crow-like build",)),
    ]


@pytest.mark.parametrize(
    ("one", "other", "opposed"),
    [
        ("red crown", "blue crown", True),
        ("long straight bill", "short straight bill", True),
        ("red crown", "blue wings", False),
        ("red crown", "bright red crown", False),
        ("black and white wings", "black wings", False),
        ("red wing patch", "white wing bars", False),
        ("red", "blue", False),
        ("straight bill", "hooked bill", True),
    ],
)
def test_contradictions(one: str, other: str, opposed: bool) -> None:  # noqa: FBT001
    assert contradict(one, other) == contradict(other, one) == opposed


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("white wing bars", "two white wing bars", True),
        ("bar of white on wing", "white wing bar", True),
        ("long black curved bill", "short black curved bill", False),
        ("yellow bill with black tip", "black bill with yellow tip", False),
        ("black wings", "black tail", False),
    ],
)
def test_near_duplicates(one: str, other: str, near: bool) -> None:  # noqa: FBT001
    assert (alike(one, other) > NEAR) == near


def test_what_a_run_never_used() -> None:
    use = {("Crow", "a"): (5, 0), ("Crow", "b"): (5, 2), ("Crow", "c"): (5, 0), ("Owl", "d"): (2, 0)}
    found = unused(use, {("Crow", "a"): 3, ("Crow", "b"): 1}, fewest=3)
    assert [(f.kind, f.concepts) for f in found] == [
        ("never described", ("c",)),
        ("never selected", ("a",)),
        ("never selected", ("c",)),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    image_folder(tmp_path, train=3)
    path = tmp_path / "birds.yaml"
    path.write_text(f"data: {{source: {tmp_path}/images, concepts: {tmp_path}/concepts.yaml, noun: bird}}\n")
    return path


def run_with_selections(config: Path) -> Path:
    """A run killed after its selection: only the first concept of each class is selected, only the second described."""
    root = config.parent
    data = DataConfig(source=f"{root}/images", concepts=f"{root}/concepts.yaml")
    ids = [f"train/{label}/{number}" for label in CONCEPTS for number in range(3)]
    stages = {name: Stage(name, {}) for name in ("describe", "select")}
    folder = RunFolder(root / "run", seed=0, shard_size=4)
    with folder.lock():
        folder.check(list(stages.values()), config=asdict(RunConfig(output=str(root / "run"), data=data)))
        folder.records(
            stages["describe"], Description, ids,
            lambda items, seed: [Description(i, "?", 0, f"I see its {CONCEPTS[i.split('/')[1]][1]}.") for i in items],
        )  # fmt: skip
        folder.records(
            stages["select"], Selection, ids,
            lambda items, seed: [
                Selection(i, concept, -1.0 if n else math.pi, selected=not n)
                for i in items for n, concept in enumerate(CONCEPTS[i.split("/")[1]])
            ],
        )  # fmt: skip
    return root / "run"


def test_the_command_tells_what_a_run_never_used(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with_selections(config)
    assert main(["concepts", "check", str(config), "--run", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["classes"], told["concepts"]) == (3, 10)
    of = {(f["kind"], f["label"]): set() for f in told["findings"]}
    for f in told["findings"]:
        of[f["kind"], f["label"]] |= set(f["concepts"])
    assert of["never selected", "Fish Crow"] == {"yellow bill", "long tail"}
    assert of["never described", "Fish Crow"] == {"black wings", "long tail"}
    assert told["counts"]["warning"] == sum(f["level"] == "warning" for f in told["findings"])
    assert main(["concepts", "check", str(config), "--run", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "never selected" in shown
    assert "10 concepts of 3 classes" in " ".join(shown.split())


def test_what_a_run_would_refuse_is_a_problem_and_fails(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = {**CONCEPTS, "Kiwi": ["brown fuzz", "[bold]long[/bold] bill", "black <image> eyes"]}
    del bank["Crow"]
    (config.parent / "concepts.yaml").write_text(json.dumps(bank))
    assert main(["concepts", "check", str(config)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "class 'Crow' has no concepts" in shown
    assert "no image of that class" in shown
    assert "control token" in shown


def test_a_config_without_a_bank_says_what_to_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f"data: {{source: {config.parent}/images}}\n")
    assert main(["concepts", "check", str(config)]) == 1
    assert "seewhy concepts draft" in " ".join(capsys.readouterr().err.split())


def test_names_are_not_looked_for_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phrase is folded, and compared with what it may hold: not with the names of 300 other classes."""
    bank = {f"Plover {number}": (f"bill of type {number}", f"like Plover {number + 1}") for number in range(300)}
    calls = []
    original = phrases.phrase_key
    monkeypatch.setattr(phrases, "phrase_key", lambda phrase: calls.append(phrase) or original(phrase))
    found = check_bank(bank, "bird")
    assert len(calls) < 20 * len(bank)
    told = [finding.text for finding in found if finding.kind == "label inside" and finding.level == "warning"]
    assert told == [f"holds the name of another class, 'Plover {number + 1}'" for number in sorted(range(299), key=str)]
