"""Each part of the data and each setting makes stale what is made from it, and nothing else; and the reason is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from fixtures_data import image_folder
from run_folders import Row, never, rows
from seewhy.config import DataConfig, RunConfig
from seewhy.domain import load_domain
from seewhy.errors import SeeWhyError
from seewhy.records import Example
from seewhy.run import folder as run_folder
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.stages import DATA, StageKey, Stages
from seewhy.run.staleness import Stage
from test_fingerprints import changed

CONFIG = RunConfig(rounds=2, controls=("nl", "class_level"))
PREDICTED = ("base", "round-1", "round-2", "nl/round-1", "nl/round-2", "class_level/round-1", "class_level/round-2")
ON_TEST = {f"{model}/{kind}-test" for model in PREDICTED for kind in ("predictions", "likelihoods")}
ON_VAL = {f"round-{round}/predictions-val" for round in (1, 2)}
OF_BASE = {"base/predictions-test", "base/likelihoods-test"}
DESCRIBED = {"describe", "describe-test", "describe-val"}
SELECTED = {"select", "select-test", "select-val"}
"""Stages by what they are."""


def plan(config: RunConfig, data: DataConfig) -> Stages:
    domain = load_domain(data)
    return Stages.of(config, domain.fingerprint, "base", "encoder", parts=domain.parts)


def begin(path: Path, stages: Stages, **options: Any) -> RunFolder:
    folder = RunFolder(path, seed=0, shard_size=8)
    with folder.lock():
        folder.check(list(stages.values()), **options)
    return folder


def tune(partial: Path) -> None:
    (partial / "weights").write_text("tuned")


def fill(path: Path, stages: Stages) -> set[str]:
    """Make a small output of every stage that has one; return their names."""
    folder, made = begin(path, stages), set[str]()
    for key, stage in stages.items():
        if key.kind in ("domain", "base", *DATA):
            continue
        made.add(stage.name)
        if key.kind == "model":
            folder.folder(stage, tune)
        else:
            folder.records(stage, Row, ["a"], rows)
    return made


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    root = image_folder(tmp_path, train=2, test=2, val=1)
    (root / "questions.yaml").write_text(yaml.safe_dump({"describe": ["What is on this {noun}?"]}))
    return DataConfig(str(root / "images"), str(root / "concepts.yaml"), questions=str(root / "questions.yaml"))


def edit_bank(data: DataConfig, label: str, phrases: list[str]) -> None:
    bank = yaml.safe_load(Path(data.concepts or "").read_text())
    Path(data.concepts or "").write_text(yaml.safe_dump({**bank, label: phrases}))


def repaint(data: DataConfig, split: str) -> None:
    first = sorted(Path(data.source, split).rglob("*.png"))[0]
    Image.new("RGB", Image.open(first).size, "red").save(first)


def edit_concept(data: DataConfig, config: RunConfig) -> RunConfig:
    edit_bank(data, "Crow", ["a bill of brass", "black eyes", "black wings"])
    return config


def edit_alias(data: DataConfig, config: RunConfig) -> RunConfig:
    bank = yaml.safe_load(Path(data.concepts or "").read_text())
    phrases = bank["Crow"] if isinstance(bank["Crow"], list) else bank["Crow"]["concepts"]
    Path(data.concepts or "").write_text(yaml.safe_dump({**bank, "Crow": {"concepts": phrases, "aliases": ["Corbie"]}}))
    return config


def edit_images(split: str) -> Any:
    def edit(data: DataConfig, config: RunConfig) -> RunConfig:
        repaint(data, split)
        return config

    return edit


def drop_train_image(data: DataConfig, config: RunConfig) -> RunConfig:
    sorted(Path(data.source, "train").rglob("*.png"))[0].unlink()
    return config


def edit_questions(data: DataConfig, config: RunConfig) -> RunConfig:
    Path(data.questions or "").write_text(yaml.safe_dump({"describe": ["What else is on this {noun}?"]}))
    return config


def setting(name: str, value: Any) -> Any:
    return lambda _data, config: changed(config, name, value)


ALL = "all"
TUNED = {f"{m}/model" for m in PREDICTED[1:]} | {f"{m}/answers" for m in PREDICTED[1:] if not m.startswith("nl")} | {
    f"{m}/candidates" for m in ("round-2", "class_level/round-2")
}  # fmt: skip
AFTER_TUNING = TUNED | (ON_TEST - OF_BASE) | ON_VAL
AFTER_SELECTION = {name for name in AFTER_TUNING if not name.startswith("class_level/")}
IMAGES_TEST = ON_TEST | {"describe-test", "select-test"}

TABLE: dict[str, tuple[Any, Any, str]] = {
    "a concept": (edit_concept, SELECTED | AFTER_TUNING, "data.concepts.Crow: "),
    "an alias": (edit_alias, AFTER_TUNING, 'data.aliases.Crow: not set -> "Corbie"'),
    "a train image": (edit_images("train"), {"describe"} | SELECTED | AFTER_TUNING, 'data.images: "6 images, '),
    "a test image": (edit_images("test"), IMAGES_TEST, 'data.images-test: "6 images, '),
    "a val image": (edit_images("val"), ON_VAL | {"describe-val", "select-val"}, 'data.images-val: "3 images, '),
    "one image less": (drop_train_image, {"describe"} | SELECTED | AFTER_TUNING, '-> "5 images, '),
    "the questions": (edit_questions, ALL, "data.questions.describe: "),
    "describe.temperature": (
        setting("describe.temperature", 0.5), DESCRIBED | SELECTED | AFTER_SELECTION, "describe.temperature: 1.0 -> 0.5"
    ),
    "select.minimum": (
        setting("select.minimum", 1),
        SELECTED | AFTER_SELECTION,
        "select.minimum: 3 -> 1",
    ),
    "tune.epochs": (
        setting("tune.epochs", 7),
        AFTER_TUNING - {"round-1/answers", "class_level/round-1/answers"},
        "tune.epochs: 2 -> 7",
    ),
    "evaluate.max_new_tokens": (
        setting("evaluate.max_new_tokens", 7), ON_TEST | ON_VAL, "evaluate.max_new_tokens: 196 -> 7"
    ),
    "model.dtype": (setting("model.dtype", "float16"), ALL, 'model.dtype: "auto" -> "float16"'),
    "model.engine.kind": (setting("model.engine.kind", "server"), ALL, 'model.engine.kind: not set -> "server"'),
}  # fmt: skip
"""What is changed -> how, the stages that it makes stale, and the reason that is said."""


@pytest.mark.parametrize("what", TABLE)
def test_what_a_change_makes_stale(tmp_path: Path, data: DataConfig, what: str) -> None:
    run = tmp_path / "run"
    made = fill(run, plan(CONFIG, data))
    edit, stale, reason = TABLE[what]
    after = plan(edit(data, CONFIG), data)
    with pytest.raises(SeeWhyError) as refused:
        begin(run, after)
    said = str(refused.value)
    named = set(said.partition("Stale because of this: ")[2].partition(".\n")[0].split(", "))
    assert named == (made if stale == ALL else stale)
    assert reason in said.partition(".\nStale")[0]
    assert "data.fingerprint" not in said


def test_what_is_not_stale_keeps_its_bytes_and_goes_on(tmp_path: Path, data: DataConfig) -> None:
    """Editing a concept costs no description."""
    run = tmp_path / "run"
    fill(run, plan(CONFIG, data))
    shard = run / "stages/describe/shard-00000.parquet"
    before, then = shard.read_bytes(), read_manifest(run)["stages"]["describe"]
    edit_concept(data, CONFIG)
    after = plan(CONFIG, data)
    folder = begin(run, after, discard_stale=True)
    found = folder.records(after[StageKey("describe")], Row, ["a"], never)
    assert [row.id for row in found] == ["a"]
    assert shard.read_bytes() == before
    assert read_manifest(run)["stages"]["describe"] == then
    assert not read_manifest(run)["stages"]["select"]["complete"]
    begin(run, after)


# Older versions recorded the data as a whole, and other digests.


def older_manifest(run: Path, stages: Stages) -> None:
    """Rewrite a manifest as a version wrote it that knew no parts of the data, and make fingerprints of its own."""
    manifest = read_manifest(run)
    reads_data = ("describe", "select", "predictions")
    for name, entry in list(manifest["stages"].items()):
        kinds = [key.kind for key, stage in stages.items() if stage.name == name]
        if kinds[0] in DATA:
            del manifest["stages"][name]
            continue
        del entry["versions"]
        entry.pop("sums", None)
        entry["inputs"] = {n: f for n, f in entry["inputs"].items() if n.split("-")[0] not in DATA}
        if kinds[0] in reads_data and kinds[0] != "select":
            entry["inputs"]["domain"] = manifest["stages"]["domain"]["fingerprint"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_outputs_of_an_older_version_are_used_while_their_data_are_the_same(tmp_path: Path, data: DataConfig) -> None:
    run, stages = tmp_path / "run", plan(CONFIG, data)
    fill(run, stages)
    fingerprints = {name: entry["fingerprint"] for name, entry in read_manifest(run)["stages"].items()}
    older_manifest(run, stages)
    begin(run, stages)
    assert {n: e["fingerprint"] for n, e in read_manifest(run)["stages"].items()} == fingerprints
    older_manifest(run, stages)
    repaint(data, "test")
    with pytest.raises(SeeWhyError, match=r"\(data\.fingerprint: [^$]*Stale because of this: .*describe, select"):
        begin(run, plan(CONFIG, data))


def test_a_fingerprint_once_given_stays(tmp_path: Path) -> None:
    """Shards hold it; a version that computes others goes on with them, also in the midst of a stage."""
    items = [Example(str(n), "", "", "", "train") for n in range(4)]
    stage = Stage("describe", {"describe": {"temperature": 1.0}})
    folder = RunFolder(tmp_path, seed=0, shard_size=2)
    with folder.lock():
        folder.check([stage])
    older = read_manifest(tmp_path)
    older["stages"]["describe"]["fingerprint"] = "given by an older version"
    (tmp_path / "manifest.json").write_text(json.dumps(older))
    for missing in (None, 1):
        if missing is not None:
            (tmp_path / f"stages/describe/shard-0000{missing}.parquet").unlink()
        with folder.lock():
            folder.check([stage])
            folder.records(stage, Row, items, lambda part, _: rows([item.id for item in part], 0))
        assert read_manifest(tmp_path)["stages"]["describe"]["fingerprint"] == "given by an older version"


def test_weights_that_an_older_version_digested_by_their_ends_are_the_same(tmp_path: Path) -> None:
    def stages(weights: str, former: str) -> list[Stage]:
        base = Stage("base", {"model": {"weights": weights}}, former={"model.weights": former})
        return [base, Stage("describe", {}, (base,))]

    folder = RunFolder(tmp_path, seed=0, shard_size=2)
    with folder.lock():
        folder.check(stages("ends", ""))
        folder.records(stages("ends", "")[1], Row, ["a"], rows)
        folder.check(stages("whole-1", "ends"))
        folder.check(stages("whole-1", "ends"))
        with pytest.raises(SeeWhyError, match=r'model\.weights: "whole-1" -> "whole-2"'):
            folder.check(stages("whole-2", "ends"))


def test_outputs_bear_the_versions_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Stage("describe", {}), Stage("select", {})
    folder = RunFolder(tmp_path, seed=0, shard_size=1)
    for version, stages in (("1", [first]), ("2", [first, second])):
        monkeypatch.setattr(run_folder, "package_versions", lambda version=version: {"torch": version})
        with folder.lock():
            folder.check([first, second])
            for stage in stages:
                folder.records(stage, Row, ["a"], rows)
    manifest = read_manifest(tmp_path)
    assert manifest["versions"] == {"torch": "2"}
    assert {n: e["versions"]["torch"] for n, e in manifest["stages"].items()} == {"describe": "1", "select": "2"}


def test_a_stage_that_two_versions_made_bears_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("describe", {})
    folder = RunFolder(tmp_path, seed=0, shard_size=1)
    for version in ("1", "2"):
        monkeypatch.setattr(run_folder, "package_versions", lambda version=version: {"torch": version})
        with folder.lock():
            folder.check([stage])
            if version == "1":
                with pytest.raises(RuntimeError):
                    folder.records(stage, Row, ["a", "b"], lambda part, _: rows(part, 0) if part == ["a"] else stop())
    assert read_manifest(tmp_path)["stages"]["describe"]["versions"] == {"torch": "1 and 2"}


def stop() -> Any:
    raise RuntimeError("stopped")
