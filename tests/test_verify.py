"""`seewhy check`: damage is found in every file, and what cannot work is said before any work."""

import json
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from run_folders import ITEMS, Row, chain, fill, opened, rows
from seewhy.cli import main
from seewhy.config import EngineConfig, ModelConfig, RunConfig, TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.run.checks import check_settings
from seewhy.run.checksums import SUMS
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.verify import SEALED, verify
from seewhy.settings import load_config
from tiny_run import tiny_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    fill(tmp_path / "run", chain(), "one epoch")
    return tmp_path / "run"


def checked_files(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file() and (p.suffix in SEALED or "model" in p.parts))


def test_a_finished_run_is_whole(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(run)
    assert (found.findings, found.older, found.unfinished) == ((), (), ())
    assert found.whole == len(checked_files(run)) == 10
    assert main(["check", str(run)]) == 0
    assert "10 files are as they were written; nothing is damaged or missing" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "deleted"])
def test_each_damaged_file_is_found_and_named(run: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(0)
    for path in checked_files(run):
        whole, name = path.read_bytes(), path.relative_to(run).as_posix()
        place = rng.randrange(len(whole))
        if how == "deleted":
            if name in ("manifest.json", "metrics.json"):  # one is no run any more, the other need not be there
                continue
            path.unlink()
        else:
            changed = {"flipped": whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :], "emptied": b""}
            path.write_bytes(changed.get(how, whole[: len(whole) // 2]))
        found = verify(run)
        assert name in [damage.file for damage in found.findings], (name, place)
        assert all("anew" in damage.remedy or "kept" in damage.remedy for damage in found.findings)
        assert main(["check", str(run)]) == 1
        assert name in capsys.readouterr().out
        path.write_bytes(whole)
    assert verify(run).findings == ()


def test_what_it_says_makes_the_run_whole_again(run: Path) -> None:
    before = {p: p.read_bytes() for p in checked_files(run)}
    shard = run / "stages/describe/shard-00001.parquet"
    shard.write_bytes(b"PAR1")
    (run / "stages/round-1/model/weights").unlink()
    remedies = {damage.file: damage.remedy for damage in verify(run).findings}
    assert remedies["stages/describe/shard-00001.parquet"].startswith("delete it")
    assert remedies["stages/round-1/model/weights"].startswith("delete the folder stages/round-1/model")
    shard.unlink()
    shutil.rmtree(run / "stages/round-1/model")
    fill(run, chain(), "one epoch")
    assert {p: p.read_bytes() for p in checked_files(run)} == before


def test_files_of_an_older_version_are_told_apart(run: Path) -> None:
    manifest = read_manifest(run)
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert verify(run).older == ("manifest.json",)
    with pytest.raises(SeeWhyError, match="is no run folder"):
        verify(run / "stages")


def test_a_stage_that_is_not_finished_is_no_damage(run: Path) -> None:
    opened(run, *chain(epochs=2), discard_stale=True)
    (run / "stages/round-1/model.partial").mkdir(parents=True)
    found = verify(run)
    assert (found.findings, found.unfinished) == ((), ("round-1/model",))


# The lock and the folder of a live run.


@pytest.mark.parametrize("how", ["lock deleted", "lock replaced", "folder renamed"])
@pytest.mark.parametrize("what", ["shard", "folder", "result"])
def test_a_folder_taken_from_under_a_run_is_not_written_to(tmp_path: Path, how: str, what: str) -> None:
    path, stages = tmp_path / "run", chain()
    folder = RunFolder(path, seed=0, shard_size=3)

    def taken() -> None:
        if how == "folder renamed":
            path.rename(tmp_path / "moved")
        else:
            (path / "lock").unlink()
        if how == "lock replaced":
            (path / "lock").write_text("")

    def work(items: Any, seed: int) -> list[Row]:
        taken()
        return list(rows(items, seed))

    def make(partial: Path) -> None:
        (partial / "weights").write_text("tuned")
        taken()

    def write() -> None:
        with folder.lock():
            folder.check(stages)
            if what == "shard":
                folder.records(stages[0], Row, ITEMS, work)
            elif what == "folder":
                folder.folder(stages[1], make)
            else:
                taken()
                folder.write_json("metrics.json", {})

    with pytest.raises(SeeWhyError, match=r"no longer the file that this process locked.*Nothing more is written"):
        write()
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("metrics.json"))
    assert not list(tmp_path.rglob(f"model/{SUMS}"))
    if how == "folder renamed":
        assert not path.exists()


# Settings that were accepted and failed after hours.

TUNE, MODEL = TuneConfig(), ModelConfig()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RunConfig(tune=replace(TUNE, batch_size=6, micro_batch_size=4)), "no multiple of tune.micro_batch_size"),
        (RunConfig(tune=replace(TUNE, method="full", vision_tower="lora")), "tune.vision_tower is lora"),
        (RunConfig(tune=replace(TUNE, trackers=("wandbb",))), r"none of .*did you mean 'wandb'"),
        (RunConfig(tune=replace(TUNE, trackers=("dvclive",))), "'dvclive', which is not installed here"),
        (RunConfig(model=replace(MODEL, device="cuda:9")), "model.device is 'cuda:9', but this machine has"),
        (RunConfig(model=replace(MODEL, device="gpu")), "no device of torch"),
        (RunConfig(model=replace(MODEL, device="cpu", dtype="float16")), "float16, in which nothing can be tuned on a"),
        (
            RunConfig(model=replace(MODEL, engine=EngineConfig(kind="server", command="serve {model} {prot}"))),
            "model.engine.command cannot be read",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(config: RunConfig, message: str) -> None:
    check_settings(RunConfig())
    with pytest.raises(SeeWhyError, match=message):
        check_settings(config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("seed", "4294967296"), ("rounds", "1000000000"), ("tune.learning_rate", "1e30"), ("model.engine.port", "99999")
    ],
)  # fmt: skip
def test_values_out_of_every_sensible_range_are_refused(tmp_path: Path, setting: str, value: str) -> None:
    (tmp_path / "c.yaml").write_text("")
    with pytest.raises(SeeWhyError, match=f"{setting} is {value}, but takes"):
        load_config(tmp_path / "c.yaml", [f"--{setting}", value])


@pytest.mark.parametrize(
    ("part", "said"),
    [("base", "There is no model folder"), ("encoder", "There is no sentence-transformers model")],
)
def test_a_model_that_is_not_there_is_told_before_a_run_makes_anything(
    tmp_path: Path, part: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing: dict[str, Any] = {part: str(tmp_path / "nowhere")}
    config = tiny_run(tmp_path, train=1, test=1, **missing)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    for verb in ("check", "run"):
        assert main([verb, str(tmp_path / "run.yaml")]) == 1
        assert said in " ".join(capsys.readouterr().err.split())
    assert not list((tmp_path / "run").glob("stages/*/*"))
