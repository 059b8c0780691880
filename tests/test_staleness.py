"""Outputs made with other settings are never reused silently, and never lost."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from run_folders import ITEMS, Row, chain, fill, never, opened, rows, tree
from seewhy.errors import SeeWhyError
from seewhy.run import folder, storage
from seewhy.run.folder import RunFolder, Stage, read_manifest, read_records


def test_a_fingerprint_follows_from_name_settings_and_inputs() -> None:
    assert chain()[2].fingerprint == chain()[2].fingerprint
    assert Stage("a", {"x": (1, 2), "y": 1}).fingerprint == Stage("a", {"y": 1, "x": [1, 2]}).fingerprint
    fingerprints = {stages[2].fingerprint for stages in (chain(), chain(0.5), chain(epochs=2))}
    assert len(fingerprints | {Stage("a", {}).fingerprint, Stage("b", {}).fingerprint}) == 5
    assert chain(epochs=2)[0].fingerprint == chain()[0].fingerprint


def test_staleness_names_settings_stages_and_remedy(tmp_path: Path) -> None:
    fill(tmp_path, chain(), "one epoch")
    before = tree(tmp_path)
    with pytest.raises(SeeWhyError) as refused:
        opened(tmp_path, *chain(epochs=2))
    message = str(refused.value)
    assert "(tune.epochs: 1 -> 2)" in message
    assert "Stale because of this: round-1/model, round-1/predictions." in message
    assert "--discard_stale true" in message
    assert str(tmp_path) in message
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "reason"), [({"seed": 1}, "seed: 0 -> 1"), ({"shard_size": 4}, "shard_size: 3 -> 4")]
)
def test_seed_and_shard_size_make_everything_stale(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    fill(tmp_path, chain(), "one epoch")
    with pytest.raises(SeeWhyError, match=rf"\({reason}\).*\n.*: describe, round-1/model, round-1/predictions\."):
        opened(tmp_path, *chain(), **options)


def test_discard_keeps_the_old_files(tmp_path: Path) -> None:
    fill(tmp_path, chain(), "one epoch")
    before = tree(tmp_path)
    fill(tmp_path, chain(epochs=2), "two epochs", discard_stale=True)
    after = tree(tmp_path)
    stale = ["manifest.json", "metrics.json", "stages/round-1/model/weights"]
    stale += [f"stages/round-1/predictions/shard-0000{number}.parquet" for number in range(3)]
    assert {name: after[f"discarded/1/{name}"] for name in stale} == {name: before[name] for name in stale}
    kept = {name: sha256 for name, sha256 in before.items() if name.startswith("stages/describe")}
    assert kept.items() <= after.items()
    assert not any(name.startswith("discarded/1/stages/describe") for name in after)
    assert (tmp_path / "stages/round-1/model/weights").read_text() == "two epochs"
    fill(tmp_path, chain(), "one epoch again", discard_stale=True)
    assert (tmp_path / "discarded/2/stages/round-1/model/weights").read_text() == "two epochs"


def test_discarding_takes_partial_folders_and_stages_no_longer_asked_for(tmp_path: Path) -> None:
    describe, model, predictions = chain()
    fill(tmp_path, [describe, model, predictions], "one epoch")
    (tmp_path / "stages/round-1/model").rename(tmp_path / "stages/round-1/model.partial")
    opened(tmp_path, *chain(epochs=2)[:2], discard_stale=True)
    discarded = tmp_path / "discarded/1/stages/round-1"
    assert sorted(path.name for path in discarded.iterdir()) == ["model.partial", "predictions"]
    assert set(read_manifest(tmp_path)["stages"]) == {"describe", "round-1/model"}


def base_chain(seed: int = 0) -> list[Stage]:
    """As in a run: no output of `base` itself lies in its folder, but those of the stages that measure it."""
    base = Stage("base", {"model": {"seed": seed}})
    predictions, model = Stage("base/predictions-test", {}, (base,)), Stage("round-1/model", {}, (base,))
    return [base, predictions, model, Stage("round-1/predictions-test", {}, (model,))]


def fill_base(path: Path, stages: list[Stage], **options: Any) -> RunFolder:
    folder = opened(path, *stages, **options)
    for stage in (stages[1], stages[3]):
        folder.records(stage, Row, ITEMS, rows)

    def tune(partial: Path) -> None:
        (partial / "weights").write_text("tuned")

    folder.folder(stages[2], tune)
    folder.write_json("metrics.json", {})
    return folder


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"shard_size": 4}])
def test_a_stale_base_is_set_aside_with_all_that_lies_below_it(tmp_path: Path, options: dict[str, Any]) -> None:
    fill_base(tmp_path, base_chain())
    before = tree(tmp_path)
    changed = base_chain(seed=1)
    with pytest.raises(SeeWhyError, match=r"\nStale because of this: base/predictions-test, round-1/model, "):
        opened(tmp_path, *changed, **options)
    fill_base(tmp_path, changed, discard_stale=True, **options)
    after = tree(tmp_path / "discarded/1")
    assert after == {name: sha for name, sha in before.items() if name != "lock"}
    assert (tmp_path / "stages/round-1/model/weights").exists()


def test_a_discard_that_fails_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_base(tmp_path, base_chain())
    before, rename, moved = tree(tmp_path), Path.rename, []

    def fails_at_the_third(path: Path, target: Any) -> Path:
        if "discarded" in str(target) and not str(target).endswith(".partial"):
            moved.append(path)
            if len(moved) == 3:
                raise PermissionError("no")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails_at_the_third)
        with pytest.raises(PermissionError):
            opened(tmp_path, *base_chain(seed=1), discard_stale=True)
    assert len(moved) == 3
    assert tree(tmp_path) == before
    assert list((tmp_path / "discarded").iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from test_staleness import base_chain
from run_folders import opened
left = int(sys.argv[2])
def audit(kind, details):
    global left
    left -= kind == "os.rename" and "discarded" in str(details[1])
    if left == 0:
        os._exit(9)
sys.addaudithook(audit)
opened(Path(sys.argv[1]), *base_chain(seed=1), discard_stale=True)
"""


@pytest.mark.parametrize("at", range(1, 8))
def test_a_killed_discard_is_as_if_it_had_not_begun(tmp_path: Path, at: int) -> None:
    fill_base(tmp_path, base_chain())
    before = tree(tmp_path)
    paths = [str(Path(__file__).parent), str(Path(storage.__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    code = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(at)], env=environment).returncode
    assert code == (9 if at < 7 else 0)  # four outputs and results, the list of them, and the manifest's copy
    if code == 9:
        opened(tmp_path, *base_chain())  # the old settings: nothing is lost
        assert tree(tmp_path) == before
    fill_base(tmp_path, base_chain(seed=1), discard_stale=True)
    assert tree(tmp_path / "discarded/1") == {name: sha for name, sha in before.items() if name != "lock"}


@pytest.mark.parametrize("name", ["../../thesis", "round-1/../../../thesis", "linked"])
def test_a_stage_outside_of_the_run_folder_is_not_moved(tmp_path: Path, name: str) -> None:
    """A manifest that came with a folder names a stage that is stale with `base`, at a place of the reader's."""
    run, thesis = tmp_path / "run", tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years")
    fill_base(run, base_chain())
    if name == "linked":
        (run / "stages/linked").symlink_to(thesis)
    manifest = read_manifest(run)
    manifest["stages"][name] = {**manifest["stages"]["round-1/model"], "fingerprint": "of their own"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SeeWhyError, match=r"leads out of .*run, to .*thesis, and is not touched"):
        opened(run, *base_chain(seed=1), discard_stale=True)
    assert (thesis / "chapter.tex").read_text() == "years"
    with pytest.raises(SeeWhyError, match="leads out of"):
        read_records(run, name, Row)


def test_nothing_is_written_through_a_link_out_of_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "run/stages").mkdir(parents=True)
    (tmp_path / "run/stages/base").symlink_to(tmp_path / "thesis")
    with pytest.raises(SeeWhyError, match="leads out of"):
        fill_base(tmp_path / "run", base_chain())
    assert list((tmp_path / "thesis").iterdir()) == []


def test_a_changed_setting_of_a_stage_without_outputs_is_no_trouble(tmp_path: Path) -> None:
    opened(tmp_path, *chain()).records(chain()[0], Row, ITEMS, rows)
    opened(tmp_path, *chain(epochs=2)).records(chain()[0], Row, ITEMS, never)
    assert read_manifest(tmp_path)["stages"]["round-1/model"]["settings"]["tune"]["epochs"] == 2


def test_a_shorter_plan_leaves_the_rest_alone(tmp_path: Path) -> None:
    fill(tmp_path, chain(), "one epoch")
    before = tree(tmp_path)
    opened(tmp_path, *chain()[:1])
    assert tree(tmp_path) == before


def test_outputs_without_a_manifest_say_themselves_what_they_were_made_from(tmp_path: Path) -> None:
    fill(tmp_path, chain(), "one epoch")
    before = tree(tmp_path)
    (tmp_path / "manifest.json").write_text('{"stages": ')
    with pytest.raises(SeeWhyError, match=r"manifest\.json is damaged .*Delete it and start the run again"):
        opened(tmp_path, *chain())
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SeeWhyError, match=r"does not say how they were made[^$]*round-1/model, round-1/predictions"):
        opened(tmp_path, *chain(epochs=2))
    fill(tmp_path, chain(), "made again")
    assert tree(tmp_path).items() >= {n: sha for n, sha in before.items() if n.startswith("stages/")}.items()


def test_the_manifest_says_what_was_made_and_how(tmp_path: Path) -> None:
    fill(tmp_path, chain(), "one epoch")
    manifest = read_manifest(tmp_path)
    assert manifest["config"] == {"seed": 0}
    assert {"python", "torch", "transformers"} <= manifest["versions"].keys()
    entry = manifest["stages"]["round-1/predictions"]
    assert (entry["shards"], entry["complete"]) == (3, True)
    assert entry["inputs"] == {"round-1/model": manifest["stages"]["round-1/model"]["fingerprint"]}
    assert not re.search(r"20\d\d-\d\d-\d\d", json.dumps(manifest))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["shard"] * 3 + ["folder"] + ["shard"] * 3


def test_other_versions_are_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, chain(), "one epoch")
    capsys.readouterr()
    monkeypatch.setattr(folder, "package_versions", lambda: {"torch": "99.0"})
    opened(tmp_path, *chain())
    assert "goes on with {'torch': '99.0'}" in capsys.readouterr().err
