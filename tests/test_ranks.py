"""Ranks: a run that several processes share has the bytes of one, and goes on after any of them is killed."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import distributed

from killed import start
from ranked_runs import losses_of, run_rank, shards, start_ranks, tune_rank, without_samples
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run import alike, lock, loop
from seewhy.run.checksums import unsealed_json
from seewhy.run.folder import RunFolder
from seewhy.run.ranks import Ranks
from seewhy.vlm import tuning
from seewhy.vlm.data import shares_of
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava
from tiny_run import tiny_run
from tune_once import CONFIG, turns


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of two rounds in shards of two examples."""
    return tiny_run(
        tmp_path_factory.mktemp("data"), tokens=8, shard_size=2, rounds=2, keep_going=True, val=1,
        synthesise={"answers_per_image": 2}, tune={"checkpoint_steps": 1, "covered": 0.5},
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(config: RunConfig) -> Path:
    """The run, made by one process."""
    assert start(config) == 0
    return Path(config.output)


def without_seal(run: Path, name: str) -> str:
    """A file of JSON as text, without its seal and the path of the run."""
    return json.dumps(unsealed_json((run / name).read_bytes())).replace(str(run), "RUN")


@pytest.mark.slow
def test_ranks_make_the_bytes_of_one_process_though_killed_in_every_stage(
    config: RunConfig, alone: Path, tmp_path: Path
) -> None:
    shared = replace(config, output=str(tmp_path / "run"))
    shutil.copytree(alone, shared.output)
    without_samples(tmp_path / "run")
    for stage in ("describe", "round-1/answers-covered", "round-2/candidates", "round-2/predictions-test"):
        assert -signal.SIGKILL in start_ranks(run_rank, shared, stage), stage
        before = shards(tmp_path / "run")
        assert before.items() <= shards(alone).items()
    assert start_ranks(run_rank, shared) == [0, 0]
    assert shards(tmp_path / "run") == shards(alone)
    for name in ("metrics.json", "gallery.json", "confusion.json", "manifest.json"):
        assert without_seal(tmp_path / "run", name) == without_seal(alone, name)


@pytest.mark.slow
@pytest.mark.parametrize("loss_per", ["token", "answer"])
def test_ranks_tune_as_one_process(tmp_path: Path, loss_per: str) -> None:
    base, change = tiny_llava(tmp_path / "base"), {"loss_per": loss_per, "lora_dropout": 0.0, "learning_rate": 1e-3}
    assert start_ranks(tune_rank, base, tmp_path / "one", change, count=1) == [0]
    assert start_ranks(tune_rank, base, tmp_path / "two", {**change, "micro_batch_size": 1}) == [0, 0]
    expected, actual = losses_of(tmp_path / "one", 1), losses_of(tmp_path / "two", 2)
    assert len(expected) > 8
    assert actual == pytest.approx(expected, rel=1e-5)
    one, two = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (two[name] - weight).norm() <= 1e-4 * weight.norm(), name


@pytest.mark.slow
def test_ranks_killed_in_tuning_go_on_with_the_same_bytes(tmp_path: Path) -> None:
    base = tiny_llava(tmp_path / "base")
    assert start_ranks(tune_rank, base, tmp_path / "whole", {}) == [0, 0]
    assert -signal.SIGKILL in start_ranks(tune_rank, base, tmp_path / "killed", {}, 3, 5)
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["checkpoint-4"]
    assert start_ranks(tune_rank, base, tmp_path / "killed", {}) == [0, 0]
    for file in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_ranks_share_the_turns_of_a_step() -> None:
    step = [list(range(8)), [8, 9, 10], [11], [12, 13, 14, 15]]
    assert shares_of(step, 1) == [list(enumerate(step))]
    for ranks in (2, 3, 5, 16, 20):
        shares = shares_of(step, ranks)
        assert len(shares) == ranks
        sizes = [sum(len(group) for _, group in share) for share in shares]
        assert max(sizes) <= 2 * -(-16 // ranks) - (ranks > 1)
        assert sorted(turn for share in shares for _, group in share for turn in group) == list(range(16))
        assert all(set(group) <= set(step[place]) for share in shares for place, group in share)
    assert [sum(len(group) for _, group in share) for share in shares_of(step, 2)] == [8, 8]


@pytest.mark.slow
def test_ranks_of_one_flag_end_with_the_name_of_the_one_that_died(config: RunConfig, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**asdict(config), "output": str(tmp_path / "run"), "controls": []}))
    killer = tmp_path / "sitecustomize.py"
    killer.write_text(
        "import os, signal\n"
        "if os.environ.get('RANK') == '1':\n"
        "    from seewhy.run.ranks import Ranks\n"
        "    Ranks.carry_out = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{source}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seewhy", "run", str(file), "--workers.count", "2"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "Rank 1 (process" in ended.stderr
    assert "was ended by signal 9" in ended.stderr
    assert "What is finished is kept" in ended.stderr
    assert not any("Traceback" in line for line in ended.stderr.splitlines())


def test_ranks_with_a_folder_that_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "PATIENCE", 0.1)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    theirs.mkdir()
    with RunFolder(mine, seed=0, shard_size=1).lock():
        invited = alike.invitation(mine)
        alike.check_shared(mine, invited)
        with pytest.raises(SeeWhyError, match=f"not shared: {theirs} on .* to {mine}\\. Set output to a folder"):
            alike.check_shared(theirs, invited)


def test_ranks_of_other_versions_code_or_settings(config: RunConfig) -> None:
    mine = alike.about(config)
    alike.check_alike(mine, alike.about(replace(config, output="elsewhere")), "Rank 1")  # may be mounted elsewhere
    other = alike.about(replace(config, seed=7))
    other["alike"] = {**other["alike"], "code": "abc", "versions": {**other["alike"]["versions"], "torch": "1.0"}}
    with pytest.raises(SeeWhyError, match=r"Rank 1 is not like .* other bytes: ") as found:
        alike.check_alike(mine, other, "Rank 1")
    for line in ('code: "', '-> "abc"', "versions.torch: ", '-> "1.0"', "settings.seed: 0 -> 7"):
        assert line in str(found.value)


def test_ranks_whose_clock_differs(capsys: pytest.CaptureFixture[str]) -> None:
    alike.say_clock("Rank 1", 1_000.0, asked=995.0, heard=1_004.0)
    assert capsys.readouterr().err == ""
    alike.say_clock("Rank 1", 4_600.0, asked=995.0, heard=1_000.0)
    assert "The clock of Rank 1 is 3600 seconds ahead" in capsys.readouterr().err


def test_ranks_where_another_host_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.05)
    holder, ended = tmp_path / "lock.pid", threading.Event()
    holder.write_text("4711 on another-host")
    beating = threading.Thread(target=lock._touch, args=(holder, ended))
    beating.start()
    with (
        pytest.raises(SeeWhyError, match="in use by process 4711 on another-host"),
        RunFolder(tmp_path, seed=0, shard_size=1).lock(),
    ):
        pass
    ended.set()
    beating.join()
    with RunFolder(tmp_path, seed=0, shard_size=1).lock():  # left behind by a machine that went down
        assert holder.read_text() == f"{os.getpid()} on {platform.node()}"
    assert not holder.exists()


def test_ranks_and_a_server_for_each(config: RunConfig) -> None:
    served = replace(config.model, engine=replace(config.model.engine, kind="server"))
    with pytest.raises(SeeWhyError, match="each worker would start a server of its own"):
        loop.run(replace(config, model=served, workers=replace(config.workers, count=2)))


def test_ranks_without_the_memory_to_tune_say_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(tuning._CheckpointedTrainer, "train", full)
    vlm = VisionLanguageModel.load(tiny_llava(tmp_path / "base"), device="cpu")
    given = turns(tmp_path)
    remedies = "tune.micro_batch_size below 2 or tune.gradient_checkpointing: true or tune.method: qlora"
    with pytest.raises(SeeWhyError, match=remedies):
        tuning.tune(vlm, given, CONFIG, tmp_path / "out", seed=0)


@pytest.mark.slow
def test_ranks_say_what_went_wrong_with_one_of_them(config: RunConfig, tmp_path: Path) -> None:
    assert start_ranks(run_rank, replace(config, output=str(tmp_path / "run")), "settings", patience=60) == [1, 1]
    said = "".join(path.read_text() for path in sorted(tmp_path.glob("said-*")))
    assert "Rank 1 (process" in said
    assert "settings.seed: 0 -> 9" in said


def test_ranks_that_rank_0_no_longer_hears_end_with_their_own_reason() -> None:
    team = Mock(spec=Ranks, _tell=Mock(side_effect=distributed.DistNetworkError("Connection reset by peer")))
    assert not Ranks.fail(team, "its disk is full")
